"""Posterior over a finite set of images, given what a channel sent of one of them."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from privbench.defenses.deployment import Deployment, fast_batch_size
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.laplace import Laplace
from privbench.runtime.random import RandomStreams, generator_without_seed

DRAWS = 1000
"""Images that are drawn and sent."""
SEED = 0
"""Of these draws, the same for every deployment."""
ENTRIES = 500_000
"""Entries of a likelihood that are in memory at once: larger blocks are paged in anew each time."""
MOST_ENTRIES = 300_000_000
"""Entries of a likelihood without a fast form over which fewer images are drawn."""
MOST_DISTANCES = 20_000_000_000
"""The same for Laplace, whose likelihoods are sums of distances: some minutes of a core."""
FEWEST = 16
EXACT = 1e-6
"""Receiver noise, as a share of the features' largest magnitude, that stands for none."""


@dataclass(frozen=True)
class BayesFloor:
    """Bounds on every estimator of an image drawn uniformly from a finite set.

    Attributes:
        error: Least expected squared error, a mean over pixels.
        error_deviation: Standard error of it, of the draws.
        identified: Largest probability to name the image.
        identified_by_two: The same of one of two guesses, as the score ``identified`` has them.
        images: Size of the set, N.
        draws: Number of images that were sent.
        transmissions: How often each was, K.
    """

    error: float
    error_deviation: float
    identified: float
    identified_by_two: float
    images: int
    draws: int
    transmissions: int


@torch.no_grad()
def floor(
    deployment: Deployment, x: Tensor, transmissions: int = 1, draws: int | None = None
) -> BayesFloor | None:
    """Return the bounds of K transmissions; null for a channel without an exact likelihood.

    The posterior is that of the tensor behind the channel: for a defense on the input that of the
    disturbed image, of which the features say less. Its variance and its largest
    probabilities are averaged over draws of image and channel.

    Args:
        deployment: Edge, channel and cloud.
        x: The set ``(N, C, H, W)``.
        transmissions: K.
        draws: Images that are drawn; null for ``DRAWS``, fewer where each takes long.
    """
    if not getattr(deployment.channel, "exact_likelihood", False):
        return None
    at_input = deployment.channel.site == "input"
    entry = _Entry(deployment.edge[:1] if at_input else deployment.edge, x)
    rows = _drawn(len(x), draws or _draws(deployment.channel, entry, transmissions))
    posterior = _log_posterior(deployment.channel, entry, rows, transmissions).exp()
    spread = _variances(posterior, x.flatten(1))
    first = posterior.topk(min(2, len(x)), dim=1).values
    return BayesFloor(
        error=float(spread.mean()),
        error_deviation=float(spread.std(correction=0)) / math.sqrt(len(rows)),
        identified=float(first[:, 0].mean()),
        identified_by_two=float(first.sum(1).mean().clamp(max=1)),
        images=len(x),
        draws=len(rows),
        transmissions=transmissions,
    )


class _Entry:
    """Tensors that the channel acts on, computed part by part: those of all images may be large."""

    def __init__(self, network: Any, x: Tensor) -> None:
        self.network = network
        self.parts: tuple[Tensor, ...] = x.split(fast_batch_size(x))
        first: Tensor = network(self.parts[0])
        self.size: int = first[0].numel()
        self.largest = float(first.abs().max())

    def at(self, rows: Tensor) -> Tensor:
        """Return the tensors of some images, equal to those of the parts in the last bit."""
        held = {}
        for start, part in self:
            inside = (rows >= start) & (rows < start + len(part))
            held.update({int(row): part[row - start] for row in rows[inside]})
        return torch.stack([held[int(row)] for row in rows])

    def __iter__(self) -> Any:
        start = 0
        for part in self.parts:
            yield start, self.network(part)
            start += len(part)


def _draws(channel: Any, entry: _Entry, transmissions: int) -> int:
    if isinstance(channel, Gaussian):
        return DRAWS
    each = entry.size * transmissions * sum(len(part) for part in entry.parts)
    most = MOST_DISTANCES if isinstance(channel, Laplace) else MOST_ENTRIES
    return max(FEWEST, min(DRAWS, most // each))


def _drawn(size: int, draws: int) -> Tensor:
    """Return indices of images, each as often as any other or once more."""
    generator = generator_without_seed(SEED)
    rounds = -(-draws // size)
    return torch.cat([torch.randperm(size, generator=generator) for _ in range(rounds)])[:draws]


def _log_posterior(channel: Any, entry: _Entry, rows: Tensor, transmissions: int) -> Tensor:
    """Return the logarithm of each image's probability, given each drawn one ``(S, N)``."""
    clean = entry.at(rows)
    streams = RandomStreams(SEED, "bayes floor", range(len(rows)))
    sent = [channel.perturb(clean, streams.for_draw(k)) for k in range(transmissions)]
    observed, each = channel.pool(torch.stack(sent, dim=1))
    observed = observed.double()
    noise = torch.as_tensor((EXACT * max(entry.largest, 1e-30)) ** 2, dtype=torch.float64)
    parts = [log_likelihood(each, observed, part.double(), noise) for _, part in entry]
    return torch.cat(parts, dim=1).log_softmax(1)


def log_likelihood(channel: Any, observed: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """Return the log-likelihood of observations for each clean tensor, up to a constant of each.

    Args:
        channel: Of one observation; its entries are independent.
        observed: ``(S, K, *shape)``.
        clean: ``(M, *shape)``.
        noise: Variance of a receiver, for channels that leave entries exact.

    Returns:
        ``(S, M)``, the sum over entries and observations.
    """
    v, f = observed.flatten(2), clean.flatten(1)
    if isinstance(channel, Gaussian) and channel.sigma:
        return (v @ f.T - f.square().sum(1) / 2).sum(1) / channel.sigma**2
    if isinstance(channel, Laplace) and channel.scale:
        return -torch.cdist(v.transpose(0, 1), f, p=1).sum(0) / channel.scale
    width = max(1, ENTRIES // observed.numel())
    parts = [_pairwise(channel, observed, part, noise) for part in clean.split(width)]
    return torch.cat(parts, dim=1)


def _pairwise(channel: Any, observed: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """Compute ``log_likelihood`` by the channel's own, an observation and a clean tensor a row."""
    pairs = (*observed.shape[:2], len(clean))
    shape = (*pairs, *clean.shape[1:])
    rows = [t.expand(shape).flatten(0, 2) for t in (observed[:, :, None], clean)]
    found: Tensor = channel.log_likelihood(*rows, noise.to(observed))
    return found.flatten(1).sum(1).view(pairs).sum(1)


def _variances(posterior: Tensor, pixels: Tensor) -> Tensor:
    """Return the variance of a pixel under each posterior ``(S, N)``, a mean over pixels."""
    mean = torch.zeros(len(posterior), pixels.shape[1], dtype=torch.float64, device=pixels.device)
    second = torch.zeros(len(posterior), dtype=torch.float64, device=pixels.device)
    for start, part in enumerate(pixels.split(1000)):
        weights = posterior[:, 1000 * start : 1000 * start + len(part)]
        mean += weights @ part.double()
        second += weights @ part.double().square().sum(1)
    return (second - mean.square().sum(1)).clamp_min(0) / pixels.shape[1]
