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

from privbench.attacks.blind import ANSWERS, FROM_IMAGES, Blind
from privbench.data.image_data import ImageData, Source
from privbench.defenses.base import Defense
from privbench.defenses.none import NoDefense
from privbench.deployment import Deployment
from privbench.evaluation import metrics
from privbench.evaluation.recognition import EVALUATION_CLASSIFIER
from privbench.evaluation.recognition import SEED as JUDGES_SEED
from privbench.experiment.config import CellConfig
from privbench.runtime.code_identity import identified
from privbench.runtime.hashing import content_hash
from privbench.runtime.random import RandomStreams, secret_seed
from privbench.store import recipes
from privbench.store.artifacts import Artifact, Store
from privbench.store.record import Record, read
from privbench.threat.view import (
    ADAPTIVE,
    Access,
    AdversaryView,
    AttackLogger,
    Facts,
    NullLogger,
    grant,
)
from privbench.tracking.base import Run
from privbench.victims.split_model import SplitModel

LOG = logging.getLogger(__name__)


@lru_cache(maxsize=4)
def _load(source: Source, store: Store, show_progress: bool) -> ImageData:
    """A data set stays in memory from one cell of a sweep to the next, beside others."""
    return source.load(store, show_progress=show_progress)


@dataclass(frozen=True, eq=False)
class Stage:
    """A cell's data and parts, checked against each other; weights are made when they are used.

    Attributes:
        cell: What was asked for.
        store: Where artefacts are kept.
        data: In memory.
        sources: Identities of the code, and fingerprints of the data, that the numbers come from.
        indices: Of the targets within the test images.
        split: Name of the layer behind which the victim is cut.
        device: Where the victim runs.
        threads: Of the CPU.
        victim_sha256: Of the victim's weight file in the store; empty before ``prepare_victim``.
    """

    cell: CellConfig
    store: Store
    data: ImageData
    sources: Mapping[str, str]
    indices: list[int]
    split: str
    device: torch.device
    threads: int
    victim_sha256: str = ""

    @classmethod
    def of(cls, cell: CellConfig, *, elsewhere: bool = False) -> "Stage":
        """Read the data and refuse what does not go together; no model gets weights.

        Args:
            cell: What was asked for.
            elsewhere: Whether the cell is only planned here, for a machine with another device.

        Raises:
            ValueError: naming the value and the choices.
            OSError: where the outputs cannot be written.
        """
        _require_writable(cell)
        cell.tracker.check()
        threads = torch.get_num_threads() if elsewhere else cell.device_config.configure()
        device = torch.device("cpu") if elsewhere else cell.device_config.device
        store = Store(cell.outputs.resolve() / "store")
        data = _load(cell.source, store, cell.device_config.show_progress)
        parts = {"train": data.train, "aux": data.aux, "test": data.test}
        fingerprints = {name: part.fingerprint for name, part in parts.items()}
        sources = recipes.sources_of(cell.config, fingerprints)
        indices = data.select_targets(cell.targets, cell.target_indices, cell.seed, cell.include)
        split = _outline(cell, data, sources).resolve(cell.split)
        stage = cls(cell, store, data, sources, indices, split, device, threads)
        stage.check()
        return stage

    @cached_property
    def x(self) -> Tensor:
        """The targets ``(N, C, H, W)``, on the device."""
        return self.data.test.images[self.indices].to(self.device)

    @cached_property
    def model(self) -> SplitModel:
        """The victim on the device, untrained before ``prepare_victim``."""
        shape, classes = self.data.shape, len(self.data.classes)
        return self.cell.victim.build(shape, classes, self.cell.seed).eval().to(self.device)

    @property
    def victim_recipe(self) -> dict[str, Any]:
        """What the victim's training depends on."""
        return recipes.victim_recipe(self.cell.config, self.sources)

    @cached_property
    def key(self) -> str:
        """Hash of everything that the cell's numbers depend on, and of nothing else."""
        return recipes.cell_key(
            self.cell.config,
            self.sources,
            split=self.split,
            targets=self.indices,
            strength=self.cell.defense.strength,
        )

    @property
    def _defense_recipe(self) -> Any:
        return recipes.defense_recipe(self.cell.config, self.sources, self.cell.defense.strength)

    @property
    def _attacked(self) -> dict[str, Any]:
        """The trained victim, as keys of what is derived from it name it.

        Raises:
            RuntimeError: before ``prepare_victim``.
        """
        if not self.victim_sha256:
            raise RuntimeError("prepare_victim comes first: the victim has no weights yet")
        code = {name: known for name, known in self.sources.items() if name.startswith("victim")}
        return {"sha256": self.victim_sha256, "code": code}

    def check(self) -> None:
        """Let the attack refuse what does not suit it, once for all cells that are alike in that.

        Raises:
            ValueError: naming the value and the choices.
        """
        check = getattr(self.cell.attack, "check", None)
        if check is None:
            return
        config, defense = self.cell.config, self.cell.config["defense"]
        alike = {
            "outline": _outline_key(self.cell, self.data, self.sources),
            "split": self.split,
            "aux": self.data.aux.fingerprint,
            "defense": [self.sources["defense"], defense.get("site")],
            "defended": self.cell.defense.strength > 0,
            "attack": identified(config["attack"], self.sources, "attack"),
            "transmissions": self.cell.transmissions,
        }
        key = content_hash(alike)
        if key not in _REFUSALS:
            _REFUSALS[key] = self._refusal(check)
        if _REFUSALS[key]:
            raise ValueError(_REFUSALS[key])

    def _refusal(self, check: Callable[[AdversaryView], None]) -> str:
        """What an attack says against this cell; empty where it says nothing."""
        cell, meta = self.cell, torch.device("meta")
        outline = _outline(cell, self.data, self.sources)
        try:
            with meta:
                deployment = Deployment(*_around(outline, self.split, cell.defense))
                check(self.view(deployment, cell.attack.access, NullLogger(), meta))
        except Exception as error:  # it may need values: only real tensors decide then
            LOG.debug("checked again with weights: %s", error)
        else:
            return ""
        try:
            check(self.view(self.deploy(cell.defense), cell.attack.access, NullLogger()))
        except ValueError as error:
            return str(error)
        return ""

    @property
    def secret(self) -> str:
        """What no view holds: the hash of the private test set, which every random seed takes in.

        It is the same on every machine, and who has the test set has the targets anyway.
        """
        return self.data.test.fingerprint

    @property
    def defense_seed(self) -> int:
        """Seed of all draws of the deployed defense."""
        return secret_seed(self.cell.seed, self.secret, "defense")

    def _adversary_recipe(self, recipe: Facts) -> dict[str, Any]:
        """What a network or a blind answer depends on that is kept for a view."""
        aux = self.data.aux.fingerprint
        if recipe["recipe"] == FROM_IMAGES:  # the same for every victim, split and seed
            return {"aux": aux, "recipe": FROM_IMAGES}
        seen = set(ADAPTIVE.names)
        return {
            "victim": self._attacked,
            "split": self.split,
            # who sees neither the defense nor what it answers learns the same under each
            "defense": self._defense_recipe if seen & set(recipe["access"]) else None,
            "aux": aux,
            "seed": secret_seed(self.cell.seed, self.secret, "adversary"),
            **recipes.threads(self.cell.config),
            **recipe,
        }

    @property
    def folder(self) -> Path:
        """Where its record and pictures lie."""
        return self.store.root / "records" / self.key

    def found(self) -> Record | None:
        """The record that an earlier run left, whatever sweep it was of; none of another victim."""
        return valid_record(self.folder / "record.json", self.store.root)

    def prepare_victim(self, tracked: Run) -> float:
        """Train the victim or load it, stream its training either way, and move it to the device.

        Returns:
            Seconds that its training took, here or when it was made.
        """
        live: list[dict[str, float]] = []

        def report(epoch: int, figures: dict[str, float]) -> None:
            live.append(figures)
            tracked.log("victim", epoch, **figures)

        def train() -> Artifact:
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
                device_config=self.cell.device_config,
                report=report,
            )
            facts = {**made, "history": live, "seconds": time.perf_counter() - began}
            named = {name: names[name] for name in ("victim", "dataset")}
            return Artifact(self.model.state_dict(), {**named, **facts})

        kept = self.store.keep(recipes.VICTIMS, self.victim_recipe, train)
        object.__setattr__(self, "victim_sha256", kept.sha256)
        if not live:
            for epoch, figures in enumerate(kept.facts["history"]):
                tracked.log("victim", epoch, **figures)
        self.model.load_state_dict(dict(kept.tensors))
        self.model.eval().requires_grad_(False).to(self.device)
        return float(kept.facts["seconds"])

    def truth(self) -> metrics.Reference:
        """What reconstructions are held against; the judge is trained once for each data set."""
        train, test = self.data.train, self.data.test
        judge = EVALUATION_CLASSIFIER.build(self.data.shape, len(self.data.classes), JUDGES_SEED)

        def make() -> Artifact:
            LOG.info(
                "training the judge on %s, once: the store keeps it", self.cell.names["dataset"]
            )
            device_config = self.cell.device_config
            EVALUATION_CLASSIFIER.train(
                judge, train.images, train.labels, seed=JUDGES_SEED, device_config=device_config
            )
            judge.to(self.device)
            sure = metrics.correct(
                lambda images, rows: judge(images.to(self.device)).cpu()[:, None],
                test.images,
                test.labels,
            )
            return Artifact(judge.state_dict(), {"accuracy": float(sure.mean())})

        recipe = {
            "judge": self.sources["evaluation.classifier"],
            "images": train.fingerprint,
            "test": test.fingerprint,
        }
        kept = self.store.keep("judges", recipe, make)
        judge.load_state_dict(dict(kept.tensors))
        judge.eval().requires_grad_(False).to(self.device)
        return metrics.Reference(
            self.x,
            self.indices,
            test.images.to(self.device),
            test.labels.to(self.device),
            judge,
            float(kept.facts["accuracy"]),
        )

    def deploy(self, defense: Defense) -> Deployment:
        """The victim cut in two, behind a defense."""
        return Deployment(*_around(self.model, self.split, defense))

    def view(
        self,
        deployment: Deployment,
        access: Access,
        logger: AttackLogger,
        device: torch.device | None = None,
    ) -> AdversaryView:
        """What an adversary with these rights sees of a deployment, by default on its device."""

        def keep(recipe: Facts, module: nn.Module, train: Callable[[], Facts]) -> Facts:
            def make() -> Artifact:
                facts = train()
                return Artifact(module.state_dict(), facts)

            kind = "baselines" if "baseline" in recipe["recipe"] else "adversaries"
            kept = self.store.keep(kind, self._adversary_recipe(recipe), make)
            module.load_state_dict(dict(kept.tensors))
            return kept.facts

        aux, device = self.data.aux, device or self.device
        return grant(
            deployment,
            aux.images.to(device),
            aux.labels.to(device),
            access,
            split=self.split,
            seed=self.cell.seed,
            secret=self.secret,
            device_config=self.cell.device_config,
            logger=logger,
            transmissions=self.cell.transmissions,
            keep=keep,
        )

    def send(self, deployment: Deployment) -> Tensor:
        """The targets' features as cloud and adversary receive them ``(N, K, *feature_shape)``."""
        draws = RandomStreams(self.defense_seed, "transmission", self.indices)
        return deployment.transmit(self.x, draws, self.cell.transmissions)

    def usability(self, *, defended: bool, transmissions: int = 1) -> Tensor:
        """Share of right answers for each test image ``(M,)``.

        Rule: of K transmissions of an image the cloud averages the logits, and answers with the
        largest mean. The share is over ``accuracy_draws`` independent groups of K transmissions,
        group g with the draws numbered g K to g K + K - 1. All attacks on a defended victim share
        it.

        Args:
            defended: Whether behind the cell's defense or behind none.
            transmissions: K. Without a defense all transmissions are equal, so one is sent.
        """
        defense: Defense = self.cell.defense if defended else NoDefense()
        test, random = self.data.test, defense.strength > 0
        groups, each = (self.cell.accuracy_draws, transmissions) if random else (1, 1)

        def classify(images: Tensor, rows: range) -> Tensor:
            streams = RandomStreams(self.defense_seed, "accuracy", rows)
            v = deployment.transmit(images.to(self.device), streams, groups * each)
            logits: Tensor = deployment.answer(v).unflatten(1, (groups, each))
            return logits.mean(2).cpu()

        def make() -> Artifact:
            shares = metrics.correct(classify, test.images, test.labels, groups * each)
            return Artifact({"correct": shares}, {})

        deployment = self.deploy(defense)
        recipe = {
            "victim": self._attacked,
            "metrics": self.sources["evaluation.metrics"],
            "split": self.split if random else None,
            "defense": self._defense_recipe if random else None,
            "draws": groups,
            "transmissions": each,
            "seed": self.defense_seed if random else None,
            "test": test.fingerprint,
        }
        return self.store.keep("accuracies", recipe, make).tensors["correct"]

    def blind(self, v: Tensor) -> dict[str, Tensor]:
        """What each blind answer gives for received features, ``(N, C, H, W)`` by name."""
        deployment = self.deploy(NoDefense())
        given = {}
        for blind in map(Blind, ANSWERS):
            view = self.view(deployment, blind.access, NullLogger())
            given[blind.answer] = blind.fit(view)(v)
        return given


