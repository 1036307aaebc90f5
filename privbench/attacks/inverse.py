"""The inverse network, black-box, He et al. section III-B."""

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
        queries: Total number of queries; null for one per image. Held-out images are sent once, the
            others share the rest, each query with a fresh draw of the defense.
        conditional: Give the network, besides the features, the class probabilities that the cloud
            computes from them.
    """

    version: ClassVar[str] = "inverse-1"

    decoder: Any
    answers: Literal["defended", "clean"]
    queries: OptionalAtLeastTwo
    conditional: bool = False

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
        if self.answers == "clean":
            clean = tuple(view.clean_query(view.images[:1]).shape[1:])
            if clean != view.feature_shape:
                raise ValueError(
                    f"attack.answers=clean were of shape {clean} and the defense sends "
                    f"{view.feature_shape}: choose attack.answers=defended"
                )

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Query, train, and return the network."""
        network = self._network(view)
        self.fit_or_load(
            "inverse",
            network,
            view,
            lambda: self._learn(network, view),
            decoder=decoders.named(self.decoder),
            answers=self.answers,
            queries=self.queries,
            **({"conditional": True} if self.conditional else {}),
        )

        @torch.no_grad()
        def reconstruct(v: Tensor) -> Tensor:
            # the mean of the transmissions is closest to the undefended features it was trained on
            v = v.mean(1, keepdim=True) if self.answers == "clean" else v
            given = [v.flatten(0, 1)]
            if self.conditional:  # all transmissions are of one class
                classes = probabilities(view.cloud, given[0]).unflatten(0, v.shape[:2]).mean(1)
                given = [given[0][:, None], classes.repeat_interleave(v.shape[1], 0)]
            parts = zip(*(tensor.split(BATCH) for tensor in given), strict=True)
            copies = torch.cat([network(*part).clamp(0, 1) for part in parts])
            x_hat: Tensor = copies.unflatten(0, v.shape[:2]).mean(1)
            return x_hat

        return reconstruct

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
        images = view.images[: self.images]
        query = view.query if self.answers == "defended" else view.clean_query
        data = query_edge(query, images, self.queries)
        inner = network.decoder if isinstance(network, ModulatedDecoder) else network
        if isinstance(inner, decoders.ResidualDecoder):
            inner.calibrate(data.training[0])
        training, held_out = (
            (v[:, None], probabilities(view.cloud, v), rows) if self.conditional else (v, rows)
            for v, rows in (data.training, data.held_out)
        )
        learner = DecoderTask(network, images)
        facts = self.train(learner, training, held_out, view, epoch=data.trained)
        return {"aux_images": data.images, **facts}


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
