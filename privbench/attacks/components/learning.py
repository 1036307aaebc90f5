"""How an adversary's own networks are trained: steps, schedule, early stopping on held-out data."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn

from privbench.runtime import checks
from privbench.runtime.code_identity import identity_of
from privbench.threat.view import AdversaryView
from privbench.training.config import PRECISIONS, batch_size, one_cycle
from privbench.training.loop import HELD_OUT, Batches, fit

SCHEDULES = ("constant", "one_cycle")
PASSES = 22
"""Over the training data, where the number of steps follows it."""
STEPS = (400, 1400)
"""The fewest and the most steps then."""
LARGEST = 32
"""Rows a batch at most, where it follows the data too."""


def require_images(images: int | None, view: AdversaryView) -> None:
    """Refuse more auxiliary images than there are, and too few to hold one out.

    Raises:
        ValueError: naming the value and the choices.
    """
    there = len(view.images)
    if there < 2:
        raise ValueError(
            f"the auxiliary set holds {there} image where 2 are needed, one to train on and one to "
            "hold out: raise dataset.aux_images"
        )
    wanted = there if images is None else images
    if not 2 <= wanted <= there:
        raise ValueError(
            f"attack.images={wanted} where the auxiliary set holds {there}: choose 2 to {there}, "
            "or more with dataset.aux_images"
        )


def held_out(images: int) -> int:
    """How many of an adversary's images it does not train on: a tenth, at most 1,000."""
    return min(max(1, images // 10), 1000)


Answers = tuple[Tensor, Tensor]
"""Features ``(A, *feature_shape)`` and the number of the image that each is of ``(A,)``."""


class Asked(NamedTuple):
    """What a budget of answers bought.

    Attributes:
        answers: To train on.
        held_out: Not trained on.
        trained: Images behind the former.
        images: Images in all.
    """

    answers: Answers
    held_out: Answers
    trained: int
    images: int


def ask(query: Callable[[Tensor], Tensor], images: Tensor, budget: int | None) -> Asked:
    """Spend a budget of answers.

    Every image that is held out gets one, the others share the rest, each time with a fresh draw
    of the defense; images that the budget does not reach are left out.

    Args:
        query: Images to features.
        images: ``(M, C, H, W)``.
        budget: At least 2; ``None`` for one an image.
    """
    budget = budget or len(images)
    used = min(len(images), budget)
    trained = used - held_out(used)
    rows = (torch.arange(budget - (used - trained)) % trained).to(images.device)
    first = query(images[:trained])
    v = first.new_empty(len(rows), *first.shape[1:])
    v[:trained] = first
    # a pass over the images at a time: asked in one piece they would lie in memory as often
    for start in range(trained, len(rows), trained):
        again = rows[start : start + trained]
        v[start : start + len(again)] = query(images[again])
    last = query(images[trained:used]), torch.arange(trained, used).to(images.device)
    return Asked((v, rows), last, trained, used)


class AttackModule(lightning.LightningModule):
    """A network and what it is told of a batch.

    Args:
        network: Trained in place.

    Attributes:
        name: Of what is trained, as progress shows it.
    """

    name = "a network"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.recipe: TrainingConfig
        self.steps = 0

    @abstractmethod
    def figures(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """``loss``, which is descended, and what else a journal may want to hear of a batch."""

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """The loss of a batch."""
        figures = self.figures(batch)
        told = {name: value.detach() for name, value in figures.items()}
        self.log_dict(told, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return figures["loss"]

    def validation_step(self, batch: tuple[Tensor, ...], index: int) -> None:
        """The same figures, of images that are not trained on."""
        figures = {f"held_out_{name}": value for name, value in self.figures(batch).items()}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        """Adam, or with weight decay AdamW, under the recipe's schedule."""
        recipe = self.recipe
        optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=recipe.lr,
            eps=recipe.eps,
            weight_decay=recipe.weight_decay,
            amsgrad=recipe.amsgrad,
        )
        if recipe.schedule == "constant":
            return optimiser
        return one_cycle(optimiser, self.steps, rising=0.1)


def decoded(x_hat: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Eq. (2), the squared error as a mean over pixels, and what it is in decibels once clamped."""
    with torch.no_grad():
        error = (x_hat.clamp(0, 1) - x).square().flatten(1).mean(1)
        psnr_db = -10 * error.clamp_min(1e-10).log10().mean()
    return {"loss": (x_hat - x).square().mean(), "psnr_db": psnr_db}


@dataclass(frozen=True)
class TrainingConfig:
    """The recipe of an adversary's network.

    Attributes:
        images: Auxiliary images used; null for all.
        steps: Updates, rounded to whole epochs; more where one pass over the data takes more; null
            follows the number of images.
        batch: Images an update; null follows their number too.
        lr: Adam's rate, the highest one of a cycle.
        eps: Adam's epsilon.
        amsgrad: Adam's variant that never forgets a large gradient.
        weight_decay: Of AdamW; 0 makes it Adam.
        schedule: Of the rate: ``constant``, or ``one_cycle``: up, and down to 0.
        patience: Updates without a better loss on held-out images that end the training.
        precision: ``32-true``, or ``bf16-mixed`` where the machine multiplies in bf16.
    """

    images: int | None
    steps: int | None
    batch: int | None
    lr: float
    eps: float
    amsgrad: bool
    weight_decay: float
    schedule: str
    patience: int
    precision: str

    def __post_init__(self) -> None:
        """Refuse what is out of range, before any data is read."""
        checks.whole_or_null("attack.images", self.images, 2)
        checks.whole_or_null("attack.steps", self.steps, 1)
        checks.whole_or_null("attack.batch", self.batch, 2)
        checks.number("attack.lr", self.lr, 0, above=True)
        checks.number("attack.eps", self.eps, 0)
        checks.flag("attack.amsgrad", self.amsgrad)
        checks.number("attack.weight_decay", self.weight_decay, 0)
        checks.choice("attack.schedule", self.schedule, SCHEDULES)
        checks.whole("attack.patience", self.patience, 1)
        checks.choice("attack.precision", self.precision, PRECISIONS)

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are.

        Raises:
            ValueError: naming the value and the choices.
        """
        require_images(self.images, view)

    def learnt(
        self,
        attack: str,
        network: nn.Module,
        view: AdversaryView,
        learn: Callable[[], dict[str, Any]],
        **depends: Any,
    ) -> None:
        """Train a network once, or load it, and freeze it.

        Args:
            attack: Whose network it is.
            network: Untrained; trained or loaded in place.
            view: What it is learnt from.
            learn: Trains it, and returns facts for the record.
            depends: What the training depends on besides this recipe, the network and the view.
        """
        recipe = {
            "attack": attack,
            # of this class alone: what inverts a shadow is no part of the shadow's training
            "code": identity_of(type(self)),
            **{field.name: getattr(self, field.name) for field in fields(TrainingConfig)},
            **depends,
            "network": {name: tuple(t.shape) for name, t in network.state_dict().items()},
        }
        view.keep(recipe, network, learn)
        network.eval().requires_grad_(False)

    def train(
        self,
        learner: AttackModule,
        data: tuple[Tensor, ...],
        held_out: tuple[Tensor, ...],
        view: AdversaryView,
        epoch: int | None = None,
    ) -> dict[str, Any]:
        """Train a learner's network in place.

        Args:
            learner: Its ``figures`` get batches of the tensors.
            data: Tensors of equal length.
            held_out: The same, not trained on.
            view: Where it runs, what orders the batches, and who hears of each epoch.
            epoch: Rows that an epoch sees; ``None`` for all.

        Returns:
            ``epochs``, ``steps``, ``batch``, ``precision``, and the best epoch's figures on
            ``held_out``.
        """
        best: dict[str, float] = {}

        def report(epoch: int, figures: dict[str, float]) -> None:
            view.logger.step(epoch, None, **figures)
            if not best or not best[HELD_OUT] <= figures[HELD_OUT]:
                best.update(figures)

        size, steps = self.length(len(data[0]))
        order = view.generator("batches")
        share = -(-epoch // size) if epoch else None
        batches = Batches(*data, size=size, order=order, epoch=share)
        # an answer that was paid for is learnt from at least once
        passes = -(-len(data[0]) // (len(batches) * size))
        epochs = max(passes, round(steps / len(batches)))
        learner.recipe, learner.steps = self, epochs * len(batches)
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
            name=learner.name,
        )
        learner.network.to(view.device)
        kept = {name: value for name, value in best.items() if name.startswith("held_out")}
        length = {"epochs": run, "steps": run * len(batches), "batch": size}
        return {**length, "precision": precision, **kept}

    def length(self, rows: int) -> tuple[int, int]:
        """Rows a batch and number of updates for so many rows of training data.

        A few hundred images are learnt in fewer and smaller steps than ten thousand: more of them
        would only fit the decoder to the images that it has.
        """
        size = self.batch or batch_size(rows, LARGEST)
        least, most = STEPS
        return size, self.steps or min(most, max(least, PASSES * -(-rows // size)))
