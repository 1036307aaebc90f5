"""A launch: the order of its cells, options that not all cells have, damaged records."""

import re
from dataclasses import replace

import pytest

from privbench.experiment.adversary import reconstruct_in_batches
from privbench.experiment.services import AttackLogger
from privbench.experiment.spec import CellSpec
from privbench.store.sweep_log import SweepLog
from privbench.sweep.progress import PlannedCell
from privbench.sweep.status import report
from privbench.tracking.base import NullRun


def _cell(attack: dict, targets: int = 64, indices: list[int] | None = None) -> PlannedCell:
    config = {"attack": attack, "targets": targets, "target_indices": indices}
    return PlannedCell("key", [], "", "", CellSpec(config, {}, [], ""))


def test_cells_of_least_work_come_first():
    """Steps of inner attacks count, the number of targets, and the images that a network learns."""
    blind, short = _cell({"_target_": "a"}), _cell({"steps": 100}, 2)
    nested = _cell({"steps": 100, "inverter": {"steps": 50}}, 2)
    few, many = _cell({"steps": 500}, 64, [1, 2]), _cell({"steps": 500})
    assert [cell.work for cell in (blind, short, nested, few, many)] == [0, 200, 300, 1000, 32000]
    network, brief = _cell({"steps": None, "batch": None}), _cell({"steps": 10, "batch": 8})
    assert few.work < brief.work < many.work < network.work
    assert replace(few, pixels=3072).work == 3072 * few.work


def test_a_quick_cell_gives_the_first_record(privbench, warm):
    """Of a sweep that names the slow one first; the numbering counts the cells that have ended."""
    words = ["-m", "attack=rmle,blind", "targets=5", "attack.steps=12", f"output_dir={warm}"]
    code, out, err = privbench(*words)
    assert code == 0, err
    lines = re.findall(r"^\[(.)/2\] done    attack=(\w+)", out, re.M)
    assert lines == [("1", "blind"), ("2", "rmle")]


def test_an_option_that_no_cell_has_is_refused(privbench, tmp_path):
    """In one line that names it and the options that there are."""
    words = ["-m", "attack=rmle,blind", "attack.stepz=5", f"output_dir={tmp_path}"]
    code, out, err = privbench(*words)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "attack.stepz" in err


def test_a_damaged_record_is_not_counted_as_done(privbench, warm):
    """In the state of a sweep, with the file's name."""
    words = ["-m", "attack=blind", "targets=5", "defense.rate=0.1,0.3", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    (folder,) = (warm / "sweeps").iterdir()
    path = SweepLog(folder).record(next(iter(SweepLog(folder).entries().values())))
    path.write_text(path.read_text()[:100])
    text = report(folder)
    assert "2 cells: 1 done, 1 damaged" in text
    assert str(path) in text
    assert "complete it:" in text


def test_the_convergence_of_batches_is_that_of_all_images():
    """Shares are weighted by the images of a batch, those of a longer run added."""
    import torch

    logger = AttackLogger(torch.zeros(5, 1, 2, 2), NullRun())

    def reconstruct(v):
        if len(v) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        first = len(v) == 3
        logger.note(converged=1.0 if first else 0.5, never_moved=0.0 if first else 1.0)
        if first:
            logger.note(longer_run={"images": 2, "steps": 20, "confirmed": 1})
        return v[:, 0]

    v = torch.rand(5, 1, 1, 2, 2)
    x_hat = reconstruct_in_batches(reconstruct, v, logger, 0)
    assert torch.equal(x_hat, v[:, 0])
    assert logger.facts["converged"] == pytest.approx(0.8)
    assert logger.facts["never_moved"] == pytest.approx(0.4)
    assert logger.facts["longer_run"] == {"images": 2, "steps": 20, "confirmed": 1}
    assert logger.facts["batch"] == 3
