"""ReFIL: noise for a target of Fisher information leakage (Maeng et al., NeurIPS 2023)."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from privbench.defenses.base import IMAGES, FitServices, TrainingImages
from privbench.defenses.bottleneck import narrowed
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.fine_tuned import FineTuned
from privbench.defenses.gaussian import Gaussian
from privbench.runtime.hashing import derive_seed
from privbench.runtime.pixels import in_unit_range
from privbench.runtime.random import RandomStreams
from privbench.runtime.validation import VALIDATED, Fraction, NonNegativeFloat
from privbench.training.loop import EpochLogger
from privbench.training.stored_numbers import StoredNumbers

PROBES = 2
"""Random probes of each image's trace, whose mean over images calibrates the noise."""
BATCH = 64


@dataclass(frozen=True, kw_only=True, config=VALIDATED)
class Fisher(FineTuned):
    """Train both halves with, and deploy, Gaussian noise of a target 1/dFIL.

    Of v = f(x) + N(0, sigma²) the Fisher information about the d pixels is JᵀJ / sigma², and dFIL
    its trace over d (Maeng et al., arXiv 2209.10119). An unbiased estimate of x has a mean squared
    error of at least 1/dFIL; every practical attack is biased, so this bounds none of them.
    sigma² = target tr(JᵀJ) / d, the trace as a mean over images: of the batch while it trains, of
    1,024 training images in the deployment. The loss is cross-entropy + regulariser *
    tr(JᵀJ) / |f(x)|², the inverse of a signal-to-noise ratio. Traces are estimated by random
    probes (Hutchinson), E |Jᵀu|².

    Attributes:
        target: 1/dFIL, in squared units of the pixel range: .01 is an error of 20 dB. The paper's
            targets of 1 to 100 are in standardised units.
        regulariser: Weight of tr(JᵀJ) / |f(x)|².
        bottleneck: Share of the channels that a learned linear map removes; the paper keeps 4 or 8.
    """

    version: ClassVar[str] = "fisher-1"
    channel_class: ClassVar[str] = "privbench.defenses.gaussian.Gaussian"

    target: NonNegativeFloat = 0.1
    regulariser: NonNegativeFloat = 0.01
    bottleneck: Fraction = 0.0

    def __post_init__(self) -> None:
        """Refuse a channel: the noise is the defense's own.

        Raises:
            ValueError: naming the choice.
        """
        if self.channel.strength:
            raise ValueError("defense.channel of defense=fisher adds its own noise: choose none")

    @property
    def site(self) -> str:
        """Always ``features``, where the noise is added."""
        return "features"

    @property
    def strength(self) -> float:
        """The target 1/dFIL."""
        return float(self.target)

    def build(self, victim: SplitVictim) -> Deployment:
        """Return copies of both halves with noise of a deviation that is not measured yet."""
        edge, cloud = narrowed(victim, self.bottleneck)
        return Deployment(edge, Gaussian(sigma=1.0), cloud, victim.edge)

    def losses(
        self, deployment: Deployment, x: Tensor, y: Tensor, draws: RandomStreams
    ) -> dict[str, Tensor]:
        """Compute the loss through noise of the batch's own deviation."""
        probes = RandomStreams(draws.seed, "probes", draws.indices, draws.number)
        v, trace = squared_jacobian(deployment.edge, x, partial(signs, probes))
        sigma = (self.target * trace.detach().mean() / x[0].numel()).sqrt()
        task = F.cross_entropy(deployment.cloud(v + sigma * draws.normal(v)), y)
        ratio = (trace / v.flatten(1).square().sum(1).clamp_min(1e-6)).mean()
        loss = task + self.regulariser * ratio
        return {"loss": loss, "task": task, "ratio": ratio, "sigma": sigma}

    def finish(
        self, deployment: Deployment, data: TrainingImages, services: FitServices
    ) -> Deployment:
        """Return the deployment with noise of the deviation that its edge needs for the target."""
        measured = StoredNumbers("sigma")

        def measure(report: EpochLogger) -> Mapping[str, Any]:
            images = in_unit_range(data.pixels[:IMAGES].to(services.device))
            trace = mean_squared_jacobian(deployment.edge, images, services.seed)
            measured.set(sigma=math.sqrt(self.target * trace / images[0].numel()))
            return {"images": len(images), "trace": trace}

        services.fit_or_load("sigma", measured, measure)
        channel = Gaussian(sigma=measured["sigma"])
        return Deployment(deployment.edge, channel, deployment.cloud, deployment.undefended_edge)

    def facts(self, deployment: Deployment, transmissions: int) -> Mapping[str, Any]:
        """Return the deviation, and the bound that remains of K transmissions."""
        return {
            "sigma": deployment.channel.strength,
            "inverse_dfil_of_all_transmissions": self.target / transmissions,
        }


def squared_jacobian(
    network: nn.Module,
    x: Tensor,
    probe: Callable[[Tensor], Tensor],
    *,
    differentiable: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return a network's output and an unbiased estimate of tr(JᵀJ).

    Args:
        network: Acts on each image by itself; batch statistics, while it trains, mix them.
        x: Images ``(N, C, H, W)``.
        probe: Independent entries of mean 0 and variance 1, in the shape of the output.
        differentiable: Return both with a gradient for the network's weights.

    Returns:
        Output ``(N, ...)`` and |Jᵀu|² ``(N,)``.
    """
    # attention has a second derivative in this implementation alone
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        inputs = x.detach().requires_grad_(True)
        v = network(inputs)
        (slope,) = torch.autograd.grad(v, inputs, probe(v), create_graph=differentiable)
    return v, slope.flatten(1).square().sum(1)


def mean_squared_jacobian(network: nn.Module, x: Tensor, seed: int, probes: int = PROBES) -> float:
    """Return an estimate of tr(JᵀJ), as a mean over images.

    Args:
        network: In evaluation mode.
        x: Images ``(N, C, H, W)``.
        seed: Of the probes.
        probes: Of each image.
    """
    found = []
    for at in range(0, len(x), BATCH):
        part = x[at : at + BATCH]
        streams = RandomStreams(derive_seed(seed, "trace"), "probes", range(at, at + len(part)))
        for number in range(probes):
            probe = partial(signs, streams.for_draw(number))
            _, trace = squared_jacobian(network, part, probe, differentiable=False)
            found.append(trace.detach())
    return float(torch.cat(found).double().mean())


def signs(streams: RandomStreams, like: Tensor) -> Tensor:
    """Return independent random signs, in the shape of a tensor."""
    ones = torch.ones_like(like)
    return torch.where(streams.uniform(like) < 0.5, -ones, ones).detach()
