"""The inverse network of an adversary who knows edge and defense, and draws the latter itself."""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.amortised import (
    ALL_STRENGTHS,
    AmortisedDecoder,
    ChannelOfEach,
    StrengthRange,
    fixed_shares,
    random_shares,
)
from privbench.attacks.components.decoders import MultiTransmissionDecoder
from privbench.attacks.components.learning import (
    TrainingConfig,
    held_out,
    reconstruction_losses,
)
from privbench.defenses.deployment import Deployment
from privbench.runtime.code_identity import described
from privbench.runtime.errors import UnsuitableAttackError
from privbench.runtime.validation import VALIDATED, FiniteFloat
from privbench.threat import Access, AdversaryView
from privbench.training.task import TrainingTask

BATCH = 64
LONGER = 3
"""Updates of one network for all strengths, in those of a network for one strength."""
SINGLE = "choose attack.amortised=false"
Network = MultiTransmissionDecoder | AmortisedDecoder


@dataclass(frozen=True, config=VALIDATED)
class InverseAdaptive(TrainingConfig):
    """Train Eq. (2) through the known defense: a fresh draw for every image at every step.

    Attributes, besides those of ``TrainingConfig``:
        amortised: Train one network for all strengths of a defense that trains nothing, each image
            at a random strength, which the network is given; ``steps`` of null are then three times
            as many. Without a defense it is the network that ``amortised`` of false trains.
        strengths: Lowest and highest strength that it learns; null for those of the defense.
    """

    version: ClassVar[str] = "inverse_adaptive-3"

    amortised: bool = False
    strengths: list[FiniteFloat] | None = None

    def __post_init__(self) -> None:
        """Refuse a range that is none, and one without a use."""
        if self.strengths is None:
            return
        if not self.amortised:
            raise ValueError(
                f"attack.strengths={self.strengths} is of attack.amortised=true alone: choose null"
            )
        if len(self.strengths) != 2 or not 0 <= self.strengths[0] < self.strengths[1]:
            raise ValueError(
                f"attack.strengths={self.strengths} is out of range: choose [LOWEST,HIGHEST], from "
                "0 up"
            )

    @property
    def access(self) -> Access:
        """Rights: edge weights, the defense, and images to train on."""
        return Access.EDGE_WEIGHTS | Access.DEFENSE | Access.AUX_IMAGES

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, and a defense that has no range of strengths.

        Raises:
            ValueError: naming the value and the choices.
        """
        super().check(view)
        self._range(view)

    def length(self, rows: int) -> tuple[int, int]:
        """Return rows per batch and number of updates."""
        size, steps = super().length(rows)
        return size, steps * (LONGER if self.amortised and self.steps is None else 1)

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train and return the network."""
        reach = self._range(view)
        if self.amortised and reach is None:  # one strength: the same network, under the same key
            return replace(self, amortised=False, strengths=None).fit(view)
        kind = MultiTransmissionDecoder if reach is None else AmortisedDecoder
        with view.torch_seed("decoder"):
            network = kind(view.feature_shape, view.image_shape)
        network = network.to(view.device).to(memory_format=torch.channels_last)
        self.fit_or_load(
            "inverse_adaptive",
            network,
            view,
            lambda: self._learn(network, view, reach),
            transmissions=view.transmissions,
            **_of_all_strengths(view, reach),
        )
        share = None if reach is None else reach.share(view.defense.strength)

        @torch.no_grad()
        def reconstruct(v: Tensor) -> Tensor:
            given = [v] if share is None else [v, torch.full((len(v),), share, device=v.device)]
            parts = zip(*(tensor.split(BATCH) for tensor in given), strict=True)
            return torch.cat([network(*part).clamp(0, 1) for part in parts])

        return reconstruct

    def _range(self, view: AdversaryView) -> StrengthRange | None:
        """Return the strengths that one network learns; null for a network of one strength.

        Raises:
            ValueError: for a defense that has no range of strengths, naming the choices.
        """
        if not self.amortised or view.defense.strength == 0:
            return None
        defense, name = view.defense, type(view.defense).__name__
        if view.retrained:
            raise UnsuitableAttackError(
                "attack.amortised=true is for an edge that is the same at every strength, and this "
                f"defense trained it: {SINGLE}"
            )
        try:
            defense.at_strength(defense.strength)
        except NotImplementedError as error:
            raise UnsuitableAttackError(
                f"attack.amortised=true draws a defense at other strengths, and {error}: {SINGLE}"
            ) from None
        limits = self.strengths or defense.strengths
        if limits is None:
            raise ValueError(
                f"attack.strengths=null, and the strengths of {name} have no highest one: choose "
                "[LOWEST,HIGHEST]"
            )
        return _checked(StrengthRange(*limits), defense, name)

    def _learn(
        self, network: Network, view: AdversaryView, reach: StrengthRange | None
    ) -> dict[str, Any]:
        images = view.images[: self.images]
        last = len(images) - held_out(len(images))
        with torch.no_grad():
            network.decoder.calibrate(view.edge(images[: min(last, 1000)]))
        rows = torch.arange(len(images), device=view.device)
        learner = (
            AdaptiveDecoderTask(network, view, images)
            if reach is None
            else AmortisedDecoderTask(network, view, images, reach)
        )
        facts = self.train(learner, (rows[:last],), (rows[last:],), view)
        return {"aux_images": len(images), **facts}


