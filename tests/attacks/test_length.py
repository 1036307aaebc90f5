"""The length of an adversary's training, by the number of its images."""

import pytest


@pytest.mark.parametrize("name", ["inverse", "inverse_naive", "inverse_adaptive", "shadow"])
def test_an_adversary_of_few_images_trains_fewer_and_smaller_steps(cell, name):
    """What is typed is taken as it is; 9,000 images have 1,400 steps, as ever."""
    attack = cell(f"attack={name}").attack
    few, many = attack.length(360), attack.length(9000)
    assert few[1] < 600
    assert few[0] * few[1] < many[0] * many[1] / 3
    assert many[1] == 1400
    typed = cell(f"attack={name}", "attack.steps=77", "attack.batch=8").attack
    assert typed.length(360) == typed.length(9000) == (8, 77)
