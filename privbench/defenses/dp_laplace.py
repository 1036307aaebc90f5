"""Differential privacy by the Laplace mechanism (Dwork et al., 2006)."""

from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from privbench.defenses.base import Perturbation
from privbench.defenses.differential_privacy import DifferentialPrivacy
from privbench.defenses.laplace import Laplace
from privbench.runtime.validation import VALIDATED, OptionalPositiveFloat


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class DPLaplace(DifferentialPrivacy):
    """Clip the sum of magnitudes to C and add Laplacian noise of scale 2 C / epsilon.

    One transmission is epsilon-DP, with a delta of 0; K of them are K epsilon-DP. The noise of all
    m entries grows with the norm of all, so for many entries it is far larger than Gaussian noise.
    """

    version: ClassVar[str] = "dp_laplace-2"
    channel_class: ClassVar[str] = "privbench.defenses.laplace.Laplace"
    order: ClassVar[int] = 1

    epsilon: OptionalPositiveFloat = 1000.0

    def noise(self, sensitivity: float) -> Perturbation:
        """Return Laplacian noise."""
        assert self.epsilon is not None
        return Laplace(scale=sensitivity / self.epsilon)

    def epsilon_of(self, sensitivity: float, channel: Any, transmissions: int) -> float:
        """Return the sum of the budgets of K transmissions."""
        return float(transmissions * sensitivity / channel.scale)
