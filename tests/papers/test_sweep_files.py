"""Cells of the paper's sweep files."""

import json
import lzma

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from privbench.runtime.options import with_later_options
from privbench.runtime.paths import ROOT
from privbench.sweep import grids
from tests.support import composed_config


def _cells(name: str, *typed: str) -> list[dict[str, str]]:
    own = OmegaConf.to_container(OmegaConf.load(ROOT / "sweeps" / "he2020" / f"{name}.yaml"))
    sweeper = own["hydra"]["sweeper"]
    parse = OverridesParser.create().parse_overrides
    shared = grids.parse_axes(parse(grids.to_overrides(sweeper["params"])))
    found = [
        {**shared, **grids.parse_axes(parse(grids.to_overrides(grid)))}
        for grid in sweeper.get("grids", [{}])
    ]
    groups = {"attack", "defense", "dataset"}
    cells = grids.expand_grids(
        found, grids.parse_axes(parse(list(typed))), lambda option: option in groups
    )
    return [dict(word.split("=", 1) for word in cell) for cell in cells]


SWEEPS = ("fig9_mnist", "fig13_mnist_splits", "table_whitebox", "strongest", "adaptive",
          "fig15_partition", "table_queryfree", "table_blackbox", "fig10_cifar",
          "fig12_cifar_splits")  # fmt: skip


@pytest.mark.parametrize("name", SWEEPS)
def test_rmle_on_mnist_has_five_victims_and_what_trains_networks_or_is_cifar_three(name):
    """A typed seed replaces them everywhere."""
    cells = _cells(name)
    for cell in cells:
        few = not cell["attack"].startswith("rmle") or cell["dataset"] == "cifar10"
        seeds = {c["seed"] for c in cells if {**c, "seed": ""} == {**cell, "seed": ""}}
        assert seeds == set("012" if few else "01234"), cell
    alone = _cells(name, "seed=0")
    assert {cell["seed"] for cell in alone} == {"0"}
    distinct = {tuple(sorted({**cell, "seed": ""}.items())) for cell in cells}
    assert len(alone) == len(distinct)


def test_a_pair_of_adversaries_is_a_command_of_the_adaptive_sweep():
    """Typing attacks picks their grids, with their seeds."""
    assert {cell["seed"] for cell in _cells("adaptive", "attack=rmle,rmle_adaptive")} == set(
        "01234"
    )
    assert {cell["seed"] for cell in _cells("adaptive", "attack=inverse")} == set("012")
    cells = _cells("fig9_mnist", "attack=rmle_paper,rmle_adaptive", "defense=dropout")
    assert {cell["attack"] for cell in cells} == {"rmle_paper", "rmle_adaptive"}


def test_the_commands_of_archived_records_describe_their_victims():
    """Whatever a yaml's defaults are now: RESULTS.md shows those commands."""
    victims = {}
    with lzma.open(ROOT / "sweeps" / "he2020" / "records.jsonl.xz", "rt") as lines:
        next(lines)  # the number of records
        for line in lines:
            record = json.loads(line)
            if not record["victim"].endswith("_paper"):
                continue  # in no table
            words = [word for word in record["overrides"] if word.startswith("victim")]
            where = f"dataset={record['dataset']}", *words
            config = record["config"]["victim"]
            victims.setdefault(json.dumps([where, config], sort_keys=True), (where, config))
    assert len(victims) > 5
    for where, config in victims.values():
        composed = OmegaConf.to_container(composed_config(*where).victim, resolve=True)
        for name, value in with_later_options(config).items():
            assert composed[name] == value, (where, name)
