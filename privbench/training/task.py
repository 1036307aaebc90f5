"""Base class of everything that is trained."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from privbench.training.config import OptimizerConfig


class TrainingTask(ABC):
    """A network, and its losses on a batch.

    Subclasses define ``losses``. ``loss`` is minimised and the others are logged; on held-out data
    all of them are logged with the prefix ``held_out_``. A task knows nothing of Lightning, whose
    import takes seconds: a refused value need not wait for it.

    Args:
        network: Trained in place, in training mode; other networks of a task keep their mode.

    Attributes:
        name: Name of the network, for the progress.
        optimizer: Its hyper-parameters; set before the training begins.
        steps: Number of steps of the whole training; set before it begins.
    """

    name = "a network"

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.optimizer: OptimizerConfig
        self.steps = 0

    @abstractmethod
    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Compute ``loss``, which is minimised, and other scalars to log."""
