"""Plans of a sweep: threads of its workers, and no model weights."""

import os

import pytest

from privbench.runtime import cores
from privbench.sweep.compose import Composer
from privbench.sweep.workers.joblib import Joblib
from privbench.victims.chain import ChainModel
from privbench.victims.training import VictimConfig
from tests.runs import read_records
from tests.support import shared_composer


@pytest.mark.slow
def test_workers_assign_threads_without_moving_the_key(privbench, warm):
    """What processes of joblib computed is cached for this process, at its own threads."""
    words = ["-m", "attack=blind", "defense.rate=0.1,0.3", "targets=5", f"output_dir={warm}"]
    code, out, err = privbench(
        *words, "workers=joblib", "workers.jobs=2", "workers.threads_per_job=1"
    )
    assert code == 0, err
    assert out.count("] done") == 2
    assert {record.threads for record in read_records(warm)} == {1}
    assert {record.config["device"]["threads"] for record in read_records(warm)} == {None}
    assert privbench(*words)[1].count("] cached") == 2


@pytest.mark.parametrize(
    ("jobs", "limit", "threads"), [(1, "", 3), (2, "", 1), (1, "2", 2), (9, "2", 1)]
)
def test_processes_share_the_cores_that_are_free(monkeypatch, jobs, limit, threads):
    """Or those that the environment allows them; a number that is set stands."""
    monkeypatch.setattr(cores, "_free_cores", lambda: 3)
    monkeypatch.setenv(cores.THREADS, limit)
    assert Joblib(jobs=jobs, threads_per_job=None).threads == threads
    assert Joblib(jobs=jobs, threads_per_job=5).threads == 5


@pytest.mark.parametrize(("device", "count"), [("auto", 1), ("cpu", len(os.sched_getaffinity(0)))])
def test_cells_on_the_cpu_leave_gpus_out_of_account(
    privbench, tmp_path, monkeypatch, device, count
):
    """As typed with the sweep: a process a core, where GPUs would allow fewer."""
    launched = []
    monkeypatch.setattr(Joblib, "launch", lambda self, jobs: launched.append(self.processes))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    words = ("-m", "attack=blind", "seed=0,1", "workers=joblib", f"device={device}")
    assert privbench(*words, f"output_dir={tmp_path}")[0] == 1  # no cell ran
    assert set(launched) == {count}


@pytest.mark.long
def test_planning_a_sweep_gives_no_model_weights(privbench, warm, monkeypatch):
    """Thirty cells of three attacks are known from their configurations alone."""
    built, outlines = [], []
    init = ChainModel.__init__

    def count(self, layers):
        init(self, layers)
        (outlines if all(p.is_meta for p in self.parameters()) else built).append(self)

    monkeypatch.setattr(ChainModel, "__init__", count)
    monkeypatch.setattr(VictimConfig, "train", lambda *_, **__: pytest.fail("a victim is trained"))
    monkeypatch.setattr(
        "privbench.sweep.launch.Launch.run", lambda self, planned, refused: runs.append(planned)
    )
    runs: list[dict] = []
    words = ["-m", "attack=rmle_adaptive,inverse,shadow_same", "seed=range(0,2)", "targets=5"]
    rates = ",".join(f"0.{number}" for number in range(1, 6))
    code, _, err = privbench(*words, f"defense.rate={rates}", f"output_dir={warm}")
    assert code == 0, err
    assert len(runs[0]) == 30
    assert built == []
    # the victim in one shape; its edge built anew for each strength, which an attack may refuse
    assert len(outlines) <= 1 + 2 * 5


def test_cells_that_differ_in_values_have_the_same_absolute_outputs(warm, monkeypatch):
    """However the folder was typed: a worker may run elsewhere."""
    composer = shared_composer()
    words = ["attack=rmle", "tracker=none", "output_dir=out"]
    specs = [
        composer.spec([*words, f"defense.rate={rate}"], str(warm), str(warm / "sweeps" / "a"), "")
        for rate in (0.1, 0.3)
    ]
    assert [spec.config["output_dir"] for spec in specs] == [str(warm)] * 2
    assert [spec.config["defense"]["rate"] for spec in specs] == [0.1, 0.3]
    assert [spec.overrides[-1] for spec in specs] == ["defense.rate=0.1", "defense.rate=0.3"]


def test_an_option_that_others_refer_to_is_resolved_anew():
    """The name of a network of torchvision follows its architecture."""
    composer = shared_composer()
    names = [
        composer.spec(["victim=torchvision", f"victim.arch={arch}"], "out", "out", "").config[
            "victim"
        ]["model"]["arch"]
        for arch in ("resnet18", "alexnet")
    ]
    assert names == ["resnet18", "alexnet"]


@pytest.mark.parametrize(
    "typed", [("transmissions=1", "transmissions=16"), ("targets=4", "targets=5")]
)
def test_a_cell_is_composed_alike_in_whatever_order_it_is_typed(tmp_path, typed):
    """Options that follow another one do so in every cell: of several answers a network learns."""

    def configs(*cells):
        compose = Composer(shared_composer().loader, shared_composer().master)
        parts = [["attack=inverse", "seed=0", cell] for cell in cells]
        return [compose.spec(one, str(tmp_path), str(tmp_path), "").config for one in parts]

    one, other = typed
    alone = [*configs(one), *configs(other)]
    assert configs(one, other) == alone
    assert configs(other, one) == alone[::-1]
    assert alone[1]["attack"].get("pooled", False) is (other == "transmissions=16")