_OUTLINES: dict[str, SplitModel] = {}
"""Victims' layers by ``_outline_key``, without weights."""
_REFUSALS: dict[str, str] = {}
"""What attacks said against cells, by what cells that are alike share."""


def _outline_key(cell: CellConfig, data: ImageData, sources: Mapping[str, str]) -> str:
    victim = identified(cell.config["victim"], sources, "victim")
    return content_hash({"victim": victim, "shape": data.shape, "classes": data.classes})


def _outline(cell: CellConfig, data: ImageData, sources: Mapping[str, str]) -> SplitModel:
    """The layers of a victim, without weights, made once for all cells that share them.

    Raises:
        ValueError: for images that are too small.
    """
    key = _outline_key(cell, data, sources)
    if key not in _OUTLINES:
        try:
            with torch.device("meta"):
                outline = cell.victim.model(data.shape, len(data.classes)).eval()
        except Exception as error:  # a constructor that computes with its weights needs them
            LOG.debug("built with weights: %s", error)
            outline = cell.victim.build(data.shape, len(data.classes), cell.seed).eval()
        _OUTLINES[key] = outline
    return _OUTLINES[key]


def _around(
    model: SplitModel, split: str, defense: Defense
) -> tuple[nn.Sequential, Defense, nn.Sequential]:
    """Edge, defense and cloud."""
    edge, cloud = model.split(split)
    return edge, defense, cloud


def valid_record(path: Path, store: Path) -> Record | None:
    """The record in a file, if it is there and whole, and of the victim that the store holds."""
    try:
        record = read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        LOG.warning("%s: the cell is run again", error)
        return None
    found = recipes.victim_replaced(record.config, record.sources, record.victim_sha256, store)
    if found:
        LOG.warning("%s: %s: the cell is run again", path, found)
        return None
    return record


def _require_writable(cell: CellConfig) -> None:
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
