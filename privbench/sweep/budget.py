"""The budget of a launch: a time after which it begins no further cell (no torch).

A cell begins only where the time that is left suffices for the usual one of its attack in this
sweep, without what later cells find in the store: the victim and the evaluation classifier. One
that has begun is finished, so that a launch ends late by what the first cell of an attack takes,
its victim's training among it.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from privbench.runtime.duration import seconds_of
from privbench.runtime.errors import UserError
from privbench.store.sweep_log import SweepLog
from privbench.sweep.times import Times, computed_seconds


@dataclass(frozen=True)
class Budget:
    """The end of a launch's time.

    Attributes:
        text: As it was typed.
        deadline: Seconds since the epoch.
    """

    text: str
    deadline: float

    @classmethod
    def begin(cls, text: str | None) -> "Budget | None":
        """Return the budget that begins now; null for none.

        Raises:
            UserError: for a text that is no duration.
        """
        if text is None:
            return None
        try:
            seconds = seconds_of(str(text))
        except ValueError as error:
            raise UserError(f"budget={text} is not a time: {error}") from error
        return cls(str(text), time.time() + seconds)

    @property
    def is_spent(self) -> bool:
        """True once its time is over."""
        return time.time() >= self.deadline


def with_time(log: SweepLog, launch: str, keys: Iterable[str], deadline: float) -> set[str]:
    """Return the cells that are likely to end before a deadline, by what others like them took.

    Args:
        log: Of the sweep.
        launch: Whose cells they are.
        keys: Of cells that have not begun.
        deadline: Seconds since the epoch.
    """
    now = time.time()
    if now >= deadline:
        return set()
    usual = usual_seconds(log, launch, keys)
    return {key for key in keys if now + usual.get(key, 0.0) < deadline}


def usual_seconds(log: SweepLog, launch: str, keys: Iterable[str]) -> dict[str, float]:
    """Return the seconds that cells are expected to take, by their key; nothing of unknown ones.

    Args:
        log: Of the sweep, with the seconds of its earlier cells.
        launch: Whose cells they are.
        keys: Of cells.
    """
    times, entries = Times(), log.entries(launch)
    for line in log.lines()[0]:
        if line.get("state") == "done" and line.get("key") in entries:
            times.end(entries[line["key"]], computed_seconds(line))
    usual = {key: times.usual(entries[key]) for key in keys}
    return {key: seconds for key, seconds in usual.items() if seconds is not None}
