"""The contract of a defense, for every yaml of the group and both sites."""

import dataclasses

import pytest

from privbench.defenses.trained import TrainedDefense
from privbench.store import record as results
from privbench.testing import DefenseContract
from tests.support import instantiated, options, parametrized


def brief(name):
    """The same defense, trained for a single epoch."""
    defense = instantiated("defense", name)
    if isinstance(defense, TrainedDefense):
        return dataclasses.replace(defense, epochs=1, min_steps=1)
    return defense


class TestEveryDefense(DefenseContract):
    """Every yaml of ``conf/defense``."""

    subject_under_test = parametrized(options("defense"), brief)


CELLS = [
    *((name, "features") for name in ("dropout", "quantize", "noise_aware")),
    *((name, "input") for name in ("gaussian", "noise_aware")),
]
"""One of each kind: random or not, measured or trained, at both sites."""


@pytest.mark.parametrize(("name", "site"), CELLS)
def test_a_defense_runs_at_both_sites_and_yields_a_whole_record(name, site, privbench, warm):
    """The record names the defense; the blind answers score as their baseline does."""
    site_option = "defense.channel.site" if name == "noise_aware" else "defense.site"
    words = [f"defense={name}", f"{site_option}={site}", "attack=blind", "targets=5"]
    words += ["defense.min_steps=1", "defense.epochs=1"] * (name == "noise_aware")
    code, _, err = privbench(*words, f"output_dir={warm}")
    assert code == 0, err
    (path,) = (warm / "store" / "records").glob("*/record.json")
    folder = path.parent
    assert {file.name for file in folder.iterdir()} == {
        "record.json",
        "reconstructions.png",
        "images.safetensors",
        "history.json",
    }
    record = results.read(folder)
    assert record.defense.partition("(")[0] == name
    assert record.site == site
    assert 0 <= record.accuracy <= 1
    assert record.score("psnr_db") == pytest.approx(record.floor["class_mean"]["psnr_db"])
    assert not record.adaptive
