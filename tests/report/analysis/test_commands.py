"""Commands put together from the cells of records."""

import itertools
import shlex

from privbench.report.analysis.commands import commands_of
from tests.records import record


def of(*typed: str):
    return [record(overrides=line.split()) for line in typed]


def cells(command: str) -> set[frozenset[str]]:
    """The cells that a command runs, each as its words."""
    words = [word for word in shlex.split(command) if "=" in word]
    axes = [[f"{w.partition('=')[0]}={v}" for v in w.partition("=")[2].split(",")] for w in words]
    return {frozenset(cell) for cell in itertools.product(*axes)}


def test_all_combinations_are_one_command():
    """Values ascend, and what does not change a number is left out."""
    found = commands_of(
        of(
            *(f"attack={attack} seed={seed} defense.sigma={sigma} tracker=none output_dir=/tmp/x"
            for attack in ("rmle", "inverse") for seed in (10, 2) for sigma in (0.5, 1.0))
        )
    )  # fmt: skip
    assert found == ["python -m privbench -m defense.sigma=0.5,1.0 attack=inverse,rmle seed=2,10"]


def test_the_commands_run_the_cells_and_no_others():
    """A seed that lacks a strength, and cells that have options of their own."""
    typed = [
        *(f"defense=dropout defense.rate={r} seed={s}" for r in (0.1, 0.5, 0.9) for s in (0, 1)),
        *(f"defense=dropout defense.rate={r} seed=2" for r in (0.1, 0.9)),
        *(f"defense=none seed={s}" for s in (0, 2)),
        "defense=gaussian defense.sigma=2.0 seed=2",
    ]
    found = commands_of(of(*typed))
    run = [cell for command in found for cell in cells(command)]
    assert len(run) == len(set(run)) == len(typed)
    assert set(run) == {frozenset(line.split()) for line in typed}
    assert len(found) == 4, found


def test_a_list_is_one_value_and_quoted():
    """As a shell wants it; a single cell needs no -m."""
    assert commands_of(of("include=[3,2,1] seed=1")) == [
        "python -m privbench 'include=[3,2,1]' seed=1"
    ]


def test_what_changes_a_key_is_kept():
    """Threads round; an option that is taken away has no value; two lists are two values."""
    assert commands_of(of("seed=1 device.threads=2 ~attack.clamp", "device.threads=1 seed=1")) == [
        "python -m privbench '~attack.clamp' seed=1 device.threads=2",
        "python -m privbench seed=1 device.threads=1",
    ]
    assert commands_of(of("include=[3,2]", "include=[4]")) == [
        "python -m privbench -m 'include=[3,2],[4]'"
    ]
