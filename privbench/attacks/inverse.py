"""The inverse network, black-box, He et al. section III-B."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components import decoders
from privbench.attacks.components.learning import (
    TrainingConfig,
    query_edge,
    reconstruction_losses,
)
from privbench.attacks.components.modulation import ModulatedDecoder
from privbench.runtime.errors import UnsuitableAttackError
from privbench.runtime.validation import VALIDATED, OptionalAtLeastTwo, require_choice
from privbench.threat import Access, AdversaryView
from privbench.training.task import TrainingTask

BATCH = 256


@dataclass(frozen=True, config=VALIDATED)
class Inverse(TrainingConfig):
    """Query the edge with auxiliary images, and learn the inverse map, He et al. Eq. (2).

    Queries to the edge as deployed make the attack adaptive: it learns from defended features, with
    no description of the defense. ``clean`` answers were recorded before the defense was switched
    on.

    Attributes, besides those of ``TrainingConfig``:
        decoder: ``large``, ``paper``, or a function of feature and image shape that builds one.
        answers: ``defended`` or ``clean``.
        queries: Total number of queries; null for one per image, where ``pooled`` K. Held-out
            images are sent once, the others share the rest, each query with a fresh draw of the
            defense.
        conditional: Give the network, besides the features, the class probabilities that the cloud
            computes from them.
        pooled: Where a target is sent K times, send each own image K times as well and learn from
            its K answers together; ``queries`` then pay for fewer images. False learns from single
            answers and returns the mean of K images, as ``conditional`` and ``clean`` always do.
    """

    version: ClassVar[str] = "inverse-1"

    decoder: Any
    answers: Literal["defended", "clean"]
    queries: OptionalAtLeastTwo
    conditional: bool = False
    pooled: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown decoder, and one that takes features alone where classes are given."""
        if not callable(self.decoder):
            require_choice("attack.decoder", self.decoder, decoders.DECODERS)
        if self.conditional and self.decoder != "large":
            shown = decoders.named(self.decoder)
            raise ValueError(
                f"attack.decoder={shown} takes features alone: choose large, or "
                "attack.conditional=false"
            )

    @property
    def access(self) -> Access:
        """Rights: queries, and images to send."""
        queries = Access.EDGE_QUERIES if self.answers == "defended" else Access.CLEAN_QUERIES
        return queries | Access.AUX_IMAGES

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, and a decoder that does not fit.

        Raises:
            ValueError: naming the value and the choices.
        """
        super().check(view)
        self._network(view)
        fewest = 2 * self._together(view)
        if self.queries is not None and self.queries < fewest:
            raise ValueError(
                f"attack.queries={self.queries} are answers to fewer than two images, each sent "
                f"{view.transmissions} times: choose {fewest} or more, or attack.pooled=false"
            )
        if self.answers == "clean":
            clean = tuple(view.clean_query(view.images[:1]).shape[1:])
            if clean != view.feature_shape:
                raise UnsuitableAttackError(
                    f"attack.answers=clean were of shape {clean} and the defense sends "
                    f"{view.feature_shape}: choose attack.answers=defended"
                )

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Query, train, and return the network."""
        network, together = self._network(view), self._together(view)
        self.fit_or_load(
            "inverse",
            network,
            view,
            lambda: self._learn(network, view),
            decoder=decoders.named(self.decoder),
            answers=self.answers,
            queries=self.queries,
            **({"conditional": True} if self.conditional else {}),
            **({"transmissions": together} if together > 1 else {}),
        )

        @torch.no_grad()
        def reconstruct(v: Tensor) -> Tensor:
            if together > 1:
                return _in_parts(network, self._statistics(pooled(v)))
            # the mean of the transmissions is closest to the undefended features it was trained on
            v = v.mean(1, keepdim=True) if self.answers == "clean" else v
            given = [v.flatten(0, 1)]
            if self.conditional:  # all transmissions are of one class
                classes = probabilities(view.cloud, given[0]).unflatten(0, v.shape[:2]).mean(1)
                given = [given[0][:, None], classes.repeat_interleave(v.shape[1], 0)]
            x_hat: Tensor = _in_parts(network, given).unflatten(0, v.shape[:2]).mean(1)
            return x_hat

        return reconstruct

    def _together(self, view: AdversaryView) -> int:
        """Return how many answers to an image the network is given together."""
        apart = not self.pooled or self.conditional or self.answers == "clean"
        return 1 if apart else view.transmissions

    def _statistics(self, v: Tensor) -> list[Tensor]:
        """Return those of ``pooled`` features that the network is given."""
        return [v[:, 0], v[:, 1]] if self.decoder == "large" else [v[:, 0]]

    def _network(self, view: AdversaryView) -> nn.Module:
        with view.torch_seed("decoder"):
            if not self.conditional:
                network = decoders.build(self.decoder, view.feature_shape, view.image_shape)
                return network.to(view.device)
            blank = torch.zeros(1, *view.feature_shape, device=view.device)
            classes = probabilities(view.cloud, blank).shape[1]
            modulated = ModulatedDecoder(view.feature_shape, view.image_shape, classes)
        return modulated.to(view.device).to(memory_format=torch.channels_last)

    def _learn(self, network: nn.Module, view: AdversaryView) -> dict[str, Any]:
        images, together = view.images[: self.images], self._together(view)
        query = view.query if self.answers == "defended" else view.clean_query
        if together > 1:
            budget = self.queries and self.queries // together
            data = query_edge(lambda x: _query_pooled(query, x, together), images, budget)
        else:
            data = query_edge(query, images, self.queries)
        training, held_out = (
            (*self._given(v, view), rows) for v, rows in (data.training, data.held_out)
        )
        inner = network.decoder if isinstance(network, ModulatedDecoder) else network
        if isinstance(inner, decoders.ResidualDecoder):
            inner.calibrate(training[0].flatten(0, 1) if self.conditional else training[0])
        learner = DecoderTask(network, images)
        facts = self.train(learner, training, held_out, view, epoch=data.trained)
        return {"aux_images": data.images, **facts}

    def _given(self, v: Tensor, view: AdversaryView) -> list[Tensor]:
        """Return what the network is given of answers."""
        if self._together(view) > 1:
            return self._statistics(v)
        return [v[:, None], probabilities(view.cloud, v)] if self.conditional else [v]


