"""Data terms: distances between an image's features and the received ones, by assumed defense.

All are in units of the received features' mean square, and equal at strength 0.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam

from privbench.defenses.base import BaseChannel
from privbench.runtime.errors import UnsuitableAttackError
from privbench.runtime.random import RandomStreams

FLOOR = 1e-9
"""Smallest noise variance, as a share of the features' mean square."""
LEAST = 1e-12
"""Smallest noise variance in the features' units, where all of them are zero."""
FIRST_STEPS = 10
"""EM steps of the noise variance before its first use."""
INPUT_NOISE_VARIANCE = 1e-2
"""Smallest noise variance between a perturbed image and the image, in the network's units: the
density at equality has no bound, so that the initial image would be the likeliest of all."""


class DataTerm(Protocol):
    """Images ``(N, C, H, W)`` and a noise variance s² to data term and penalty of each ``(N,)``."""

    extra_parameters: list[Tensor]
    """Unknowns besides the images, in the images' units."""
    unit: Tensor
    """Data term of all-zero features, which is the received ones' mean square ``(N,)``."""

    def __call__(self, x: Tensor, noise_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the data term, and what the defense's likelihood adds to the prior."""


def mean_square(received: Tensor) -> Tensor:
    """Return the mean square ``(N,)`` of each image's features ``(N, K, *feature_shape)``."""
    return received.flatten(1).square().mean(1).clamp_min(1e-12)


class SquaredError:
    """ED, Eq. (1a), of the mean over transmissions: the data term of a naive adversary.

    Args:
        edge: The edge, white-box.
        received: Features ``(N, K, *feature_shape)``.
        relative: Divide by the features' mean square.
    """

    def __init__(self, edge: nn.Module, received: Tensor, relative: bool) -> None:
        self.edge, self.received = edge, received.mean(1)
        square = mean_square(self.received)
        self.scale = square if relative else torch.ones_like(square)
        self.unit = square / self.scale
        self.none = torch.zeros_like(self.scale)
        self.extra_parameters: list[Tensor] = []

    def __call__(self, x: Tensor, noise_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared difference as a mean over features."""
        difference = self.edge(x) - self.received
        return difference.flatten(1).square().mean(1) / self.scale, self.none


class PerturbingEdge(nn.Module):
    """An edge with a defense on its input that is the same in every transmission.

    The perturbed image is then a function of the image, and no unknown of its own.

    Args:
        edge: The edge; its first layer is ``input``.
        defense: Draws nothing.
    """

    def __init__(self, edge: nn.Sequential, defense: BaseChannel) -> None:
        super().__init__()
        self.entry, self.rest, self.defense = edge[0], edge[1:], defense

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of images ``(N, C, H, W)``."""
        draws = RandomStreams(0, "unused", range(len(x)))
        features: Tensor = self.rest(self.defense.perturb(self.entry(x), draws))
        return features


class FeatureLikelihood:
    """Data term for any likelihood of features, as ED is for a Gaussian of unknown variance.

    The logarithm of ED is, up to constants, minus twice the mean log-likelihood of a Gaussian
    maximised over its variance s². The same function of the defense's likelihood is its data term,
    and at strength 0 equals ED. The variance follows the image by the EM step
    s² + 2 s⁴ d(log p)/d(s²), which at strength 0 is exact and elsewhere never lowers the
    likelihood. It is updated only with gradients enabled, so that scoring changes nothing.

    Args:
        edge: The edge, white-box.
        received: Independent observations ``(N, K, *feature_shape)``, as ``pool`` leaves
            them.
        defense: Gives the likelihood of each observation.
    """

    def __init__(self, edge: nn.Module, received: Tensor, defense: BaseChannel) -> None:
        self.edge, self.received, self.defense = edge, received, defense
        self.scale = mean_square(received)
        self.variance = self.scale.clone()
        self.unit = torch.ones_like(self.scale)
        self.initialised = False
        self.none = torch.zeros_like(self.scale)
        self.extra_parameters: list[Tensor] = []

    def __call__(self, x: Tensor, noise_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the data term of each image's K observations, as a mean over them."""
        clean = self.edge(x).unsqueeze(1)
        if not self.initialised:
            for _ in range(FIRST_STEPS):
                self._follow(clean.detach())
            self.initialised = True
        elif torch.is_grad_enabled():
            self._follow(clean.detach())
        negative_log = -2 * self._log_likelihood(clean, self.variance)
        return torch.exp(negative_log - 1 - math.log(2 * math.pi)) / self.scale, self.none

    def _follow(self, clean: Tensor) -> None:
        """Take one EM step of the variance."""
        with torch.enable_grad():
            variance = self.variance.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self._log_likelihood(clean, variance).sum(), variance)
        with torch.no_grad():
            better = variance + 2 * variance.square() * slope
            self.variance.copy_(better.maximum(FLOOR * self.scale).clamp_min(LEAST))

    def _log_likelihood(self, clean: Tensor, variance: Tensor) -> Tensor:
        """Return the mean over entries and observations ``(N,)``."""
        spread = variance.view(-1, *[1] * (self.received.dim() - 1))
        return self.defense.log_likelihood(self.received, clean, spread).flatten(1).mean(1)


class InputLikelihood:
    """Data term for a random defense behind the layer ``input``, drawn anew for each transmission.

    The perturbed images u_k are optimised together with x: their features shall match the received
    ones, and they shall be likely given x. u_k is kept in the units of x, while the defense acts in
    the network's units, on each of the channels that its first layer makes.

    Args:
        edge: The edge, white-box; its first layer is ``input``.
        received: Features ``(N, K, *feature_shape)``.
        defense: Gives the likelihood of a perturbed image.
        start: Initial images ``(N, C, H, W)``.
    """

    def __init__(
        self, edge: nn.Sequential, received: Tensor, defense: BaseChannel, start: Tensor
    ) -> None:
        self.entry, self.rest, self.received, self.defense = edge[0], edge[1:], received, defense
        self.scale = mean_square(received)
        self.unit = torch.ones_like(self.scale)
        self.grey = start.shape[1] == 1
        with torch.no_grad():  # constants of three channels make three of a grey one
            start = start.expand(-1, self.entry(start).shape[1], -1, -1)
        perturbed = start.unsqueeze(1).repeat(1, received.shape[1], 1, 1, 1)
        self.perturbed = perturbed.requires_grad_()
        self.fixed: tuple[Tensor, Tensor] | None = None
        self.extra_parameters = [self.perturbed]

    def __call__(self, x: Tensor, noise_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return ED of the perturbed images, and their negative log-likelihood per feature."""
        u, data_term = self.fixed or self._sent()
        log_likelihood = self.defense.log_likelihood(
            u.view(self.perturbed.shape),
            self.entry(x).unsqueeze(1),
            noise_variance.view(1).clamp_min(INPUT_NOISE_VARIANCE),
        )
        negative_log = -2 * log_likelihood.flatten(1).sum(1) / self.received[0].numel()
        return data_term, negative_log

    def find_perturbed(self, steps: int, lr: float, noise_variance: float) -> Tensor:
        """Find the perturbed images by their features alone, whatever x is.

        Args:
            steps: Updates.
            lr: Adam's learning rate at first, in units of the pixel range; it falls to 0.
            noise_variance: s², as a share of the features' mean square.

        Returns:
            The mean of each target's perturbed images ``(N, C, H, W)``.
        """
        optimizer = Adam([self.perturbed], lr=lr, foreach=False)
        for n in range(steps):
            optimizer.param_groups[0]["lr"] = lr * (1 - n / steps)
            error = self.feature_error().add(noise_variance).log()
            (self.perturbed.grad,) = torch.autograd.grad(error.sum(), [self.perturbed])
            optimizer.step()
        mean = self.perturbed.detach().mean(1)
        return mean.mean(1, keepdim=True) if self.grey else mean

    def fix_perturbed(self) -> None:
        """Keep the perturbed images as they are, and send them through the edge no more."""
        with torch.no_grad():
            self.fixed = self._sent()
        self.extra_parameters = []

    def feature_error(self) -> Tensor:
        """Return ED of the perturbed images ``(N,)``, whatever x is."""
        return self._sent()[1]

    def _sent(self) -> tuple[Tensor, Tensor]:
        """Return the perturbed images in the network's units ``(N K, C, H, W)``, and their ED."""
        u = self.entry(self.perturbed.flatten(0, 1))
        return u, self._error(u)

    def _error(self, u: Tensor) -> Tensor:
        difference: Tensor = self.rest(u).view_as(self.received) - self.received
        return difference.flatten(1).square().mean(1) / self.scale


def require_likelihood(defense: BaseChannel, instead: str) -> None:
    """Refuse a defense without a likelihood, for an attack that maximises it.

    Args:
        defense: The assumed defense.
        instead: Completes "choose ...".

    Raises:
        UnsuitableAttackError: naming the defense and the choices.
    """
    if defense.strength and not defense.has_likelihood:
        raise UnsuitableAttackError(
            f"defense {type(defense).__name__} has no likelihood (_log_likelihood), which this "
            f"attack maximises: choose {instead}"
        )


def negative_log_likelihood(
    data_term: DataTerm, x: Tensor, noise_variance: Tensor, features: int
) -> Tensor:
    """Return -log p(v | x) of each image ``(N,)``, up to a constant.

    The data term is a function of the mean log-likelihood of the features such that half its
    logarithm, times their number, is minus the whole log-likelihood.

    Args:
        data_term: Of observations ``(N, K', *feature_shape)``.
        x: Images ``(N, C, H, W)``.
        noise_variance: s².
        features: Number of entries of one target's observations.
    """
    error, penalty = data_term(x, noise_variance)
    return features / 2 * (torch.log(error + noise_variance) + penalty)


def data_term_of(
    edge: nn.Sequential,
    v: Tensor,
    defense: BaseChannel | None,
    start: Tensor,
    *,
    relative: bool = True,
) -> DataTerm:
    """Return the data term of observations, as ``independent_observations`` leaves them.

    Args:
        edge: The edge, white-box.
        v: Observations ``(N, K, *feature_shape)``.
        defense: The defense under which each has its likelihood; None for undefended ones.
        start: Initial images ``(N, C, H, W)``.
        relative: Divide by the features' mean square, where there is no defense.
    """
    if defense is None:
        return SquaredError(edge, v, relative=relative)
    if defense.site == "input" and defense.repeats:
        return SquaredError(PerturbingEdge(edge, defense), v, relative=relative)
    if defense.site == "input":
        return InputLikelihood(edge, v, defense, start)
    return FeatureLikelihood(edge, v, defense)


def independent_observations(
    v: Tensor, defense: BaseChannel | None
) -> tuple[Tensor, BaseChannel | None]:
    """Reduce transmissions to independent observations, where the defense is known.

    A defense on the input that draws anew perturbs the image for each transmission, so none repeats
    another.

    Args:
        v: ``(N, K, *feature_shape)``.
        defense: None for a naive adversary.

    Returns:
        Observations ``(N, K', *feature_shape)``, and the defense under which each has its
        likelihood; None where the observations are undefended.
    """
    if defense is None or (defense.site == "input" and not defense.repeats):
        return v, defense
    observed, known = defense.pool(v)
    return observed, known if known.strength else None