def _checked(reach: StrengthRange, defense: Any, name: str) -> StrengthRange:
    """Refuse a range that the deployed strength lies outside of, or one beyond the defense's own.

    Raises:
        ValueError: naming the value and the choices.
    """
    shown, strength = f"attack.strengths=[{reach.low:g},{reach.high:g}]", defense.strength
    if not reach.low <= strength <= reach.high:
        raise ValueError(
            f"{shown} leaves out the deployed strength {strength:g}: choose a range that holds it"
        )
    if defense.strengths and reach.high > defense.strengths[1]:
        raise ValueError(
            f"{shown} is out of range: {name} has strengths up to {defense.strengths[1]:g}"
        )
    return reach


def _of_all_strengths(view: AdversaryView, reach: StrengthRange | None) -> dict[str, Any]:
    """Return what one network for all strengths depends on, the deployed strength left out."""
    if reach is None:
        return {}
    strongest = described(view.defense.at_strength(reach.high))
    return {"of": ALL_STRENGTHS, "defense": strongest, "strengths": [reach.low, reach.high]}


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
        v = self.transmit(deployment, images[rows], rows)
        x_hat = self.network(v)
        return reconstruction_losses(x_hat, images[rows])

    def transmit(self, deployment: Deployment, x: Tensor, rows: Tensor) -> Tensor:
        """Return transmissions ``(B, K, *feature_shape)``, new draws in every step of training."""
        if self.network.training:
            self.drawn += 1
        step = self.drawn if self.network.training else 0
        draws = self.streams(f"draws {step}", rows.tolist())
        with torch.autocast(rows.device.type, enabled=False):  # as exact as the received features
            return deployment.transmit(x, draws, self.transmissions)


class AmortisedDecoderTask(AdaptiveDecoderTask):
    """Eq. (2) over images, draws and strengths of the defense."""

    def __init__(
        self, network: nn.Module, view: AdversaryView, images: Tensor, reach: StrengthRange
    ) -> None:
        super().__init__(network, view, images)
        self.defense, self.reach = view.defense, reach
        self.generator = view.generator("strengths")

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the losses of images by their indices ``(B,)``; held-out ones have a strength."""
        deployment, images = self.data
        (rows,) = batch
        random = self.network.training
        shares = random_shares(len(rows), self.generator) if random else fixed_shares(rows.cpu())
        channels = [self.defense.at_strength(self.reach.at(share)) for share in shares.tolist()]
        # of the strength that was drawn: levels are whole numbers
        shares = torch.tensor([self.reach.share(channel.strength) for channel in channels])
        mixed = Deployment(deployment.edge, ChannelOfEach(channels), nn.Sequential())
        v = self.transmit(mixed, images[rows], rows)
        return reconstruction_losses(self.network(v, shares.to(rows.device)), images[rows])
