"""The inverse network, black-box, He et al. section III-B."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components import decoders
from privbench.attacks.components.learning import AttackModule, TrainingConfig, ask, decoded
from privbench.runtime import checks
from privbench.threat.view import Access, AdversaryView

ANSWERS = ("defended", "clean")
AT_ONCE = 256


@dataclass(frozen=True)
class Inverse(TrainingConfig):
    """Asks the edge about images of its own and learns the way back, He et al. Eq. (2).

    The answers of the edge as deployed make it adaptive: it learns to see through the defense that
    it is shown, without a word said about it. ``clean`` answers were recorded before the defense
    was switched on.

    Attributes, besides those of ``TrainingConfig``:
        decoder: ``large``, ``paper``, or a function of feature and image shape that makes one.
        answers: ``defended`` or ``clean``.
        queries: Answers asked for in all; null for one an image. Images that are held out get one,
            the others share the rest, each answer with a fresh draw of the defense.
    """

    version: ClassVar[str] = "inverse-1"

    decoder: Any
    answers: str
    queries: int | None

    def __post_init__(self) -> None:
        """Refuse what is out of range, before any data is read."""
        super().__post_init__()
        if not callable(self.decoder):
            checks.choice("attack.decoder", self.decoder, decoders.DECODERS)
        checks.choice("attack.answers", self.answers, ANSWERS)
        checks.whole_or_null("attack.queries", self.queries, 2)

    @property
    def access(self) -> Access:
        """Black-box: answers, and images to ask about."""
        queries = Access.EDGE_QUERIES if self.answers == "defended" else Access.CLEAN_QUERIES
        return queries | Access.AUX_IMAGES

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, and a decoder that does not fit.

        Raises:
            ValueError: naming the value and the choices.
        """
        super().check(view)
        self._network(view)

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Ask, learn, and return the network."""
        network = self._network(view)
        self.learnt(
            "inverse",
            network,
            view,
            lambda: self._learn(network, view),
            decoder=decoders.named(self.decoder),
            answers=self.answers,
            queries=self.queries,
        )

        @torch.no_grad()
        def reconstruct(v: Tensor) -> Tensor:
            # what was learnt of undefended answers is best fed with what is nearest to them
            v = v.mean(1, keepdim=True) if self.answers == "clean" else v
            parts = v.flatten(0, 1).split(AT_ONCE)
            copies = torch.cat([network(part).clamp(0, 1) for part in parts])
            x_hat: Tensor = copies.unflatten(0, v.shape[:2]).mean(1)
            return x_hat

        return reconstruct

    def _network(self, view: AdversaryView) -> nn.Module:
        with view.torch_seed("decoder"):
            network = decoders.build(self.decoder, view.feature_shape, view.image_shape)
        return network.to(view.device)

    def _learn(self, network: nn.Module, view: AdversaryView) -> dict[str, Any]:
        images = view.images[: self.images]
        query = view.query if self.answers == "defended" else view.clean_query
        queries = ask(query, images, self.queries)
        if isinstance(network, decoders.ResidualDecoder):
            network.see(queries.answers[0])
        learner = DecoderTask(network, images)
        facts = self.train(learner, queries.answers, queries.held_out, view, epoch=queries.trained)
        return {"aux_images": queries.images, **facts}


class DecoderTask(AttackModule):
    """Eq. (2): the squared error of what a decoder makes of the features, as a mean over pixels."""

    name = "the inverse network"

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__(network)
        self.images = (images,)  # in a tuple, or Lightning would take it for its own

    def figures(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Features ``(B, *feature_shape)`` and the numbers of their images ``(B,)``."""
        v, rows = batch
        return decoded(self.network(v), self.images[0][rows])
