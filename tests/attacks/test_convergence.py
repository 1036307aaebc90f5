"""Convergence of made-up optimisation paths: which images count as settled, and which as confirmed."""

import pytest
import torch

from privbench.attacks.components.convergence import Path


def _path(values=(1.0, 0.0, 0.0), near=1.0, far=1.0, unexplained=0.0, finite=True) -> Path:
    """The path of one image: its objective at three steps, and its way halfway and at the end."""
    start = torch.zeros(1, 1, 2, 2)
    return Path(
        start,
        start + near,
        start + far,
        torch.tensor(values)[:, None],
        torch.tensor([unexplained]),
        torch.tensor([finite]),
    )


@pytest.mark.parametrize(
    ("settled", "path"),
    [
        (True, {}),
        # the second half may bring a tenth of the whole fall, or of the objective halfway
        (True, {"values": (1.0, 0.09, 0.0)}),
        (False, {"values": (1.0, 0.11, 0.0)}),
        (True, {"values": (1.0, 0.9, 0.82)}),
        (False, {"values": (1.0, 0.9, 0.80)}),
        (True, {"values": (0.0, 0.0, 0.0)}),
        # and move the image by half of its whole way from the start
        (True, {"near": 0.51}),
        (False, {"near": 0.49}),
        (False, {"near": 1.51}),
        # neither makes up for the other
        (False, {"values": (1.0, 0.11, 0.0), "near": 0.49}),
        (False, {"finite": False}),
        (False, {"values": (float("inf"), 0.0, 0.0)}),
        # an image at its start settled only where the start explains its features
        (False, {"near": 0.019, "far": 0.019, "unexplained": 0.011}),
        (True, {"near": 0.021, "far": 0.021, "unexplained": 0.011}),
        (True, {"near": 0.019, "far": 0.019, "unexplained": 0.009}),
    ],
)
def test_an_image_settled_where_the_second_half_of_its_steps_changed_little(settled, path):
    """By its objective and by its way, each with its own limit, and where it moved at all."""
    assert _path(**path).settled.tolist() == [settled]


def test_images_settle_one_by_one():
    """Whatever the rest of their batch does."""
    parts = [_path(), _path(near=0.4), _path(values=(1.0, 0.2, 0.0)), _path(near=0.6)]
    names = ("start", "halfway", "end", "unexplained", "finite")
    images = [torch.cat([getattr(part, name) for part in parts]) for name in names]
    values = torch.cat([part.values for part in parts], dim=1)
    whole = Path(*images[:3], values, *images[3:])
    assert whole.settled.tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("confirmed", "end", "gained", "unexplained"),
    [
        (1, 1.14, 0.04, 0.1),
        (0, 1.16, 0.04, 0.1),  # the images moved on
        (0, 1.14, 0.06, 0.1),  # the objective fell on
        (1, 1.16, 0.06, 1e-9),  # what is met to rounding cannot be improved
    ],
)
def test_a_longer_run_confirms_what_it_leaves_in_place(confirmed, end, gained, unexplained):
    """Within 15 % of the way and 5 % of the objective."""
    path = _path(unexplained=unexplained)
    longer = torch.full((1, 1, 2, 2), end)
    assert path.confirmed(torch.tensor([0]), longer, torch.tensor([gained])) == confirmed
