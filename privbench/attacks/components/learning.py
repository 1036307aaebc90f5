"""Training of an adversary's networks: steps, schedule, early stopping on held-out data."""

from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, Literal, NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.runtime.code_identity import identity_of
from privbench.runtime.options import EVERYWHERE, LEARNED
from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    OptionalAtLeastTwo,
    OptionalPositiveInt,
    PositiveFloat,
    PositiveInt,
)
from privbench.threat import AdversaryView
from privbench.training.config import OptimizerConfig, batch_size
from privbench.training.loop import HELD_OUT, Batches, fit
from privbench.training.task import TrainingTask

PASSES = 22
"""Passes over the training data, where ``steps`` is null."""
STEPS = (400, 1400)
"""Smallest and largest number of steps, where ``steps`` is null."""
LARGEST = 32
"""Largest batch, where ``batch`` is null."""


def require_images(images: int | None, view: AdversaryView) -> None:
    """Refuse more auxiliary images than there are, and too few to hold one out.

    Raises:
        ValueError: naming the value and the choices.
    """
    available = len(view.images)
    if available < 2:
        raise ValueError(
            f"the auxiliary set holds {available} image where 2 are needed, one to train on "
            "and one to hold out: raise dataset.aux_images"
        )
    wanted = available if images is None else images
    if not 2 <= wanted <= available:
        raise ValueError(
            f"attack.images={wanted} where the auxiliary set holds {available}: choose 2 to "
            f"{available}, "
            "or more with dataset.aux_images"
        )


