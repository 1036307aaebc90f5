"""Contracts of attacks, defenses, victims, data sources and workers, as test classes to subclass.

A test module of your own package needs a subclass and the object under test::

    class TestLinearInverse(AttackContract):
        subject = LinearInverse()

pytest then runs the contract's tests on ``subject``. A subclass may override the fixture
``subject_under_test`` instead, for example to parametrize it.
"""

import dataclasses
import pickle
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from privbench.attacks.base import Attack
from privbench.data.image_data import ImageData, Source
from privbench.defenses.base import Defense, Perturbation
from privbench.defenses.dropout import Dropout
from privbench.deployment import Deployment, SplitVictim
from privbench.runtime.device import DeviceConfig
from privbench.runtime.random import RandomStreams
from privbench.store.artifacts import Store
from privbench.sweep.workers.base import Workers
from privbench.threat import Access, AdversaryView, grant
from privbench.threat.view import NullLogger
from privbench.victims.lenet5 import LeNet5
from privbench.victims.split_model import SplitModel

TARGETS, TRANSMISSIONS, AUX_IMAGES, CLASSES = 4, 2, 96, 10
IMAGE_SHAPE = (1, 28, 28)
SPLIT = "relu2"


def smooth_images(count: int, shape: tuple[int, int, int] = IMAGE_SHAPE, seed: int = 1) -> Tensor:
    """Return images ``(count, *shape)`` in [0, 1] of one smooth disc each."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(count, 2, 1, 1, generator=generator) * 0.4 + 0.3
    rows = torch.linspace(0, 1, height).view(1, height, 1) - centres[:, 0]
    columns = torch.linspace(0, 1, width).view(1, 1, width) - centres[:, 1]
    discs = torch.sigmoid(8 - 8 * (rows.square() + columns.square()) / 0.05)
    return discs[:, None].repeat(1, channels, 1, 1)


class Contract:
    """Base of the contracts.

    Attributes:
        subject: The object under test.
    """

    subject: ClassVar[Any]

    @pytest.fixture
    def subject_under_test(self) -> Any:
        """Return the object under test."""
        return self.subject


class AttackContract(Contract):
    """Contract of an attack, against an untrained LeNet-5 under dropout.

    Attributes:
        subject: An attack whose hyper-parameters make it fast.
    """

    def deployment(self) -> Deployment:
        """Return the attacked system; override it for an attack that needs another one."""
        torch.manual_seed(3)
        edge, cloud = LeNet5(IMAGE_SHAPE, CLASSES).eval().requires_grad_(False).split(SPLIT)
        return Deployment(edge, Dropout(rate=0.3), cloud)

    def view(self, access: Access) -> AdversaryView:
        """Return the view that these rights allow."""
        return grant(
            self.deployment(),
            smooth_images(AUX_IMAGES),
            torch.arange(AUX_IMAGES) % CLASSES,
            access,
            split=SPLIT,
            seed=0,
            secret="",
            device_config=DeviceConfig("cpu"),
            logger=NullLogger(),
            transmissions=TRANSMISSIONS,
        )

    def features(self) -> Tensor:
        """Return the features of the targets ``(N, K, *feature_shape)``."""
        streams = RandomStreams(0, "transmission", range(TARGETS))
        targets = smooth_images(TARGETS, seed=2)
        return self.deployment().transmit(targets, streams, TRANSMISSIONS)

    def test_it_declares_its_rights_as_a_read_only_property(self, subject_under_test: Any) -> None:
        """A command line can set a field, so ``access`` must not be one."""
        assert isinstance(subject_under_test.access, Access)
        assert "access" not in {field.name for field in dataclasses.fields(subject_under_test)}
        with pytest.raises(dataclasses.FrozenInstanceError):
            subject_under_test.access = ~Access.NONE
        assert isinstance(subject_under_test, Attack)

    def test_it_returns_images_in_range_and_repeats_them(self, subject_under_test: Any) -> None:
        """One image in [0, 1] per target; the same images from an equal view."""
        v = self.features()
        before = v.clone()
        answers = [
            subject_under_test.fit(self.view(subject_under_test.access))(v) for _ in range(2)
        ]
        assert torch.equal(v, before), "an attack must not change the features"
        assert answers[0].shape == (TARGETS, *IMAGE_SHAPE)
        assert 0 <= float(answers[0].min()) <= float(answers[0].max()) <= 1
        assert torch.equal(*answers)

    def test_it_needs_every_right_that_it_declares(self, subject_under_test: Any) -> None:
        """A view without one of the declared rights raises an error that names the right."""
        for right in subject_under_test.access:
            view = self.view(subject_under_test.access & ~right)
            with pytest.raises(Exception, match=str(right.name)):
                subject_under_test.fit(view)(self.features())


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


class VictimContract(Contract):
    """Contract of a victim's network.

    Attributes:
        subject: Builds the network from the images' shape ``(C, H, W)`` and the number of classes.
        image_shape: A shape that the network accepts.
    """

    image_shape: ClassVar[tuple[int, int, int]] = IMAGE_SHAPE

    def network(self, build: Callable[..., nn.Module]) -> SplitModel:
        """Return the network in evaluation mode, with random weights of a fixed seed."""
        torch.manual_seed(0)
        model = build(self.image_shape, CLASSES).eval().requires_grad_(False)
        assert isinstance(model, SplitModel)
        return model

    def test_edge_and_cloud_compose_to_the_network(self, subject_under_test: Any) -> None:
        """At every split point, bit for bit, and the cloud leaves the features unchanged."""
        model, x = self.network(subject_under_test), smooth_images(2, self.image_shape)
        logits = model(x)
        assert logits.shape == (2, CLASSES)
        assert model.split_points[0] == "input"
        for point in model.split_points:
            edge, cloud = model.split(point)
            v = edge(x)
            before = v.clone()
            assert torch.equal(cloud(v), logits), point
            assert torch.equal(v, before), f"the layer after {point} works in place"

    def test_early_middle_and_late_name_split_points(self, subject_under_test: Any) -> None:
        """In the order of the layers, so that a sweep spans victims."""
        model = self.network(subject_under_test)
        points = [model.resolve(alias) for alias in ("early", "middle", "late")]
        assert points == sorted(points, key=model.split_points.index)
        assert len(set(points)) == 3

    def test_an_unknown_split_point_names_the_choices(self, subject_under_test: Any) -> None:
        """The last layer is none: nothing would remain for the cloud."""
        model = self.network(subject_under_test)
        last = [name for name, _ in model.named_modules()][-1].removeprefix("layers.")
        for name in (last.removeprefix("network."), "nowhere"):
            with pytest.raises(ValueError, match=f"split={name} .*{model.choices()[1]}"):
                model.split(name)

    def test_a_rebuilt_edge_holds_nothing_of_the_weights(self, subject_under_test: Any) -> None:
        """Built from a seed, in another process too, it is trainable and has the same layers."""
        model = self.network(subject_under_test)
        edge = model.split("middle")[0]
        built: Any = pickle.loads(pickle.dumps(edge.rebuild))
        first, second, other = built(1), built(1), built(2)
        for name, old in edge.named_parameters():
            weight = first.get_parameter(name)
            assert weight.requires_grad
            assert weight.shape == old.shape
            assert torch.equal(weight, second.get_parameter(name))
            if bool((weight != weight.flatten()[0]).any()):  # others are ones or zeros
                assert not torch.equal(weight, other.get_parameter(name))
                assert not torch.equal(weight, old)

    def test_its_halves_can_be_sent_and_planned(self, subject_under_test: Any) -> None:
        """Pickled halves compute the same bits; without weights the features have their shape."""
        model, x = self.network(subject_under_test), smooth_images(2, self.image_shape)
        edge, cloud = pickle.loads(pickle.dumps(model.split("middle")))
        v = edge(x)
        assert torch.equal(cloud(v), model(x))
        with torch.device("meta"):
            outline = subject_under_test(self.image_shape, CLASSES).eval()
            assert outline.split_points == model.split_points
            assert outline.split("middle")[0](torch.zeros(2, *self.image_shape)).shape == v.shape


class DataSourceContract(Contract):
    """Contract of a data source.

    Attributes:
        subject: A source whose auxiliary images are disjoint from the victim's.
    """

    @pytest.fixture
    def data(self, subject_under_test: Source, tmp_path: Path) -> ImageData:
        """Return the images of the source."""
        return subject_under_test.load(Store(tmp_path), show_progress=False)

    def test_its_subsets_are_disjoint(self, data: ImageData) -> None:
        """Training, auxiliary and test images have no image in common."""
        train, aux, test = (
            {image.numpy().tobytes() for image in subset.pixels}
            for subset in (data.train, data.aux, data.test)
        )
        assert not train & aux
        assert not train & test
        assert not aux & test

    def test_its_images_are_in_range_with_a_label_each(self, data: ImageData) -> None:
        """Float32 in [0, 1] of one shape; every label is the index of a class."""
        for subset in (data.train, data.aux, data.test):
            images = subset.images
            assert images.dtype == torch.float32
            assert 0 <= float(images.min()) <= float(images.max()) <= 1
            assert images.shape == (len(subset.labels), *data.shape)
            assert 0 <= int(subset.labels.min()) <= int(subset.labels.max()) < len(data.classes)

    def test_it_reads_the_same_images_again(
        self, data: ImageData, subject_under_test: Source, tmp_path: Path
    ) -> None:
        """From an empty store too: the fingerprints enter the keys of results."""
        again = subject_under_test.load(Store(tmp_path / "empty"), show_progress=False)
        for name in ("train", "aux", "test"):
            assert getattr(again, name).fingerprint == getattr(data, name).fingerprint


class WorkersContract(Contract):
    """Contract of workers that can run on this machine.

    Attributes:
        subject: The workers.
    """

    def test_they_run_every_job_once(self, subject_under_test: Workers, tmp_path: Path) -> None:
        """``launch`` returns when every job has run to its end."""
        subject_under_test.check()
        folders = [tmp_path / str(number) for number in range(3)]
        for folder in folders:
            folder.mkdir()
        # a new folder at every call; its module is imported in no time in a new process
        jobs: list[Any] = [partial(tempfile.mkdtemp, dir=folder) for folder in folders]
        subject_under_test.launch(jobs)
        assert [len(list(folder.iterdir())) for folder in folders] == [1] * 3
