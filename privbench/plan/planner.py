"""The plan of a configuration: counted, modelled, measured, and joined with records."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from privbench.experiment.config import make_part
from privbench.plan import measured, missing
from privbench.plan.choice import OBJECTIVES, Choice, Limits, choose
from privbench.plan.cost import BITS, Counts, Setup, cost_of
from privbench.plan.counts import Shape, count, names_of
from privbench.plan.evidence import Evidence, collect, matching
from privbench.plan.meta import without_compiler
from privbench.plan.option import Option, deployed_counts
from privbench.plan.pareto import Volume, front, volumes
from privbench.plan.profiles import with_typed
from privbench.plan.uplink import Sensitivity, Window
from privbench.report.analysis.selection import select
from privbench.report.analysis.variants import with_distinct_defenses
from privbench.runtime.validation import require_choice
from privbench.store.artifacts import Store
from privbench.victims.split_model import SplitModel


@dataclass(frozen=True)
class Request:
    """What is planned.

    Attributes:
        config: Composed from ``conf/plan.yaml``, as plain containers.
        choices: Chosen option of each config group.
        overrides: Of the command line.
        folders: Words of the command line that name folders of configuration.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    overrides: list[str]
    folders: Sequence[str] = ()

    @cached_property
    def setup(self) -> Setup:
        """Profiles and format.

        Raises:
            ValueError: in one line, for a value that is out of range.
        """
        require_choice("payload", self.config["payload"], BITS)
        platform, network, cloud = (
            with_typed(make_part(self.config, group), group, self.overrides)
            for group in ("platform", "network", "cloud")
        )
        return Setup(platform, network, cloud, self.config["payload"], self.config["idle"])

    @cached_property
    def limits(self) -> Limits:
        """Limits of the choice."""
        require_choice("minimize", self.config["minimize"], OBJECTIVES)
        return Limits(self.config["max"], self.config["min"])

    @property
    def victim(self) -> str:
        """Name of the victim, with its architecture where it is one of several."""
        arch = self.config["victim"].get("arch")
        return f"{self.choices['victim']} {arch}" if arch else self.choices["victim"]

    @property
    def store(self) -> Path:
        """Folder of records and trained victims."""
        return Path(self.config["output_dir"]).resolve() / "store"

    @property
    def of_dataset(self) -> bool:
        """Whether the images are the data set's; a typed shape has no records."""
        return self.config["image"]["shape"] is None

    def layout(self) -> tuple[Shape, int]:
        """Return image shape and number of classes; images are read only where nothing says them.

        Raises:
            ValueError: for a shape without a number of classes.
        """
        shape, classes = self.config["image"]["shape"], self.config["image"]["classes"]
        if (shape is None) != (classes is None):
            raise ValueError("image.shape and image.classes are typed together, or neither")
        if shape is not None:
            if not isinstance(shape, list) or len(shape) != 3:
                raise ValueError(f"image.shape={shape} is not an image shape: choose [C,H,W]")
            return (shape[0], shape[1], shape[2]), int(classes)
        source = make_part(self.config, "dataset")
        known: tuple[Shape, int] | None = getattr(source, "layout", lambda: None)()
        if known is None:
            data = source.load(Store(self.store), show_progress=False)
            known = data.shape, len(data.classes)
        return known

    def model(self, device: str) -> SplitModel:
        """Build the classifier with random weights, on the meta device without any."""
        shape, classes = self.layout()
        node = dict(self.config["victim"])
        if "weights" in node:  # only layers are needed, and nothing is downloaded
            node["weights"] = None
        victim = make_part({"victim": node}, "victim")
        try:
            with torch.device(device):
                return victim.outline(shape, classes).eval()  # type: ignore[no-any-return]
        except ValueError:
            raise
        except Exception:  # a constructor that computes with its weights needs them
            return victim.outline(shape, classes).eval()  # type: ignore[no-any-return]

    def base(self) -> list[str]:
        """Return the words of a cell of the same victim."""
        of_cell = ("dataset.", "victim.", "output_dir=")
        typed = [word for word in self.overrides if word.lstrip("+~").startswith(of_cell)]
        chosen = [f"{group}={self.choices[group]}" for group in ("dataset", "victim")]
        return [*chosen, *typed, *self.folders]


@dataclass(frozen=True)
class Plan:
    """A plan: every option, and what follows.

    Attributes:
        request: What was asked.
        options: Rows, from the shallowest split to the deepest.
        marks: Of the Pareto set by label, for options whose leakage is known.
        choice: The recommended option, and why the others are not.
        windows: Uplink rates with one choice.
        commands: Commands that measure what is unknown.
        threads: Threads of the measurement on this machine; 0 where there was none.
        notes: Sentences about what was left out.
        volume: Hypervolumes of defenses; null where records have fewer than two.
    """

    request: Request
    options: Sequence[Option]
    marks: Mapping[str, str]
    choice: Choice
    windows: Sequence[Window]
    commands: Sequence[str]
    threads: int
    notes: Sequence[str] = field(default_factory=list)
    volume: Volume | None = None