class DecoderTask(TrainingTask):
    """Eq. (2): the squared error of a decoder's images, as a mean over pixels."""

    name = "the inverse network"

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__(network)
        self.images = images

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the losses of what the network is given, and of image indices ``(B,)``."""
        *given, rows = batch
        return reconstruction_losses(self.network(*given), self.images[rows])


@torch.no_grad()
def probabilities(cloud: nn.Module, v: Tensor) -> Tensor:
    """Return the class probabilities that the cloud computes from features, ``(N, classes)``."""
    return torch.cat([cloud(part).softmax(1) for part in v.split(BATCH)])


def pooled(v: Tensor) -> Tensor:
    """Return the statistics of K transmissions ``(N, K, *feature_shape)`` that networks learn from.

    Returns:
        ``(N, 2, *feature_shape)``: the mean of the non-zero entries, and the share of zeros.
    """
    return torch.stack(decoders.MultiTransmissionDecoder.statistics(v), 1)


def _query_pooled(query: Callable[[Tensor], Tensor], x: Tensor, times: int) -> Tensor:
    """Send images several times each and return their answers ``pooled``."""
    answers = (torch.stack([query(part) for _ in range(times)], 1) for part in x.split(BATCH))
    return torch.cat([pooled(v) for v in answers])


def _in_parts(network: nn.Module, given: Sequence[Tensor]) -> Tensor:
    """Return a network's images in [0, 1], of tensors with a row an image."""
    parts = zip(*(tensor.split(BATCH) for tensor in given), strict=True)
    return torch.cat([network(*part).clamp(0, 1) for part in parts])
