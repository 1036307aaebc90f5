"""Every yaml of every config group: what it says and what it builds."""

import dataclasses
import os

import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from privbench.plan.profiles import numbers
from privbench.sweep.workers.base import Workers
from privbench.testing import WorkersContract
from privbench.tracking.base import Tracker
from tests.support import PLAN_GROUPS, ROOT, composed_node, instantiated, options, parametrized

GROUPS = sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir())
EVERY = [(group, name) for group in GROUPS for name in options(group)]
ADDED = {"search"}
ON_OTHER_MACHINES = ("ray", "slurm")


def test_every_group_has_a_default_and_is_tested_here():
    """A new folder of ``conf/`` needs a contract."""
    files = [ROOT / "conf" / name for name in ("config.yaml", "plan.yaml")]
    entries = [entry for path in files for entry in OmegaConf.load(path).defaults]
    chosen = {str(group) for entry in entries if OmegaConf.is_dict(entry) for group in entry}
    tested = ["attack", "dataset", "defense", "device", "tracker", "victim", "workers"]
    assert sorted([*tested, *PLAN_GROUPS]) == GROUPS
    assert set(GROUPS) <= chosen


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_a_yaml_begins_with_a_description_and_sets_every_field(group, name):
    """The composed node has the fields of its class, so no default is hidden.

    ``+attack.search`` is typed with a plus: what it holds are options of another attack.
    """
    path = ROOT / "conf" / group / f"{name}.yaml"
    assert path.read_text().startswith("# "), "the first line describes the choice"
    words = ["dataset.root=/nowhere"] if name == "image_folder" else []
    node = composed_node(group, name, *words)
    fields = {field.name for field in dataclasses.fields(get_class(node["_target_"]))}
    assert {str(key) for key in node} - {"_target_"} == fields - ADDED


@pytest.mark.parametrize(("group", "name"), [e for e in EVERY if e[0] in PLAN_GROUPS])
def test_a_profile_names_the_source_of_each_number_and_nothing_else(group, name):
    """Its file has the name; a number without a source, or a source without a number, fails."""
    profile = instantiated(group, name)
    assert profile.name == name
    assert set(profile.source) == set(numbers(profile))
    assert all(len(text) > 10 for text in profile.source.values())
    assert all(0 <= value < 5000 for value in numbers(profile).values())


@pytest.mark.parametrize("name", options("device"))
def test_a_device_is_the_one_of_its_name(name):
    """``auto`` and ``gpu`` compute on a GPU where there is one; ``gpu`` is refused without."""
    config = instantiated("device", name)
    cuda = torch.cuda.is_available()
    assert config.accelerator == name
    assert config.device.type == ("cuda" if cuda and name != "cpu" else "cpu")


@pytest.mark.parametrize("name", options("tracker"))
def test_a_tracker_passes_its_check_offline(name, tmp_path, monkeypatch):
    """No account and no key are needed by default."""
    for variable in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tracker: Tracker = instantiated("tracker", name, f"output_dir={tmp_path}")
    tracker.check()
    assert not list(tmp_path.rglob("*.wandb"))


class TestEveryWorkers(WorkersContract):
    """Every yaml of ``conf/workers`` that runs on this machine."""

    subject_under_test = parametrized(
        [name for name in options("workers") if name not in ON_OTHER_MACHINES],
        lambda name: instantiated("workers", name),
    )


@pytest.mark.parametrize("name", ON_OTHER_MACHINES)
def test_workers_elsewhere_are_refused_in_one_line_where_they_cannot_run(name, monkeypatch):
    """The line names the option; their jobs run where the cluster is (tests/sweep)."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(os.sys.modules, "ray", None)
    workers: Workers = instantiate(composed_node("workers", name), _convert_="all")
    with pytest.raises(ValueError, match=f"workers={name}") as caught:
        workers.check()
    assert "\n" not in str(caught.value)
