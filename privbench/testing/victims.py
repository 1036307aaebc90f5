"""The contract of a victim."""

import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from privbench.testing.contract import CLASSES, IMAGE_SHAPE, Contract, smooth_images
from privbench.victims.split_model import SplitModel


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
        """In the order of the layers, so that a sweep spans victims; three, where it has three."""
        model = self.network(subject_under_test)
        points = [model.resolve(alias) for alias in ("early", "middle", "late")]
        assert points == sorted(points, key=model.split_points.index)
        layers = set(model.split_points) - {"input"}
        assert len(set(points)) == min(3, len(layers))

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
