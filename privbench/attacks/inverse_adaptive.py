"""The inverse network of an adversary who knows edge and defense, and draws the latter itself."""

from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.decoders import MultiTransmissionDecoder
from privbench.attacks.components.learning import (
    TrainingConfig,
    held_out,
    reconstruction_losses,
)
from privbench.deployment import Deployment
from privbench.runtime.validation import VALIDATED
from privbench.threat import Access, AdversaryView
from privbench.training.task import TrainingTask


@dataclass(frozen=True, config=VALIDATED)
class InverseAdaptive(TrainingConfig):
    """Train Eq. (2) through the known defense: a fresh draw for every image at every step."""

    version: ClassVar[str] = "inverse_adaptive-1"

    @property
    def access(self) -> Access:
        """Rights: edge weights, the defense, and images to train on."""
        return Access.EDGE_WEIGHTS | Access.DEFENSE | Access.AUX_IMAGES

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train and return the network."""
        with view.torch_seed("decoder"):
            network = MultiTransmissionDecoder(view.feature_shape, view.image_shape)
        network = network.to(view.device).to(memory_format=torch.channels_last)
        self.fit_or_load(
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
            network.decoder.calibrate(view.edge(images[: min(last, 1000)]))
        rows = torch.arange(len(images), device=view.device)
        learner = AdaptiveDecoderTask(network, view, images)
        facts = self.train(learner, (rows[:last],), (rows[last:],), view)
        return {"aux_images": len(images), **facts}


class AdaptiveDecoderTask(TrainingTask):
    """Eq. (2) over images and draws of the defense."""

    name = "the inverse network"

    def __init__(self, network: nn.Module, view: AdversaryView, images: Tensor) -> None:
        super().__init__(network)
        self.streams = view.streams
        self.data = (Deployment(view.edge, view.defense, nn.Sequential()), images)
        self.transmissions = view.transmissions
        self.drawn = 0

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the losses of images by their indices ``(B,)``."""
        deployment, images = self.data
        (rows,) = batch
        if self.network.training:
            self.drawn += 1
        step = self.drawn if self.network.training else 0
        draws = self.streams(f"draws {step}", rows.tolist())
        with torch.autocast(rows.device.type, enabled=False):  # as exact as the received features
            v = deployment.transmit(images[rows], draws, self.transmissions)
        x_hat = self.network(v)
        return reconstruction_losses(x_hat, images[rows])
