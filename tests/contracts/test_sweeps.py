"""Every file of ``sweeps/``: its header, its cells, and that they compose."""

import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from privbench.sweep.batteries import Batteries
from privbench.sweep.grids import expand_grids, parse_axes, to_overrides
from tests.support import ROOT, composed_config, composed_sweep, options, sweep_files

GROUPS = sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir())


def _sweeper(name):
    config = OmegaConf.load(ROOT / "sweeps" / f"{name}.yaml")
    return OmegaConf.to_container(config.hydra.sweeper)


def _grids(name):
    sweeper, parse = _sweeper(name), OverridesParser.create().parse_overrides
    if "files" in sweeper:
        return [grid for file in sweeper["files"] for grid in _grids(file)]
    shared = parse_axes(parse(to_overrides(sweeper.get("params") or {})))
    grids = sweeper.get("grids") or [{}]
    if "batteries" in sweeper:
        grids = [
            grid for held in Batteries.of(sweeper["batteries"]).grids.values() for grid in held
        ]
    return [{**shared, **parse_axes(parse(to_overrides(grid)))} for grid in grids]


def test_sweeps_are_found():
    """The others here would pass without any."""
    assert {"smoke", "grid"} <= set(sweep_files())
    assert any("fig9_mnist" in name for name in sweep_files())


@pytest.mark.parametrize("name", sweep_files())
def test_a_sweep_describes_itself_and_sets_only_the_sweeper(name):
    """A package header, a comment, and nothing that could not be typed."""
    header, comment, *_ = (ROOT / "sweeps" / f"{name}.yaml").read_text().splitlines()
    assert header == "# @package _global_"
    assert re.fullmatch(r"# [A-Z].{30,}\.", comment)
    config = OmegaConf.load(ROOT / "sweeps" / f"{name}.yaml")
    assert set(config) == {"hydra"}
    assert config.hydra.mode == "MULTIRUN"


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in sweep_files() if "files" not in _sweeper(name)])
def test_every_grid_of_a_sweep_composes_to_the_values_it_names(name, composed):
    """The first and the last cell of each grid have every value of their axes.

    The last one is left out where it only combines choices that other cells have.
    """
    sweeper = composed_sweep(name).hydra.sweeper
    assert any(sweeper.get(part) for part in ("params", "grids", "batteries", "files"))
    seen: set[str] = set()
    for grid in _grids(name):
        cells = expand_grids([grid], {}, _is_choice)
        assert cells, "a grid has cells"
        first, last = tuple(cells[0]), tuple(cells[-1])
        seen |= _choices(first)
        known = _choices(last) <= seen and _choices(last) != _choices(first)
        seen |= _choices(last)
        for cell in {first} if known else {first, last}:
            cfg = OmegaConf.create(dict(composed(*cell).config))
            for word in cell:
                option, _, value = word.partition("=")
                if option in GROUPS or "@" in option:
                    assert value in options(option.partition("@")[0])
                else:
                    assert OmegaConf.select(cfg, option.removeprefix("+")) == _parsed(value), word


def test_the_sweep_of_the_whole_paper_has_every_sweep_of_it():
    """A new figure's file must be in it."""
    files = {name for name in sweep_files() if name.startswith("he2020/")}
    assert set(_sweeper("he2020/all")["files"]) == files - {"he2020/all"}


def _is_choice(option):
    return option.partition("@")[0] in GROUPS


def _choices(cell):
    return {word for word in cell if _is_choice(word.partition("=")[0])}


def _parsed(value):
    return OverridesParser.create().parse_override(f"x={value}").value()


def test_the_sweep_of_wandbs_agents_names_options_that_exist():
    """``wandb sweep sweeps/wandb/grid.yaml``: each value of each parameter composes."""
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "sweeps" / "wandb" / "grid.yaml"))
    assert config["program"] == "privbench"
    axes = {
        name: axis.get("values") or [axis["value"]] for name, axis in config["parameters"].items()
    }
    assert "attack" in axes
    for number in range(max(map(len, axes.values()))):
        cell = {name: values[min(number, len(values) - 1)] for name, values in axes.items()}
        cfg = composed_config(*(f"{name}={value}" for name, value in cell.items()))
        for name, value in cell.items():
            assert name in GROUPS or OmegaConf.select(cfg, name) == value
