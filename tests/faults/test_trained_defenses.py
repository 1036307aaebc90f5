"""Defenses that train layers, helpers or noise of their own: killed while training, and raced."""

import multiprocessing
import time

import pytest

from privbench.defenses.trained import DeploymentTask, TrainedDefense
from privbench.experiment.run import fit_shared
from privbench.experiment.spec import CellSpec
from tests.support import cell_spec

PROCESSES = multiprocessing.get_context("forkserver")  # imports the package once for all
PROCESSES.set_forkserver_preload(["privbench.experiment.run", "privbench.training.loop"])
BRIEF = ["attack=blind", "targets=5", "defense.epochs=1", "defense.min_steps=8"]


def fit(spec, trained):
    """Train or load the deployment, and count the trainings."""
    train = TrainedDefense._train

    def counted(*arguments):
        with trained.get_lock():
            trained.value += 1
        return train(*arguments)

    TrainedDefense._train = counted
    fit_shared(CellSpec.from_json(spec))


def stall(spec, started):
    """Begin the training and never end it."""

    def losses(self, batch):
        started.set()
        time.sleep(600)

    DeploymentTask.losses = losses
    fit_shared(CellSpec.from_json(spec))


def kept(outputs):
    return sorted(path.suffix for path in (outputs / "store" / "deployments").glob("[!.]*.[!l]*"))


@pytest.mark.fault
@pytest.mark.parametrize("name", ["disco", "shredder"])
def test_a_killed_training_leaves_nothing_and_two_processes_train_once(name, warm):
    """With a proxy decoder and a pruner in the edge, and with noise for a frozen victim."""
    spec = cell_spec(warm, f"defense={name}", *BRIEF).to_json()
    started, trained = PROCESSES.Event(), PROCESSES.Value("i", 0)
    killed = PROCESSES.Process(target=stall, args=(spec, started))
    killed.start()
    assert started.wait(300)
    killed.kill()
    killed.join()
    assert kept(warm) == []
    racing = [PROCESSES.Process(target=fit, args=(spec, trained)) for _ in range(2)]
    for process in racing:
        process.start()
    for process in racing:
        process.join(300)
    assert [process.exitcode for process in racing] == [0, 0]
    assert trained.value == 1
    assert kept(warm) == [".json", ".safetensors"]