def held_out(images: int) -> int:
    """Return the number of held-out images: a tenth of the adversary's, at most 1,000."""
    return min(max(1, images // 10), 1000)


LabelledFeatures = tuple[Tensor, Tensor]
"""Features ``(A, *feature_shape)`` and the index of the image of each ``(A,)``."""


class QueryDataset(NamedTuple):
    """Query answers split into training and held-out sets.

    Attributes:
        training: Features to train on.
        held_out: Features that are not trained on.
        trained: Number of images of the training set.
        images: Number of images of both sets.
    """

    training: LabelledFeatures
    held_out: LabelledFeatures
    trained: int
    images: int


def query_edge(
    query: Callable[[Tensor], Tensor], images: Tensor, budget: int | None
) -> QueryDataset:
    """Query the edge within a budget.

    Every held-out image is sent once, the others share the rest, each time with a fresh draw of
    the defense; images beyond the budget are left out.

    Args:
        query: Images to features.
        images: ``(M, C, H, W)``.
        budget: Number of queries, at least 2; ``None`` for one per image.
    """
    budget = budget or len(images)
    used = min(len(images), budget)
    trained = used - held_out(used)
    rows = (torch.arange(budget - (used - trained)) % trained).to(images.device)
    first = query(images[:trained])
    v = first.new_empty(len(rows), *first.shape[1:])
    v[:trained] = first
    # one pass over the images at a time, so that no image is in memory twice
    for start in range(trained, len(rows), trained):
        again = rows[start : start + trained]
        v[start : start + len(again)] = query(images[again])
    last = query(images[trained:used]), torch.arange(trained, used).to(images.device)
    return QueryDataset((v, rows), last, trained, used)


def reconstruction_losses(x_hat: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Return Eq. (2), the mean squared error over pixels, and PSNR in dB of the clamped images."""
    with torch.no_grad():
        error = (x_hat.clamp(0, 1) - x).square().flatten(1).mean(1)
        psnr_db = -10 * error.clamp_min(1e-10).log10().mean()
    return {"loss": (x_hat - x).square().mean(), "psnr_db": psnr_db}


@dataclass(frozen=True, config=VALIDATED)
class TrainingConfig:
    """Hyper-parameters of the training of an adversary's network.

    Attributes:
        images: Auxiliary images used; null for all.
        steps: Updates, rounded to whole epochs; more where one pass over the data takes more; null
            chooses by the number of images.
        batch: Images per update; null chooses by the number of images.
        lr: Adam's learning rate, the highest one of a cycle.
        adam_eps: Adam's epsilon.
        amsgrad: Use the AMSGrad variant of Adam.
        eps_before_correction: Add epsilon before the bias correction of the second moment, as
            PyTorch did before 1.3.
        weight_decay: Weight decay of AdamW; 0 makes it Adam.
        schedule: Learning rate over the steps: ``constant``, or ``one_cycle``: up, and down to 0.
        patience: Updates without a better loss on held-out images that end the training.
        precision: ``32-true``, or ``bf16-mixed`` where that is faster.
        keep: ``best`` keeps the weights of the lowest loss on held-out images, ``last`` those of
            the last update, which ``patience`` may bring forward.
    """

    images: OptionalAtLeastTwo
    steps: OptionalPositiveInt
    batch: OptionalAtLeastTwo
    lr: PositiveFloat
    adam_eps: NonNegativeFloat
    amsgrad: bool
    weight_decay: NonNegativeFloat
    schedule: Literal["constant", "one_cycle"]
    patience: PositiveInt
    precision: Literal["32-true", "bf16-mixed"]
    keep: Literal["best", "last"] = field(default="best", kw_only=True)
    eps_before_correction: bool = field(default=False, kw_only=True)

    @property
    def optimizer(self) -> OptimizerConfig:
        """Return the optimizer's share of these hyper-parameters."""
        return OptimizerConfig(
            self.lr, self.weight_decay, self.adam_eps, self.amsgrad, self.schedule, rising=0.1,
            eps_before_correction=self.eps_before_correction,
        )  # fmt: skip

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are.

        Raises:
            ValueError: naming the value and the choices.
        """
        require_images(self.images, view)

    def fit_or_load(
        self,
        attack: str,
        network: nn.Module,
        view: AdversaryView,
        learn: Callable[[], dict[str, Any]],
        **depends: Any,
    ) -> None:
        """Train a network once, load it afterwards, and freeze it.

        Args:
            attack: Name of the attack, part of the key.
            network: Untrained; trained or loaded in place.
            view: The adversary's view.
            learn: Trains the network, and returns facts for the record.
            depends: All that the training depends on besides this recipe, network and view.
        """
        recipe = {
            "attack": attack,
            # of this class only: the inverter of a shadow has no part in the shadow's training
            "code": identity_of(type(self)),
            **self._hyperparameters(),
            **depends,
            "network": {name: tuple(t.shape) for name, t in network.state_dict().items()},
        }
        view.fit_or_load(recipe, network, learn)
        network.eval().requires_grad_(False)

    def _hyperparameters(self) -> dict[str, Any]:
        values = {one.name: getattr(self, one.name) for one in fields(TrainingConfig)}
        # options that are newer than stored networks, which keep their keys
        later = {**EVERYWHERE, **LEARNED}.items()
        newer = {name for name, first in later if values[name] == first}
        return {name: value for name, value in values.items() if name not in newer}

    def train(
        self,
        learner: TrainingTask,
        data: tuple[Tensor, ...],
        held_out: tuple[Tensor, ...],
        view: AdversaryView,
        epoch: int | None = None,
    ) -> dict[str, Any]:
        """Train a learner's network in place.

        Args:
            learner: Its ``losses`` get batches of the tensors.
            data: Tensors of equal length.
            held_out: Tensors for validation.
            view: Gives the device, the order of the batches, and the logger.
            epoch: Rows of an epoch; ``None`` for all.

        Returns:
            ``epochs``, ``steps``, ``batch``, ``precision``, and the losses on ``held_out`` of the
            epoch whose weights are kept.
        """
        best: dict[str, float] = {}

        def report(epoch: int, losses: dict[str, float]) -> None:
            view.logger.step(epoch, None, **losses)
            if self.keep == "last" or not best or not best[HELD_OUT] <= losses[HELD_OUT]:
                best.update(losses)

        size, steps = self.length(len(data[0]))
        order = view.generator("batches")
        share = -(-epoch // size) if epoch else None
        batches = Batches(*data, size=size, order=order, epoch=share)
        # every query is trained on at least once
        passes = -(-len(data[0]) // (len(batches) * size))
        epochs = max(passes, round(steps / len(batches)))
        learner.optimizer, learner.steps = self.optimizer, epochs * len(batches)
        precision = view.device_config.precision(self.precision)
        run = fit(
            learner,
            batches,
            epochs=epochs,
            device_config=view.device_config,
            precision=precision,
            report=report,
            held_out=Batches(*held_out, size=256),
            patience=self.patience,
            keep=self.keep,
            name=learner.name,
        )
        learner.network.to(view.device)
        kept = {name: value for name, value in best.items() if name.startswith("held_out")}
        length = {"epochs": run, "steps": run * len(batches), "batch": size}
        return {**length, "precision": precision, **kept}

    def length(self, rows: int) -> tuple[int, int]:
        """Return rows per batch and number of updates for so many rows of training data.

        A few hundred images need fewer and smaller steps than ten thousand: more steps would
        overfit the network to them.
        """
        size = self.batch or batch_size(rows, LARGEST)
        least, most = STEPS
        return size, self.steps or min(most, max(least, PASSES * -(-rows // size)))
