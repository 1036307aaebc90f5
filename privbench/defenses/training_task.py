"""Training task of a deployment."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from privbench.deployment import Deployment
from privbench.runtime.random import RandomStreams
from privbench.training.task import TrainingTask

if TYPE_CHECKING:
    from privbench.defenses.trained import TrainedDefense


class DeploymentTask(TrainingTask):
    """Losses of a defense on images, with new draws of the channel in every step.

    Args:
        network: Trained in place: a part of the deployment.
        defense: Computes the losses.
        deployment: The whole.
        seed: Of the draws.
    """

    name = "the deployment"

    def __init__(
        self, network: nn.Module, defense: "TrainedDefense", deployment: Deployment, seed: int
    ) -> None:
        super().__init__(network)
        self.of = (
            defense,
            deployment,
        )  # a tuple, whose modules Lightning does not count as its own
        self.seed, self.drawn = seed, 0

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Compute the losses of 8-bit images ``(B, C, H, W)``, labels and their rows ``(B,)``."""
        pixels, labels, rows = batch
        defense, deployment = self.of
        draws = RandomStreams(self.seed, "deployment training", rows.tolist(), self.drawn)
        self.drawn += 1
        return defense.losses(deployment, pixels.float() / 255, labels, draws)
