"""Defenses that train layers, helpers or noise of their own: killed while training, and raced."""

import multiprocessing
import time

import pytest

from privbench.defenses import fisher
from privbench.defenses.trained import DeploymentTask, TrainedDefense
from privbench.experiment.run import fit_shared
from privbench.experiment.spec import CellSpec
from tests.support import cell_spec, instantiated, options

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


def stall(spec, place, started):
    """Begin the training, or what is measured behind it, and never end it."""

    def never(*arguments, **options):
        started.set()
        time.sleep(600)

    if place == "training":
        DeploymentTask.losses = never
    else:
        fisher.mean_squared_jacobian = never
    fit_shared(CellSpec.from_json(spec))


def kept(outputs):
    return sorted(path.suffix for path in (outputs / "store" / "deployments").glob("[!.]*.[!l]*"))


PART = [".json", ".safetensors"]
"""Files of a whole part of a deployment."""
TRAINED = [
    name for name in options("defense") if isinstance(instantiated("defense", name), TrainedDefense)
]
MEASURED = ("fisher", "measuring")
"""Of which the noise is measured behind the training."""
KINDS = ("noise_aware", "adversarial", "shredder")
"""A defense of each kind: trains the layers, has a helper, trains its own noise. Others are slow."""
CASES = [
    pytest.param(
        name, place,
        marks=pytest.mark.fault if name in KINDS or place == "measuring" else pytest.mark.slow,
    )
    for name, place in [*((name, "training") for name in TRAINED), MEASURED]
]  # fmt: skip


@pytest.mark.parametrize(("name", "place"), CASES)
def test_a_killed_training_leaves_whole_parts_and_two_processes_train_once(name, place, warm):
    """Of a deployment of several parts those that were whole are kept, and are not made again."""
    spec = cell_spec(warm, f"defense={name}", *BRIEF).to_json()
    started, trained = PROCESSES.Event(), PROCESSES.Value("i", 0)
    killed = PROCESSES.Process(target=stall, args=(spec, place, started))
    killed.start()
    assert started.wait(300)
    killed.kill()
    killed.join()
    before = kept(warm)
    assert before == sorted(PART * (len(before) // 2)), "a part is half written"
    racing = [PROCESSES.Process(target=fit, args=(spec, trained)) for _ in range(2)]
    for process in racing:
        process.start()
    for process in racing:
        process.join(300)
    assert [process.exitcode for process in racing] == [0, 0]
    assert trained.value == (1 if place == "training" else 0)
    after = kept(warm)
    assert after == sorted(PART * (len(after) // 2)) and len(after) > len(before)
