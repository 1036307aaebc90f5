"""Everything an experiment stands on: data, targets, a victim to train or load, its deployment."""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from privbench import metrics
from privbench.attacks.blind import ANSWERS, Blind
from privbench.config import Cell
from privbench.data.image_data import ImageData, Source
from privbench.defenses.base import Defense
from privbench.defenses.none import NoDefense
from privbench.deployment import Deployment
from privbench.draws import Draws
from privbench.keys import key_of
from privbench.results import SCHEMA, Record, read
from privbench.store import Artefact, Store
from privbench.threat import ADAPTIVE, Access, Facts, Journal, Silence, View, grant
from privbench.tracking import Run
from privbench.victims.judge import JUDGE
from privbench.victims.judge import SEED as JUDGES_SEED
from privbench.victims.split_model import SplitModel

LOG = logging.getLogger(__name__)


@lru_cache(maxsize=4)
def _load(source: Source, store: Store, watched: bool) -> ImageData:
    """A data set stays in memory from one cell of a sweep to the next, beside others."""
    return source.load(store, watched=watched)


@dataclass(frozen=True, eq=False)
class Stage:
    """A cell's data and parts, checked against each other; only the victim is yet untrained.

    Attributes:
        cell: What was asked for.
        store: Where artefacts are kept.
        data: In memory.
        indices: Of the targets within the test images.
        x: The targets ``(N, C, H, W)``, on the device.
        model: The victim.
        split: Name of the layer behind which it is cut.
        device: Where it runs.
        threads: Of the CPU.
    """

    cell: Cell
    store: Store
    data: ImageData
    indices: list[int]
    x: Tensor
    model: SplitModel
    split: str
    device: torch.device
    threads: int

    @classmethod
    def of(cls, cell: Cell) -> "Stage":
        """Read the data and refuse what does not go together.

        Raises:
            ValueError: naming the value and the choices.
            OSError: where the outputs cannot be written.
        """
        _require_writable(cell)
        cell.tracker.check()
        threads, device = cell.hardware.apply(), cell.hardware.device
        store = Store(cell.outputs.resolve() / "store")
        data = _load(cell.source, store, cell.hardware.watched)
        indices = data.choose(cell.targets, cell.target_indices, cell.seed, cell.include)
        model = cell.victim.build(data.shape, len(data.classes), cell.seed).eval()
        split = model.resolve(cell.split)
        model.to(device)
        x = data.test.images[indices].to(device)
        stage = cls(cell, store, data, indices, x, model, split, device, threads)
        if check := getattr(cell.attack, "check", None):
            # the victim knows nothing yet, so nothing can be learnt from it
            check(stage.view(stage.deploy(cell.defense), cell.attack.access, Silence()))
        return stage

    @property
    def victim_recipe(self) -> dict[str, Any]:
        """What the victim's weights depend on."""
        hardware, victim = self.cell.hardware, self.cell.victim
        recipe = self.cell.config["victim"]
        return {
            "schema": SCHEMA,
            "victim": {k: v for k, v in recipe.items() if k not in ("name", "precision")},
            "images": self.data.train.fingerprint,
            "seed": self.cell.seed,
            "device": self.cell.hardware.kind,
            "precision": hardware.precision(victim.precision),
        }

    @cached_property
    def key(self) -> str:
        """Hash of everything that the cell's numbers depend on, and of nothing else."""
        cell = self.cell
        return key_of(
            {
                "victim": self.victim_recipe,
                "split": self.split,
                "defense": self._defense_recipe,
                "attack": cell.config["attack"],
                "aux": self.data.aux.fingerprint,
                "test": self.data.test.fingerprint,
                "targets": self.indices,
                "transmissions": cell.transmissions,
                "accuracy_draws": cell.accuracy_draws if cell.defense.strength else 1,
            }
        )

    @property
    def _defense_recipe(self) -> Mapping[str, Any] | None:
        """A defense that does nothing is none, whatever its site."""
        return self.cell.config["defense"] if self.cell.defense.strength > 0 else None

    @property
    def folder(self) -> Path:
        """Where its record and pictures lie."""
        return self.store.root / "records" / self.key

    def found(self) -> Record | None:
        """The record that an earlier run left, whatever sweep it was of."""
        try:
            return read(self.folder)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            LOG.warning("%s: the cell is run again", error)
            return None

    def prepare_victim(self, tracked: Run) -> float:
        """Train the victim or load it, stream its training either way, and move it to the device.

        Returns:
            Seconds that its training took, here or when it was made.
        """
        live: list[dict[str, float]] = []

        def report(epoch: int, figures: dict[str, float]) -> None:
            live.append(figures)
            tracked.log("victim", epoch, **figures)

        def train() -> Artefact:
            began, part = time.perf_counter(), self.data.train
            names = self.cell.names
            LOG.info(
                "training %s on %s, once: the store keeps it", names["victim"], names["dataset"]
            )
            made = self.cell.victim.train(
                self.model,
                part.images,
                part.labels,
                seed=self.cell.seed,
                hardware=self.cell.hardware,
                report=report,
            )
            facts = {**made, "history": live, "seconds": time.perf_counter() - began}
            return Artefact(self.model.state_dict(), facts)

        kept = self.store.keep("victims", self.victim_recipe, train)
        if not live:
            for epoch, figures in enumerate(kept.facts["history"]):
                tracked.log("victim", epoch, **figures)
        self.model.load_state_dict(dict(kept.tensors))
        self.model.eval().requires_grad_(False).to(self.device)
        return float(kept.facts["seconds"])

    def truth(self) -> metrics.Truth:
        """What reconstructions are held against; the judge is trained once for each data set."""
        train, test = self.data.train, self.data.test
        judge = JUDGE.build(self.data.shape, len(self.data.classes), JUDGES_SEED)

        def make() -> Artefact:
            LOG.info(
                "training the judge on %s, once: the store keeps it", self.cell.names["dataset"]
            )
            hardware = self.cell.hardware
            JUDGE.train(judge, train.images, train.labels, seed=JUDGES_SEED, hardware=hardware)
            judge.to(self.device)
            sure = metrics.correct(
                lambda images, rows: judge(images.to(self.device)).cpu()[:, None],
                test.images,
                test.labels,
            )
            return Artefact(judge.state_dict(), {"accuracy": float(sure.mean())})

        recipe = {
            "schema": SCHEMA,
            "judge": repr(JUDGE),
            "layers": repr(judge),
            "images": train.fingerprint,
            "test": test.fingerprint,
            "device": self.cell.hardware.kind,
        }
        kept = self.store.keep("judges", recipe, make)
        judge.load_state_dict(dict(kept.tensors))
        judge.eval().requires_grad_(False).to(self.device)
        return metrics.Truth(
            self.x,
            self.indices,
            test.images.to(self.device),
            test.labels.to(self.device),
            judge,
            float(kept.facts["accuracy"]),
        )

    def deploy(self, defense: Defense) -> Deployment:
        """The victim cut in two, behind a defense."""
        edge, cloud = self.model.split(self.split)
        return Deployment(edge, defense, cloud)

    def view(self, deployment: Deployment, access: Access, journal: Journal) -> View:
        """What an adversary with these rights sees of a deployment."""

        def keep(recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
            def make() -> Artefact:
                facts = train()
                return Artefact(module.state_dict(), facts)

            seen = set(ADAPTIVE.names)
            depends = {
                "victim": self.victim_recipe,
                "split": self.split,
                # who sees neither the defense nor what it answers learns the same under each
                "defense": self._defense_recipe if seen & set(recipe["access"]) else None,
                "aux": self.data.aux.fingerprint,
                "seed": self.cell.seed,
                **recipe,
            }
            kept = self.store.keep("adversaries", depends, make)
            module.load_state_dict(dict(kept.tensors))
            return kept.facts

        aux = self.data.aux
        return grant(
            deployment,
            aux.images.to(self.device),
            aux.labels.to(self.device),
            access,
            split=self.split,
            seed=self.cell.seed,
            hardware=self.cell.hardware,
            journal=journal,
            transmissions=self.cell.transmissions,
            keep=keep,
        )

    def send(self, deployment: Deployment) -> Tensor:
        """The targets' features as cloud and adversary receive them ``(N, K, *feature_shape)``."""
        draws = Draws(self.cell.seed, "transmission", self.indices)
        return deployment.transmit(self.x, draws, self.cell.transmissions)

    def usability(self, *, defended: bool) -> Tensor:
        """Share of right answers for each test image ``(M,)``, a single transmission each.

        All attacks on a defended victim share it.
        """
        defense: Defense = self.cell.defense if defended else NoDefense()
        draws, test = self.cell.accuracy_draws if defense.strength else 1, self.data.test

        def classify(images: Tensor, rows: range) -> Tensor:
            streams = Draws(self.cell.seed, "accuracy", rows)
            v = deployment.transmit(images.to(self.device), streams, draws)
            return deployment.answer(v).cpu()

        def make() -> Artefact:
            return Artefact({"correct": metrics.correct(classify, test.images, test.labels)}, {})

        deployment = self.deploy(defense)
        recipe = {
            "victim": self.victim_recipe,
            "split": self.split if defense.strength else None,
            "defense": self._defense_recipe if defense.strength else None,
            "draws": draws,
            "seed": self.cell.seed if defense.strength else None,
            "test": test.fingerprint,
        }
        return self.store.keep("accuracies", recipe, make).tensors["correct"]

    def blind(self, v: Tensor) -> dict[str, Tensor]:
        """What each blind answer gives for received features, ``(N, C, H, W)`` by name."""
        access = Access.AUX_IMAGES | Access.AUX_LABELS
        view = self.view(self.deploy(NoDefense()), access, Silence())
        return {answer: Blind(answer).fit(view)(v) for answer in ANSWERS}


def _require_writable(cell: Cell) -> None:
    """Refuse an outputs folder before hours are spent on what could not be written there."""
    try:
        folder = cell.outputs / "store" / "records"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"privbench")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ValueError(
            f"output_dir={cell.outputs} cannot be written ({reason}): type output_dir=FOLDER"
        ) from error