def plan(request: Request) -> Plan:
    """Return the plan of a request; nothing is trained, unless it asks for measurements.

    Raises:
        ValueError: in one line, for input that cannot be planned.
    """
    setup, limits = request.setup, request.limits
    shape, classes = request.layout()
    with without_compiler():
        outline = request.model("meta")
        counted = count(outline, shape, classes)
    rows = _rows(counted, names_of(outline), setup)
    options, commands, notes = _with_records(request, rows)
    if request.config["measure"] and commands:
        for command in commands:
            missing.run(command)
        options, commands, notes = _with_records(request, rows)
    options, threads = _with_measurements(request, options, shape)
    config = request.config
    objective, metric = config["minimize"], config["leakage"]
    return Plan(
        request,
        options,
        front(options, metric),
        choose(options, limits, objective, metric, setup),
        Sensitivity(options, limits, objective, metric, setup).windows(),
        commands,
        threads,
        notes,
        volumes(options, metric),
    )


def _rows(counted: Mapping[str, Counts], names: Mapping[str, str], setup: Setup) -> list[Option]:
    return [
        Option(split, names.get(split, split), counts, cost_of(counts, setup))
        for split, counts in counted.items()
    ]


def _with_records(
    request: Request, rows: Sequence[Option]
) -> tuple[list[Option], list[str], list[str]]:
    """Join records: a row for each split, and for each defense that records have at it."""
    if not request.of_dataset:
        return list(rows), [], ["image.shape was typed: no records are joined"]
    found, notes = _records(request)
    by_split = {row.split: [e for e in found if e.split == row.split] for row in rows}
    undefended = max((e.undefended for e in found), default=None)
    options: list[Option] = []
    for row in rows:
        evidence = by_split[row.split]
        if not any(not e.defended for e in evidence):
            options.append(replace(row, accuracy=undefended))  # which a cut does not change
        options += [_joined(row, e, request.setup) for e in sorted(evidence, key=_order)]
    return options, missing.commands(options, request.base(), request.config["battery"]), notes


def _order(evidence: Evidence) -> tuple[bool, str, int]:
    """Sort what records say of a split: without a defense first."""
    return evidence.defended, evidence.defense, evidence.transmissions


def _joined(row: Option, evidence: Evidence, setup: Setup) -> Option:
    counts = deployed_counts(row.counts, evidence) if evidence.defended else row.counts
    joined = replace(row, counts=counts, evidence=evidence, accuracy=evidence.accuracy)
    return joined.at(setup)


def _records(request: Request) -> tuple[list[Evidence], list[str]]:
    if not (request.store / "records").is_dir():
        return [], [f"{request.store} has no records: leakage and accuracy are unknown"]
    config = request.config
    dataset = request.choices["dataset"]
    try:
        selection = select(request.store, {"dataset": [dataset]})
    except ValueError:
        return [], [f"{request.store} has no records of dataset={dataset}"]
    same = matching(selection.records, config["dataset"], config["victim"])
    notes = list(selection.unreadable)
    if others := len(selection.records) - len(same):
        notes.append(f"{others} records of other victims or options are left out")
    distinct = with_distinct_defenses(same)  # a row is one defense, not several variants of it
    return collect(distinct, config["battery"], config["adaptive"]), notes


def _with_measurements(
    request: Request, options: Sequence[Option], shape: Shape
) -> tuple[list[Option], int]:
    """Add what is measured on this machine: seconds, and features of a victim in the store."""
    milliseconds: dict[str, float] = {}
    threads = 0
    if runs := request.config["timing"]:
        milliseconds, threads = measured.edge_ms(request.model("cpu"), shape, runs)
    bits = _compressed(request)
    return [
        replace(
            option,
            measured_ms=milliseconds.get(option.split),
            deflate_bits=None
            if option.evidence and option.evidence.defended
            else bits.get(option.split),
        )
        for option in options
    ], threads


def _compressed(request: Request) -> dict[str, float]:
    """Return the compressed bits by split; nothing without a trained victim in the store."""
    config, names = dict(request.config), request.choices
    if not request.of_dataset:
        return {}
    if not measured.is_kept(request.store, names["victim"], names["dataset"]):
        return {}
    store = Store(request.store)
    data = make_part(config, "dataset").load(store, show_progress=False)
    artifact = measured.kept_victim(config, data.train.fingerprint, store)
    if artifact is None:
        return {}
    model = request.model("cpu")
    model.load_state_dict(dict(artifact.tensors))
    x = data.test.at(range(min(measured.COMPRESSED_IMAGES, len(data.test))))
    return measured.deflate_bits(model, x)


def train_command(request: Request) -> str:
    """Return the command that trains the victim and keeps it in the store."""
    words = [*request.base(), "attack=blind", "defense=none", f"seed={request.config['seed']}"]
    return shlex.join([*missing.PROGRAM, *words])
