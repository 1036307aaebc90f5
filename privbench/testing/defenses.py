"""The contract of a defense, and services of its ``fit`` without a store."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from privbench.defenses.base import Defense, Perturbation
from privbench.deployment import Deployment, SplitVictim
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


class DefenseContract(Contract):
    """Contract of a defense.

    Attributes:
        subject: A defense of a strength above 0.
    """

    def undefended(self, defense: Any) -> Any:
        """Return the same defense at strength 0: by default, with every number set to 0.

        A defense around a channel has the channel's strength, whose numbers are set instead.
        """
        values = {f.name: getattr(defense, f.name) for f in dataclasses.fields(defense)}
        channels = {n: self.undefended(v) for n, v in values.items() if isinstance(v, Perturbation)}
        numbers = {n: type(v)(0) for n, v in values.items() if type(v) in (int, float)}
        return dataclasses.replace(defense, **(channels or numbers))

    def victim(self) -> SplitVictim:
        """Return the victim that is defended; override it for a defense that needs another one."""
        torch.manual_seed(3)
        return SplitVictim(*LeNet5(IMAGE_SHAPE, CLASSES).eval().requires_grad_(False).split(SPLIT))

    def channel(self, defense: Defense) -> Any:
        """Return the channel of its deployment, before anything is trained."""
        return defense.build(self.victim()).channel

    def fit(self, defense: Defense) -> tuple[SplitVictim, Deployment]:
        """Return the victim and its deployment, fitted on a few images."""
        victim, images = self.victim(), (smooth_images(32) * 255).byte()
        data = SmallData(images, torch.arange(32) % CLASSES)
        return victim, defense.fit(victim, data, FitAlways())

    @staticmethod
    def streams(*indices: int) -> RandomStreams:
        """Return a random stream for each of these images."""
        return RandomStreams(0, "contract", indices)

    def test_its_strength_is_a_finite_number_from_zero(self, subject_under_test: Any) -> None:
        """``strength`` is an axis of sweeps and grows with the protection."""
        assert isinstance(subject_under_test, Defense)
        assert 0 <= float(subject_under_test.strength) < float("inf")
        assert self.undefended(subject_under_test).strength == 0

    def test_strength_zero_is_the_identity(self, subject_under_test: Any) -> None:
        """The undefended deployment, bit for bit."""
        t = smooth_images(3)
        undefended = self.channel(self.undefended(subject_under_test))
        assert torch.equal(undefended.perturb(t, self.streams(0, 1, 2)), t)

    def test_fitting_at_strength_zero_is_the_victim(self, subject_under_test: Any) -> None:
        """Features and logits bit for bit, and nothing is trained."""
        defense = self.undefended(subject_under_test)
        victim, nothing = self.victim(), SmallData(torch.zeros(0), torch.zeros(0))
        deployment = defense.fit(victim, nothing, FitNever())
        x = smooth_images(3)
        v = deployment.transmit(x, self.streams(0, 1, 2))
        assert torch.equal(v[:, 0], victim.edge(x))
        assert torch.equal(deployment.predict(v)[:, 0], victim.cloud(victim.edge(x)))

    def test_fitting_repeats_and_leaves_the_victim_as_it_is(self, subject_under_test: Any) -> None:
        """The same deployment from the same seed; the victim keeps its weights."""
        x, sent = smooth_images(3), []
        for _ in range(2):
            victim, deployment = self.fit(subject_under_test)
            sent.append(deployment.transmit(x, self.streams(0, 1, 2)))
            fresh = self.victim()
            assert torch.equal(victim.edge(x), fresh.edge(x))
            assert torch.equal(victim.cloud(victim.edge(x)), fresh.cloud(fresh.edge(x)))
        assert torch.equal(*sent)
        assert deployment.predict(sent[0]).shape == (3, 1, CLASSES)

    def test_its_payload_is_a_number_of_bits(self, subject_under_test: Any) -> None:
        """At least one bit, and the same for every image."""
        _, deployment = self.fit(subject_under_test)
        v = deployment.transmit(smooth_images(3), self.streams(0, 1, 2))[:, 0]
        bits = deployment.channel.payload_bits(v)
        assert isinstance(bits, int)
        assert 0 < bits == deployment.channel.payload_bits(v[:1])

    def test_it_keeps_the_shape_and_repeats_its_draws(self, subject_under_test: Any) -> None:
        """Equal streams give equal outputs, which depend on no global generator."""
        t, channel = smooth_images(3), self.channel(subject_under_test)
        sent = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            sent.append(channel.perturb(t, self.streams(0, 1, 2)))
        assert sent[0].shape == t.shape
        assert sent[0].dtype == t.dtype
        assert torch.equal(*sent)

    def test_an_images_draw_does_not_depend_on_its_batch(self, subject_under_test: Any) -> None:
        """So cells with other targets use common random numbers."""
        t, channel = smooth_images(3), self.channel(subject_under_test)
        batch = channel.perturb(t, self.streams(0, 1, 2))
        single = channel.perturb(t[1:2], self.streams(1))
        assert torch.equal(batch[1:2], single)

    def test_pooling_keeps_observations_of_the_same_shape(self, subject_under_test: Any) -> None:
        """K transmissions become 1 to K observations."""
        t, channel = smooth_images(3), self.channel(subject_under_test)
        sent = [channel.perturb(t, self.streams(0, 1, 2).for_draw(k)) for k in range(4)]
        observations, defense = channel.pool(torch.stack(sent, dim=1))
        assert isinstance(defense, Perturbation)
        assert 1 <= observations.shape[1] <= 4
        assert observations.shape[2:] == t.shape[1:]

    def test_its_likelihood_is_finite_and_prefers_the_truth(self, subject_under_test: Any) -> None:
        """Where a likelihood is stated: the clean tensor is likelier than a distant one."""
        channel = self.channel(subject_under_test)
        if channel.strength > 0 and not channel.has_likelihood:
            with pytest.raises(NotImplementedError):
                channel.log_likelihood(*torch.ones(3, 1, 1))
            return
        t = smooth_images(3)
        sent = channel.perturb(t, self.streams(0, 1, 2))
        variance = torch.tensor(0.01)
        near, far = (channel.log_likelihood(sent, clean, variance) for clean in (t, t + 10))
        assert near.shape == t.shape
        assert bool(near.isfinite().all())
        assert float(near.sum()) > float(far.sum())


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


class FitNever(FitAlways):
    """Services that refuse to train."""

    def fit_or_load(self, part: str, module: nn.Module, train: Callable[[Any], Any]) -> None:
        """Raise: at strength 0 nothing is trained."""
        raise AssertionError(f"{part} is trained at strength 0")
