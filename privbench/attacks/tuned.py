"""Tuning of an attack's options on auxiliary images."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import count, islice
from typing import Any, ClassVar

import torch
from pydantic import SkipValidation
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Attack, Reconstruct, check_inner
from privbench.attacks.components.learning import require_images
from privbench.attacks.components.search import (
    numeric_options,
    ranges_of,
    search,
    with_options,
)
from privbench.defenses.deployment import Deployment
from privbench.defenses.none import NoDefense
from privbench.runtime.code_identity import described, identity_of
from privbench.runtime.validation import VALIDATED, AtLeastTwo, PositiveInt
from privbench.threat import Access, AdversaryView
from privbench.training.stored_numbers import StoredNumbers

TUNED_FIELDS = ("tv_weight", "init")
FEATURES = (Access.EDGE_WEIGHTS, Access.EDGE_QUERIES, Access.CLEAN_QUERIES)
"""Rights of which each gives features of auxiliary images."""
FACTOR = 4.0
"""Ratio of neighbouring lambdas."""


@dataclass(frozen=True, config=VALIDATED)
class Tuned:
    """Choose options of an attack on auxiliary images, by squared error.

    By default those are lambda and the initial image of a white-box attack; with ``search`` any
    numeric options of any attack that can have features of its own images. A naive white-box attack
    is tried on undefended features of the view's edge, an adaptive one on draws of the defense,
    others on answers to queries, which are counted. The first trial has the attack's configured
    values, where a search includes them. In a search a trial's attack learns from images that it is
    not tried on, and every trial is kept in the store, so a search that is killed, or typed again
    with more trials, goes on; values that the attack refuses together count as a trial.

    Attributes:
        inner: The attack.
        trials: Number of settings tried: the same for a naive attack and an adaptive one.
        images: Auxiliary images of each trial.
        search: Range of each option that is searched, ``[low, high]`` or ``[low, high, "log"]``;
            null for lambda and the initial image.
    """

    version: ClassVar[str] = "tuned-2"

    inner: SkipValidation[Attack]
    trials: PositiveInt
    images: AtLeastTwo
    search: dict[str, Any] | None = None  # in no yaml: a line there would move every key

    def __post_init__(self) -> None:
        """Refuse an attack that has nothing to tune."""
        if self.search is not None:
            ranges_of(self.inner, self.search)
            self._require_features()
        else:
            self._require_prior()

    def _require_features(self) -> None:
        """Refuse an attack that cannot be tried: it has no features of images that it knows."""
        if not any(right in self.inner.access for right in FEATURES):
            raise ValueError(
                "attack.inner has no features of its own images, so there is nothing to try it on: "
                "choose one with edge weights or queries, such as rmle or inverse"
            )

    def _require_prior(self) -> None:
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
        left = view if self.search is None else view.without_images(self.images)
        check_inner(self.inner, left.restricted_to(self.inner.access))

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Try every setting, and fit the inner attack with the best."""
        if self.search is not None:
            return self._searched(view).fit(view.restricted_to(self.inner.access))
        tried = list(islice(self._candidates(), self.trials))
        choice = StoredNumbers("best")
        recipe = {"attack": "tuned", "code": identity_of(type(self)), "images": self.images}
        recipe |= {"tried": described(tried), "transmissions": view.transmissions}
        view.fit_or_load(recipe, choice, lambda: self._choose(choice, tried, view))
        best: Attack = tried[int(choice["best"])]
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

    def _choose(
        self, choice: StoredNumbers, tried: list[Any], view: AdversaryView
    ) -> dict[str, Any]:
        x, silent = (
            view.images[: self.images],
            view.without_logging().restricted_to(self.inner.access),
        )
        v = self._features(x, view)
        errors = [_error(attack.fit(silent)(v), x) for attack in tried]
        index = min(range(len(errors)), key=errors.__getitem__)
        choice.set(best=index)
        best = tried[index]
        chosen = {"tv_weight": best.tv_weight, "start": best.init}  # names of the record's schema
        return {"tuned": {"settings": len(tried), "images": self.images, **chosen}}

    def _searched(self, view: AdversaryView) -> Attack:
        """Return the inner attack with the best options that a search finds."""
        inner: Any = self.inner
        x = view.images[: self.images]
        v = self._features(x, view)
        silent = view.without_images(self.images).without_logging()
        kept, rights = view.without_logging(), silent.restricted_to(inner.access)
        seed = torch.randint(2**31, (), generator=view.generator("search"))

        def score(values: Mapping[str, float]) -> float | None:
            try:
                attack, trial = with_options(inner, values), StoredNumbers("error")
                check_inner(attack, rights)
            except ValueError:
                return None  # each is allowed, but not with the other, or not with these images
            recipe = {
                "attack": "tuned",
                "code": identity_of(type(self)),
                "trial": described(attack),
            }
            recipe |= {"images": self.images, "transmissions": view.transmissions}

            def run() -> dict[str, Any]:
                trial.set(error=_error(attack.fit(rights)(v), x))
                return {}

            kept.fit_or_load(recipe, trial, run)
            return trial["error"]

        wanted = ranges_of(inner, self.search or {})
        first = {name: number.value for name, number in numeric_options(inner).items()}
        best, errors = search(score, wanted, first, self.trials, int(seed))
        facts = {"settings": self.trials, "images": self.images, "errors": errors}  # null: refused
        view.logger.note(tuned={**facts, "chosen": best})
        chosen: Attack = with_options(inner, best)
        return chosen

    def _features(self, x: Tensor, view: AdversaryView) -> Tensor:
        """Return features of auxiliary images, as the adversary believes they are transmitted."""
        if Access.EDGE_WEIGHTS not in self.inner.access:
            asked = Access.EDGE_QUERIES in self.inner.access
            query = view.query if asked else view.clean_query
            return torch.stack([query(x) for _ in range(view.transmissions)], 1)
        draws = view.streams("tuning", range(len(x)))
        known = view.defense if Access.DEFENSE in self.inner.access else NoDefense()
        return Deployment(view.edge, known, nn.Sequential()).transmit(x, draws, view.transmissions)


def _error(x_hat: Tensor, x: Tensor) -> float:
    """Return the mean squared error over pixels; 1 where it is not a number."""
    return float((x_hat - x).square().mean().nan_to_num(1.0))


def _scaled(weight: float | Mapping[str, float], factor: float) -> float | dict[str, float]:
    if isinstance(weight, Mapping):
        return {split: value * factor for split, value in weight.items()}
    return weight * factor
