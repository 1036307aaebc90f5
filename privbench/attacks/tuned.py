"""Tuning of an attack's prior and initial image on auxiliary images."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import count, islice
from typing import Any, ClassVar

import torch
from pydantic import SkipValidation
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Attack, Reconstruct
from privbench.attacks.components.learning import require_images
from privbench.defenses.none import NoDefense
from privbench.deployment import Deployment
from privbench.runtime.code_identity import described, identity_of
from privbench.runtime.validation import VALIDATED, AtLeastTwo, PositiveInt
from privbench.threat import Access, AdversaryView

TUNED_FIELDS = ("tv_weight", "init")
FACTOR = 4.0
"""Ratio of neighbouring lambdas."""


@dataclass(frozen=True, config=VALIDATED)
class Tuned:
    """Choose lambda and initial image of a white-box attack on auxiliary images, by squared error.

    A naive attack is tried on undefended features of the view's edge, an adaptive one on draws of
    the defense. The first trial has the attack's configured values.

    Attributes:
        inner: The attack.
        trials: Number of settings tried.
        images: Auxiliary images of each trial.
    """

    version: ClassVar[str] = "tuned-1"

    inner: SkipValidation[Attack]
    trials: PositiveInt
    images: AtLeastTwo

    def __post_init__(self) -> None:
        """Refuse an attack that has nothing to tune."""
        inner: Any = self.inner
        names: list[str] = [field.name for field in fields(inner)] if is_dataclass(inner) else []
        if not isinstance(inner, Attack) or not set(TUNED_FIELDS) <= set(names):
            raise ValueError(
                "attack.inner has nothing to tune (tv_weight, init): choose one of the rMLE "
                "family, such as attack@attack.inner=rmle"
            )
        weights = getattr(inner, TUNED_FIELDS[0])
        if 0 in (weights.values() if isinstance(weights, Mapping) else [weights]):
            raise ValueError("attack.inner.tv_weight=0 cannot be scaled: choose a number above 0")
        if Access.EDGE_WEIGHTS not in self.inner.access:
            raise ValueError(
                "attack.inner must be a white-box attack: choose attack@attack.inner=rmle"
            )

    @property
    def access(self) -> Access:
        """Rights of the inner attack, and auxiliary images."""
        return self.inner.access | Access.AUX_IMAGES

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, and whatever the inner attack refuses.

        Raises:
            ValueError: naming the value and the choices.
        """
        require_images(self.images, view)
        if check := getattr(self.inner, "check", None):
            check(view.restricted_to(self.inner.access))

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Try every setting, and fit the inner attack with the best."""
        tried = list(islice(self._candidates(), self.trials))
        choice = Choice()
        recipe = {"attack": "tuned", "code": identity_of(type(self)), "images": self.images}
        recipe |= {"tried": described(tried), "transmissions": view.transmissions}
        view.fit_or_load(recipe, choice, lambda: self._choose(choice, tried, view))
        best: Attack = tried[int(choice.best)]
        return best.fit(view.restricted_to(self.inner.access))

    def _candidates(self) -> Iterator[Any]:
        """Yield the configured setting, then others ever further away, with both initial images."""
        inner: Any = self.inner
        inits = [inner.init, "dark" if inner.init == "grey" else "grey"]
        for n in count():
            exponent = (n + 1) // 2 if n % 2 else -(n // 2)  # 0, 1, -1, 2, -2 ...
            for init in inits:
                weight = _scaled(inner.tv_weight, FACTOR**exponent)
                yield replace(inner, init=init, tv_weight=weight)

    def _choose(self, choice: "Choice", tried: list[Any], view: AdversaryView) -> dict[str, Any]:
        x, silent = (
            view.images[: self.images],
            view.without_logging().restricted_to(self.inner.access),
        )
        v = self._features(x, view)
        errors = [float((a.fit(silent)(v) - x).square().mean().nan_to_num(1.0)) for a in tried]
        choice.best.fill_(min(range(len(errors)), key=errors.__getitem__))
        best = tried[int(choice.best)]
        chosen = {"tv_weight": best.tv_weight, "start": best.init}  # names of the record's schema
        return {"tuned": {"settings": len(tried), "images": self.images, **chosen}}

    def _features(self, x: Tensor, view: AdversaryView) -> Tensor:
        """Return features of auxiliary images, as the adversary believes they are transmitted."""
        draws = view.streams("tuning", range(len(x)))
        known = view.defense if Access.DEFENSE in self.inner.access else NoDefense()
        return Deployment(view.edge, known, nn.Sequential()).transmit(x, draws, view.transmissions)


class Choice(nn.Module):
    """Index of the best setting, as a module that the store keeps."""

    best: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("best", torch.zeros((), dtype=torch.int64))


def _scaled(weight: float | Mapping[str, float], factor: float) -> float | dict[str, float]:
    if isinstance(weight, Mapping):
        return {split: value * factor for split, value in weight.items()}
    return weight * factor
