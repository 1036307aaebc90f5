"""The base class of defenses that train both halves further, with any channel between them."""

from dataclasses import replace
from typing import Annotated, Self

from pydantic.dataclasses import dataclass

from privbench.defenses.base import CHANNELS, FitServices, Perturbation, TrainingImages
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.none import NoDefense
from privbench.defenses.trained import TrainedDefense, copied
from privbench.runtime.validation import (
    VALIDATED,
    expecting,
)


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class FineTuned(TrainedDefense):
    """Train copies of both halves from the victim's weights, by other losses than its own.

    Subclasses define ``strength``, and ``losses`` or ``build``. At strength 0 there is no channel.

    Attributes:
        channel: Perturbation between the halves, on in the training too.
    """

    channel: Annotated[Perturbation, expecting(CHANNELS)] = NoDefense()

    @property
    def site(self) -> str:
        """Site of the channel."""
        return self.channel.site

    def build(self, victim: SplitVictim) -> Deployment:
        """Return copies of both halves with the channel between them."""
        edge, cloud = copied(victim.edge), copied(victim.cloud)
        return Deployment(edge, self.channel, cloud, victim.edge)

    def calibrate(self, victim: SplitVictim, data: TrainingImages, services: FitServices) -> Self:
        """Return the defense with a channel whose range is that of the victim's features."""
        return replace(self, channel=self.channel.calibrate(victim, data, services))
