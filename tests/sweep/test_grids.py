"""Grids of a sweep: which cells its axes give, and how it is named."""

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser

from privbench.__main__ import defer_to_cells
from privbench.runtime.errors import UserError
from privbench.runtime.paths import register_hydra_plugins
from privbench.sweep.grids import cell_names, expand_grids, parse_axes, sweep_name
from tests.support import ROOT

register_hydra_plugins()  # before Hydra looks for plugins, which it does once

PARSER = OverridesParser.create(
    ConfigLoaderImpl(create_automatic_config_search_path("", None, str(ROOT / "conf")))
)

GRIDS = [
    {"defense": ["defense=none"]},
    {
        "defense": ["defense=gaussian"],
        "defense.site": ["defense.site=input", "defense.site=features"],
        "defense.sigma": ["defense.sigma=0.1", "defense.sigma=0.2"],
    },
    {
        "defense": ["defense=dropout"],
        "defense.site": ["defense.site=input", "defense.site=features"],
        "defense.rate": ["defense.rate=0.1", "defense.rate=0.2", "defense.rate=0.3"],
    },
]


def _axes(*words: str):
    return parse_axes(PARSER.parse_overrides(list(words)))


def _expanded(*words: str, grids=GRIDS) -> list[str]:
    def is_group(name):
        return name in ("defense", "attack", "attack@attack.inner")

    return [" ".join(cell) for cell in expand_grids(grids, _axes(*words), is_group)]


def test_each_grid_is_a_product_of_its_own_axes():
    """One command, three defenses, three lists of strengths."""
    assert len(_expanded()) == 1 + 2 * 2 + 2 * 3
    assert _expanded("seed=0,1")[:2] == ["defense=none seed=0", "defense=none seed=1"]
    assert len(_expanded("seed=range(0,3)")) == 3 * 11


@pytest.mark.parametrize(
    ("words", "cells"),
    [
        (["defense=none"], ["defense=none"]),
        (["defense=none,dropout", "defense.site=input"], 3),
        (
            ["defense.rate=0.9"],
            [f"defense=dropout defense.site={s} defense.rate=0.9" for s in ("input", "features")],
        ),
        (["defense.site=input", "defense.sigma=0.5,0.6,0.7"], 3),
    ],
)
def test_what_is_typed_replaces_an_axis_where_it_is_one(words, cells):
    """Grids without it fall away; a choice that tells grids apart picks among them."""
    found = _expanded(*words)
    assert found == cells if isinstance(cells, list) else len(found) == cells


def test_a_split_point_picks_the_grids_that_have_it():
    """Its options stand in its grid; one that no grid has, or that all have, replaces the axis."""
    grids = [
        {"split": ["split=conv1", "split=relu1"], "weight": ["weight=0"]},
        {"split": ["split=relu2"], "weight": ["weight=9"]},
    ]
    assert _expanded("split=relu2", grids=grids) == ["split=relu2 weight=9"]
    assert _expanded("split=relu1,relu2", grids=grids) == [
        "split=relu1 weight=0", "split=relu2 weight=9"]  # fmt: skip
    assert _expanded("split=fc1", grids=grids) == ["split=fc1 weight=0", "split=fc1 weight=9"]
    assert _expanded("split=relu2,fc1", grids=grids) == [
        "split=fc1 weight=0", "split=relu2 weight=9", "split=fc1 weight=9"]  # fmt: skip
    assert _expanded("split=relu1", grids=grids[:1]) == ["split=relu1 weight=0"]
    # after a group has picked, in whichever order they are typed
    others = [{**grids[0], "attack": ["attack=a"]}, {**grids[1], "attack": ["attack=b"]}]
    for words in (["split=relu2", "attack=a"], ["attack=a", "split=relu2"]):
        assert _expanded(*words, grids=others) == ["split=relu2 weight=0 attack=a"]


def test_a_group_that_all_grids_share_is_replaced():
    """It tells none of them apart."""
    grids = [{"attack": ["attack=rmle"], **grid} for grid in GRIDS]
    assert len(_expanded("attack=inverse,blind", grids=grids)) == 22


@pytest.mark.parametrize(
    ("words", "cells"),
    [
        (["attack=a"], ["attack=a attack.steps=5 attack@attack.inner=x attack.inner.lr=2 seed=0"]),
        (["attack=b"], ["attack=b seed=0"]),
        (
            ["attack=b,a"],
            [
                "attack=a attack.steps=5 attack@attack.inner=x attack.inner.lr=2 seed=0",
                "attack=b seed=0",
            ],
        ),
        (["attack=b", "attack.steps=7"], ["attack=b attack.steps=7 seed=0"]),
        (
            ["attack@attack.inner=y"],
            ["attack=a attack.steps=5 attack@attack.inner=y seed=0"],
        ),
    ],
)
def test_options_of_a_grids_choice_go_to_no_other_choice(words, cells):
    """Five steps of one attack would be too few for another, unless they are typed."""
    grid = {
        name: [f"{name}={value}"]
        for name, value in (
            ("attack", "a"), ("attack.steps", 5), ("attack@attack.inner", "x"),
            ("attack.inner.lr", 2), ("seed", 0),
        )
    }  # fmt: skip
    for order in (words, words[::-1]):
        assert _expanded(*order, grids=[grid]) == cells


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["defense=laplace"], "defense=laplace is in no grid.*none, gaussian, dropout"),
        (["defense.rate="], "defense.rate= is an empty axis"),
        (["seed=range(0,0)"], "is an empty axis"),
        (["seed=0", "seed=1,2"], "seed is given twice: type seed=VALUE,VALUE once"),
        (
            ["defense.rate=interval(0,1)"],
            "continuous sweeps are not supported: list the values, defense.rate=0.1,0.2",
        ),
    ],
)
def test_axes_that_cannot_be_swept_are_refused(words, line):
    """In one line."""
    with pytest.raises(UserError, match=line):
        _expanded(*words)


def test_a_sweep_is_named_by_its_file_or_by_what_is_typed():
    """Not by how it is run, so that the same cells on other workers are the same sweep."""
    assert sweep_name("fig9", _axes(), []) == "fig9"
    assert sweep_name("he2020/fig9", _axes(), []) == "he2020-fig9"
    assert sweep_name("he2020/fig9", _axes("seed=0"), []).startswith("he2020-fig9-")
    assert sweep_name("fig9", _axes("workers=joblib", "output_dir=x", "force=true"), []) == "fig9"
    one = sweep_name(None, _axes("defense.rate=0.1,0.3", "seed=0"), ["defense.rate"])
    other = sweep_name(None, _axes("seed=0", "defense.rate=0.3,0.1"), ["defense.rate"])
    assert one == other
    assert one.startswith("rate-")
    assert sweep_name("fig9", _axes("seed=0"), []) not in ("fig9", one)
    assert cell_names([["a=1", "b=2"], ["a=1", "b=3"]]) == ["b=2", "b=3"]


def test_an_option_that_is_null_in_every_cell_is_one_value():
    """Hydra's grammar refuses choice(null), by which other single values are deferred."""
    words = defer_to_cells(["-m", "victim.augment=null", "attack.steps=5"])
    assert parse_axes(PARSER.parse_overrides(words[1:])) == {
        "victim.augment": ["victim.augment=null"],
        "attack.steps": ["attack.steps=5"],
    }
