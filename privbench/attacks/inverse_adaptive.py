"""The inverse network of an adversary who knows edge and defense, and draws the latter itself."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.decoders import MultiTransmissionDecoder
from privbench.attacks.components.learning import AttackModule, TrainingConfig, decoded, held_out
from privbench.deployment import Deployment
from privbench.threat.view import Access, AdversaryView


@dataclass(frozen=True)
class InverseAdaptive(TrainingConfig):
    """Trains Eq. (2) through the defense it knows: a fresh draw for every image at every step."""

    version: ClassVar[str] = "inverse_adaptive-1"

    @property
    def access(self) -> Access:
        """White-box, adaptive, and images to learn from."""
        return Access.EDGE_WEIGHTS | Access.DEFENSE | Access.AUX_IMAGES

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Draw, learn, and return the network."""
        with view.torch_seed("decoder"):
            network = MultiTransmissionDecoder(view.feature_shape, view.image_shape)
        network = network.to(view.device).to(memory_format=torch.channels_last)
        self.learnt(
            "inverse_adaptive",
            network,
            view,
            lambda: self._learn(network, view),
            transmissions=view.transmissions,
        )

        @torch.no_grad()
        def reconstruct(v: Tensor) -> Tensor:
            return torch.cat([network(part).clamp(0, 1) for part in v.split(64)])

        return reconstruct

    def _learn(self, network: MultiTransmissionDecoder, view: AdversaryView) -> dict[str, Any]:
        images = view.images[: self.images]
        last = len(images) - held_out(len(images))
        with torch.no_grad():
            network.large.see(view.edge(images[: min(last, 1000)]))
        rows = torch.arange(len(images), device=view.device)
        learner = AdaptiveDecoderTask(network, view, images)
        facts = self.train(learner, (rows[:last],), (rows[last:],), view)
        return {"aux_images": len(images), **facts}


class AdaptiveDecoderTask(AttackModule):
    """Eq. (2) over images and draws of the defense."""

    name = "the inverse network"

    def __init__(self, network: nn.Module, view: AdversaryView, images: Tensor) -> None:
        super().__init__(network)
        self.streams = view.streams
        self.held = (Deployment(view.edge, view.defense, nn.Sequential()), images)
        self.copies = view.transmissions
        self.drawn = 0

    def figures(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Numbers of the images ``(B,)``."""
        deployment, images = self.held
        (rows,) = batch
        if self.network.training:
            self.drawn += 1
        step = self.drawn if self.network.training else 0
        draws = self.streams(f"draws {step}", rows.tolist())
        with torch.autocast(rows.device.type, enabled=False):  # as exact as what is received
            v = deployment.transmit(images[rows], draws, self.copies)
        x_hat = self.network(v)
        return decoded(x_hat, images[rows])
