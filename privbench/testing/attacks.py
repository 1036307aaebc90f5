"""The contract of an attack."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from privbench.attacks.base import Attack
from privbench.defenses.deployment import Deployment
from privbench.defenses.dropout import Dropout
from privbench.runtime.device import DeviceConfig
from privbench.runtime.random import RandomStreams
from privbench.testing.contract import (
    AUX_IMAGES,
    CLASSES,
    IMAGE_SHAPE,
    SPLIT,
    TARGETS,
    TRANSMISSIONS,
    Contract,
    smooth_images,
)
from privbench.threat import Access, AdversaryView, grant
from privbench.threat.view import NullLogger
from privbench.victims.lenet5 import LeNet5


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
            traffic=smooth_images(AUX_IMAGES, seed=3),
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
        shapes = f"the attack returned shape {tuple(answers[0].shape)}"
        assert answers[0].shape == (TARGETS, *IMAGE_SHAPE), f"{shapes}, not an image per target"
        least, most = float(answers[0].min()), float(answers[0].max())
        assert 0 <= least <= most <= 1, f"pixels lie in [{least:.3g}, {most:.3g}], not in [0, 1]"
        assert torch.equal(*answers), "an equal view gives other images: draw from view.generator"

    def test_it_needs_every_right_that_it_declares(self, subject_under_test: Any) -> None:
        """A view without one of the declared rights raises an error that names the right."""
        for right in subject_under_test.access:
            view = self.view(subject_under_test.access & ~right)
            line = _error_of(partial(self._attack, subject_under_test, view))
            assert str(right.name) in line, f"access declares {right.name}; without it: {line}"

    def _attack(self, attack: Any, view: AdversaryView) -> Tensor:
        """Return the reconstructions by an attack."""
        x_hat: Tensor = attack.fit(view)(self.features())
        return x_hat


def _error_of(run: Callable[[], object]) -> str:
    """Return the text of the error that a call raises."""
    try:
        run()
    except Exception as error:
        return str(error)
    return "no error"
