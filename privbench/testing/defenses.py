"""The contract of a defense, and services of its ``fit`` without a store."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from privbench.defenses.base import BaseChannel, Defense, Perturbation
from privbench.defenses.deployment import FLOAT_BITS, Deployment, SplitVictim
from privbench.runtime.device import DeviceConfig
from privbench.runtime.random import RandomStreams
from privbench.testing.contract import (
    CLASSES,
    IMAGE_SHAPE,
    SPLIT,
    Contract,
    smooth_images,
)
from privbench.victims.lenet5 import LeNet5

NUMBER = (int, float)
STEP = 1e-6
"""Step of a finite difference in 64 bits, in units of the pixel range."""
LIKELIHOOD_DRAWS = 8
"""Transmissions of each image over which a likelihood is averaged."""


class DefenseContract(Contract):
    """Contract of a defense. It is trained twice at most, so ``subject`` should train few steps.

    Attributes:
        subject: A defense of a strength above 0.
    """

    def undefended(self, defense: Any) -> Any:
        """Return the same defense at strength 0: by default, with every number set to 0.

        Numbers that cannot be 0 keep their value, and numbers that may be null become null. A
        defense of its channel's strength has the channel's numbers set instead.
        """
        values = {f.name: getattr(defense, f.name) for f in dataclasses.fields(defense)}
        channels = {n: self.undefended(v) for n, v in values.items() if isinstance(v, Perturbation)}
        changed = dataclasses.replace(defense, **channels)
        if changed.strength == 0:
            return changed
        for name, value in values.items():
            if type(value) in NUMBER:
                changed = _replaced(changed, name, type(value)(0), None)
            if changed.strength == 0:
                break
        return changed

    def victim(self) -> SplitVictim:
        """Return the victim that is defended; override it for a defense that needs another one."""
        torch.manual_seed(3)
        model = LeNet5(IMAGE_SHAPE, CLASSES).eval().requires_grad_(False)
        return SplitVictim(*model.split(SPLIT), IMAGE_SHAPE)

    def fit(self, defense: Defense, services: Any) -> tuple[SplitVictim, Deployment]:
        """Return the victim and its deployment, fitted on a few images."""
        victim, images = self.victim(), (smooth_images(32) * 255).byte()
        data = SmallData(images, torch.arange(32) % CLASSES)
        return victim, defense.fit(victim, data, services)

    @staticmethod
    def streams(*indices: int) -> RandomStreams:
        """Return a random stream for each of these images."""
        return RandomStreams(0, "contract", indices)

    def test_strength_zero_is_the_victim(self, subject_under_test: Any) -> None:
        """Features and logits bit for bit, and nothing is trained."""
        assert isinstance(subject_under_test, Defense)
        assert 0 <= float(subject_under_test.strength) < float("inf")
        defense = self.undefended(subject_under_test)
        assert defense.strength == 0, "no number at 0 gives strength 0: override undefended"
        victim, nothing = self.victim(), SmallData(torch.zeros(0), torch.zeros(0))
        deployment, x = defense.fit(victim, nothing, FitNever()), smooth_images(3)
        v = deployment.transmit(x, self.streams(0, 1, 2))
        logits = victim.cloud(victim.edge(x))
        assert torch.equal(v[:, 0], victim.edge(x)), "at strength 0 the features are not the edge's"
        assert torch.equal(deployment.predict(v)[:, 0], logits), "at strength 0 the logits differ"
        assert deployment.channel.strength == 0

    def test_it_is_fitted_once_and_its_deployment_keeps_the_promises(
        self, subject_under_test: Any
    ) -> None:
        """Of fitting, and of channel and edge as attacks use them: see the methods below."""
        deployment = self.check_fitting(subject_under_test)
        self.check_draws(deployment)
        self.check_pooling(deployment)
        self.check_likelihood(deployment)
        self.check_gradient(deployment)
        self.check_channel_gradient(deployment)

    def check_fitting(self, defense: Defense) -> Deployment:
        """Fit twice and load: all send the same; the victim keeps its weights."""
        x, sent, once = smooth_images(3), [], FitOnce()
        for services in (once, once, FitAlways()):
            victim, deployment = self.fit(defense, services)
            sent.append(deployment.transmit(x, self.streams(0, 1, 2)))
            fresh = self.victim()
            assert torch.equal(victim.edge(x), fresh.edge(x))
            assert torch.equal(victim.cloud(victim.edge(x)), fresh.cloud(fresh.edge(x)))
        assert torch.equal(sent[0], sent[1]), "a loaded deployment sends something else"
        assert torch.equal(sent[0], sent[2]), "fitted again, it sends something else"
        assert deployment.predict(sent[0]).shape == (3, 1, CLASSES)
        bits = deployment.channel.payload_bits(sent[0][:, 0])
        assert isinstance(bits, int)
        assert 0 < bits == deployment.channel.payload_bits(sent[0][:1, 0])
        with torch.device("meta"):  # a plan checks cells without weights
            defense.build(SplitVictim(victim.edge, victim.cloud, IMAGE_SHAPE))
        return deployment

    def check_draws(self, deployment: Deployment) -> None:
        """Equal streams give equal outputs, whatever the global generator and the batch.

        So cells with other targets use common random numbers.
        """
        t, channel, sent = entry(deployment), deployment.channel, []
        for seed in (0, 1):
            torch.manual_seed(seed)
            sent.append(channel.perturb(t, self.streams(0, 1, 2)))
        assert (sent[0].shape, sent[0].dtype) == (t.shape, t.dtype), "perturb changes the shape"
        assert torch.equal(*sent), "perturb uses randomness that is not of its draws"
        alone = channel.perturb(t[1:2], self.streams(1))
        assert torch.equal(sent[0][1:2], alone), "an image is perturbed otherwise in a batch"
        copied: Any = pickle.loads(pickle.dumps(channel))  # as an isolated attack gets it
        assert torch.equal(copied.perturb(t, self.streams(0, 1, 2)), sent[0]), (
            "after pickling the channel perturbs otherwise"
        )

    def check_pooling(self, deployment: Deployment) -> None:
        """K transmissions become 1 to K observations of the same shape."""
        t, channel = entry(deployment), deployment.channel
        sent = [channel.perturb(t, self.streams(0, 1, 2).for_draw(k)) for k in range(4)]
        observations, known = channel.pool(torch.stack(sent, dim=1))
        assert isinstance(known, BaseChannel), "pool returns observations and their channel"
        assert 1 <= observations.shape[1] <= 4, "pool returns 1 to K observations of an image"
        assert observations.shape[2:] == t.shape[1:], "pool changes the shape of an observation"

    def check_likelihood(self, deployment: Deployment) -> None:
        """Where a likelihood is stated: what was sent is likeliest of what it came from.

        In the mean over draws no other clean tensor and no other variance of the noise is likelier
        than the true one (Gibbs' inequality).
        """
        t, channel = entry(deployment), deployment.channel
        if channel.strength > 0 and not channel.has_likelihood:
            with pytest.raises(NotImplementedError):
                channel.log_likelihood(*torch.ones(3, 1, 1))
            return
        draws = [self.streams(0, 1, 2).for_draw(k) for k in range(LIKELIHOOD_DRAWS)]
        sent = [channel.perturb(t, streams) for streams in draws]

        def likelihood(received: list[Tensor], clean: Tensor, variance: float) -> float:
            terms = (
                channel.log_likelihood(v, clean, torch.tensor(variance)).double() for v in received
            )
            return float(sum(term.sum() for term in terms))

        entries = channel.log_likelihood(sent[0], t, torch.tensor(0.01))
        assert entries.shape == t.shape, "log_likelihood returns a value for each entry"
        assert bool(entries.isfinite().all()), "log_likelihood is not finite"
        at_truth = likelihood(sent, t, 0.01)
        for name, other in (("half", t / 2), ("double", 2 * t), ("10 above", t + 10)):
            assert at_truth > likelihood(sent, other, 0.01), (
                f"log_likelihood: {name} the clean tensor is likelier than the clean tensor"
            )
        if channel.payload_bits(sent[0]) < FLOAT_BITS * sent[0][0].numel():
            return  # what is sent is a code, to which no noise is added
        generator = torch.Generator().manual_seed(0)
        noisy = [v + 10 * torch.randn(v.shape, generator=generator) for v in sent]
        at_truth = likelihood(noisy, t, 100.0)
        for variance in (25.0, 400.0):
            assert at_truth > likelihood(noisy, t, variance), (
                "log_likelihood: with noise of variance 100 besides the defense's, a variance of "
                f"{variance:g} is likelier"
            )

    def check_gradient(self, deployment: Deployment) -> None:
        """Compare the gradient through the edge with finite differences in 64 bits."""
        edge = copy.deepcopy(deployment.edge).double()
        torch.manual_seed(0)
        # no two pixels are equal, as maxima of equal ones have no gradient
        x = torch.rand(2, *IMAGE_SHAPE, dtype=torch.float64)
        _check_slope(edge, x)

    def check_channel_gradient(self, deployment: Deployment) -> None:
        """Compare the gradient through the channel, at fixed draws, where it has one.

        A code has none but that of its own estimate, which is no slope of a step.
        """
        channel: Any = copy.deepcopy(deployment.channel)
        channel = channel.double() if isinstance(channel, nn.Module) else channel
        t = entry(deployment).double()
        code = channel.payload_bits(t) < FLOAT_BITS * t[0].numel()
        if not code:
            _check_slope(lambda clean: channel.perturb(clean, self.streams(0, 1, 2)), t)


def _check_slope(function: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """Compare a directional derivative with central differences in 64 bits."""
    at = at.clone().requires_grad_(True)
    value = function(at)
    weights, direction = torch.randn_like(value), torch.randn_like(at)
    (slope,) = torch.autograd.grad((value * weights).sum(), at)
    with torch.no_grad():
        ends = [(function(at + side * STEP * direction) * weights).sum() for side in (1, -1)]
    expected = float(ends[0] - ends[1]) / (2 * STEP)
    assert float((slope * direction).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-6), (
        "the gradient is not the slope"
    )


def _replaced(defense: Any, name: str, *values: Any) -> Any:
    """Return a defense with the first of these values that is in the field's range, or as it is."""
    for value in values:
        try:
            return dataclasses.replace(defense, **{name: value})
        except (TypeError, ValueError):
            continue
    return defense


def entry(deployment: Deployment) -> Tensor:
    """Return the tensors of three images that the channel of a deployment acts on."""
    first = deployment.edge[0] if deployment.channel.site == "input" else deployment.edge
    with torch.no_grad():
        t: Tensor = first(smooth_images(3))
    return t


@dataclasses.dataclass(frozen=True, eq=False)
class SmallData:
    """Training images in memory.

    Attributes:
        pixels: 8-bit images ``(N, C, H, W)``.
        labels: Labels ``(N,)``.
    """

    pixels: Tensor
    labels: Tensor


class FitAlways:
    """Services of a defense's ``fit`` without a store."""

    device = torch.device("cpu")
    device_config = DeviceConfig("cpu")
    seed = 0

    def fit_or_load(self, part: str, module: nn.Module, train: Callable[[Any], Any]) -> None:
        """Train the module."""
        train(lambda epoch, metrics: None)


class FitOnce(FitAlways):
    """Services that keep the weights of each part, and load them the next time."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Tensor]] = {}

    def fit_or_load(self, part: str, module: nn.Module, train: Callable[[Any], Any]) -> None:
        """Train the module the first time."""
        if part in self.kept:
            module.load_state_dict(self.kept[part])
            return
        super().fit_or_load(part, module, train)
        self.kept[part] = copy.deepcopy(module.state_dict())


class FitNever(FitAlways):
    """Services that refuse to train."""

    def fit_or_load(self, part: str, module: nn.Module, train: Callable[[Any], Any]) -> None:
        """Raise: at strength 0 nothing is trained."""
        raise AssertionError(f"{part} is trained at strength 0")
