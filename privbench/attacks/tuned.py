"""Tuning without cheating: an attack's own settings, chosen on the adversary's own images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import count, islice
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from privbench.attacks.base import Attack, Reconstruct
from privbench.attacks.components.learning import require_images
from privbench.defenses.none import NoDefense
from privbench.deployment import Deployment
from privbench.runtime import checks
from privbench.runtime.code_identity import described, identity_of
from privbench.threat.view import Access, AdversaryView

KNOBS = ("tv_weight", "start")
FACTOR = 4.0
"""Between neighbouring lambdas."""


@dataclass(frozen=True)
class Tuned:
    """Chooses lambda and start of a white-box attack on auxiliary images, by squared error.

    A naive attack is tried on undefended features of the view's edge, for it knows of nothing
    else; an adaptive one on draws of the defense. Both try as many settings, the first of which is
    the attack's own.

    Attributes:
        inner: The attack.
        settings: How many are tried.
        images: Auxiliary images that each is tried on.
    """

    version: ClassVar[str] = "tuned-1"

    inner: Attack
    settings: int
    images: int

    def __post_init__(self) -> None:
        """Refuse what is out of range or has nothing to tune."""
        checks.whole("attack.settings", self.settings, 1)
        checks.whole("attack.images", self.images, 2)
        inner: Any = self.inner
        there: list[str] = [field.name for field in fields(inner)] if is_dataclass(inner) else []
        if not isinstance(inner, Attack) or not set(KNOBS) <= set(there):
            raise ValueError(
                "attack.inner has nothing to tune (tv_weight, start): choose one of the rMLE "
                "family, such as attack@attack.inner=rmle"
            )
        weights = getattr(inner, KNOBS[0])
        if 0 in (weights.values() if isinstance(weights, Mapping) else [weights]):
            raise ValueError(
                "attack.inner.tv_weight=0 has no neighbours to try: choose a number above 0"
            )
        if Access.EDGE_WEIGHTS not in self.inner.access:
            raise ValueError("attack.inner is tried on an edge of its own: choose a white-box one")

    @property
    def access(self) -> Access:
        """The inner attack's, and images to try it on."""
        return self.inner.access | Access.AUX_IMAGES

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, and what the inner attack refuses.

        Raises:
            ValueError: naming the value and the choices.
        """
        require_images(self.images, view)
        if check := getattr(self.inner, "check", None):
            check(view.only(self.inner.access))

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Try every setting, and fit the inner attack with the best."""
        tried = list(islice(self._candidates(), self.settings))
        choice = Choice()
        recipe = {"attack": "tuned", "code": identity_of(type(self)), "images": self.images}
        recipe |= {"tried": described(tried), "transmissions": view.transmissions}
        view.keep(recipe, choice, lambda: self._choose(choice, tried, view))
        best: Attack = tried[int(choice.best)]
        return best.fit(view.only(self.inner.access))

    def _candidates(self) -> Iterator[Any]:
        """Its own setting, then lambdas ever further from it, each from both starts."""
        inner: Any = self.inner
        starts = [inner.start, "dark" if inner.start == "grey" else "grey"]
        for n in count():
            exponent = (n + 1) // 2 if n % 2 else -(n // 2)  # 0, 1, -1, 2, -2 ...
            for start in starts:
                weight = _scaled(inner.tv_weight, FACTOR**exponent)
                yield replace(inner, start=start, tv_weight=weight)

    def _choose(self, choice: "Choice", tried: list[Any], view: AdversaryView) -> dict[str, Any]:
        x, quiet = view.images[: self.images], view.muted().only(self.inner.access)
        v = self._features(x, view)
        errors = [float((a.fit(quiet)(v) - x).square().mean().nan_to_num(1.0)) for a in tried]
        choice.best.fill_(min(range(len(errors)), key=errors.__getitem__))
        best = tried[int(choice.best)]
        chosen = {knob: getattr(best, knob) for knob in KNOBS}
        return {"tuned": {"settings": len(tried), "images": self.images, **chosen}}

    def _features(self, x: Tensor, view: AdversaryView) -> Tensor:
        """What the adversary would receive of its own images, as far as it knows."""
        draws = view.streams("tuning", range(len(x)))
        known = view.defense if Access.DEFENSE in self.inner.access else NoDefense()
        return Deployment(view.edge, known, nn.Sequential()).transmit(x, draws, view.transmissions)


class Choice(nn.Module):
    """The number of the best setting, in a form that the store keeps."""

    best: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("best", torch.zeros((), dtype=torch.int64))


def _scaled(weight: float | Mapping[str, float], factor: float) -> float | dict[str, float]:
    if isinstance(weight, Mapping):
        return {split: value * factor for split, value in weight.items()}
    return weight * factor
