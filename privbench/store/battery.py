"""What a sweep's log says of its battery of attacks, and of attacks left out (no torch)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Unsuitable:
    """An attack that a defended setting does not admit.

    Attributes:
        group: Key of the group that its cells would have been.
        attack: Name of the attack.
        reason: The attack's own message.
    """

    group: str
    attack: str
    reason: str


@dataclass(frozen=True)
class Battery:
    """A fixed set of attacks with fixed budgets that a defense is measured by.

    Attributes:
        name: ``full`` or ``quick``.
        version: Raised whenever its attacks or their budgets change.
        changed: Typed options that replace a part of it; with any, the result is not the battery's.
        untried: Attacks that it does not have, with the reason.
        unsuitable: Attacks that a setting does not admit.
    """

    name: str
    version: int
    changed: Sequence[str] = ()
    untried: Mapping[str, str] = field(default_factory=dict)
    unsuitable: Sequence[Unsuitable] = ()

    @property
    def mark(self) -> dict[str, Any] | None:
        """What a record of its cells says; null where a part of it was replaced."""
        return None if self.changed else {"name": self.name, "version": self.version}

    def to_fields(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Battery":
        """Return the battery of ``to_fields``."""
        unsuitable = tuple(Unsuitable(**one) for one in fields["unsuitable"])
        return cls(**{**fields, "unsuitable": unsuitable})


def not_applicable(unsuitable: Iterable[Unsuitable]) -> list[str]:
    """Return a line for each attack that settings do not admit, with its reason."""
    settings: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in unsuitable:
        settings[one.attack, one.reason].add(one.group)
    return [
        f"{attack} in {len(held)} setting{'s' * (len(held) > 1)}: {reason}"
        for (attack, reason), held in settings.items()
    ]
