"""One cell: data, targets, victim, deployment, view, attack, evaluation, record."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from privbench.experiment.adversary import attack_process, reconstruct_targets
from privbench.experiment.config import build
from privbench.experiment.deploy import fit_deployment
from privbench.experiment.evaluate import (
    CLASSIFIERS,
    classifier_recipe,
    evaluate,
    fit_reference,
)
from privbench.experiment.isolation import require_picklable
from privbench.experiment.output import (
    HISTORY,
    IMAGES,
    output_paths,
    record_folder,
    run_description,
    tracker_summary,
    write_record,
)
from privbench.experiment.plan import CellPlan, plan, store_of
from privbench.experiment.services import AttackLogger, Clock, Services, log_history
from privbench.experiment.spec import CellSpec
from privbench.experiment.victim import fit_victim
from privbench.runtime.errors import as_user_errors
from privbench.runtime.files import remove_empty, write_atomically
from privbench.store.artifacts import announce
from privbench.store.recipes import VICTIMS
from privbench.store.record import Record, read, valid_record
from privbench.store.result_table import table
from privbench.tracking.base import RECONSTRUCTIONS, History, NullRun, RecordingRun, replay

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellResult:
    """The result of a cell.

    Attributes:
        record: Of this run or of an earlier one.
        cached: Whether it is of an earlier one.
        tracked: Whether the tracker received it.
        shared_seconds: That the victim and the evaluation classifier took, which other cells find
            in the store.
    """

    record: Record
    cached: bool
    tracked: bool
    shared_seconds: float = 0.0


def run(spec: CellSpec) -> Record:
    """Attack one defended deployment and return its record, unless a record is there.

    Raises:
        UserError: for bad input, before anything is trained or written.
    """
    return run_or_load(spec).record


def run_or_load(spec: CellSpec, *, already_tracked: bool = False) -> CellResult:
    """Run a cell, or load its record where an earlier run left one.

    Args:
        spec: Of the cell.
        already_tracked: Whether the tracker has received its record.

    Raises:
        UserError: for bad input, before anything is trained or written.
    """
    clock = Clock()
    with _remove_empty_dir(Path(spec.output_dir)):
        with as_user_errors():
            cell = build(spec)
            if cell.isolate:
                require_picklable(cell.attack, cell.defense)
            threads = cell.device_config.configure()
            planned = plan(cell)
        store = store_of(cell)
        if not spec.in_sweep:
            announce(store)
        with store.claim("records", planned.key):
            path = output_paths(planned)["record"]
            cached = None if cell.force else valid_record(path, store.root, cell.config)
            if cached is None:
                result = _run(_with_earlier_metrics(planned, path), threads, clock)
            else:
                result = CellResult(cached, cached=True, tracked=already_tracked)
        if cached and not already_tracked:
            result = replace(result, tracked=log_cached(cached, planned))
        if not spec.in_sweep:
            write_atomically(Path(spec.output_dir) / "record.json", result.record.to_json())
            paths = {name: path for name, path in output_paths(planned).items() if path.is_file()}
            print(table(result.record, paths, cached=result.cached), flush=True)  # noqa: T201 - what a run is for
        return result


def _with_earlier_metrics(planned: CellPlan, path: Path) -> CellPlan:
    """Return a cell's plan with the metrics that the record which it replaces has in addition.

    Those that cannot be measured any more are named and left out.
    """
    try:
        earlier = read(path).config.get("metrics") or []
    except (OSError, ValueError):
        return planned
    spec = planned.cell.spec
    for name in earlier:
        wanted = spec.config.get("metrics") or []
        if name in wanted:
            continue
        longer = replace(spec, config={**spec.config, "metrics": [*wanted, name]})
        try:
            planned, spec = plan(build(longer)), longer
        except ValueError as error:
            LOG.warning("%s of the earlier record is lost: %s", name, error)
    return planned


def _run(plan: CellPlan, threads: int, clock: Clock) -> CellResult:
    """Compute a cell."""
    # a bad value is refused before this import of seconds; no time of an attack contains it
    import torchmetrics.functional.image  # noqa: F401

    cell, data, device = plan.cell, plan.data, plan.cell.device_config.device
    with cell.tracker.run(run_description(plan)) as run, attack_process(cell) as attack:
        tracked = RecordingRun(run)
        services = Services(
            store_of(cell), device, cell.device_config, threads, plan.seeds, tracked
        )
        x = data.test.at(plan.indices).to(device)
        before = clock.total()
        victim = fit_victim(plan, services)
        reference = fit_reference(plan, services, x)
        shared_seconds = clock.total() - before
        deployed = fit_deployment(plan, services, victim)
        logger = AttackLogger(x, tracked)
        v, x_hat = reconstruct_targets(plan, services, deployed, attack, logger, clock)
        record = evaluate(plan, services, deployed, reference, v, x_hat, logger, clock)
        write_record(record, plan, x, x_hat, tracked.history)
        tracked.finish(
            {**tracker_summary(record), "cached": False},
            {RECONSTRUCTIONS: output_paths(plan)["images"]},
        )
    return CellResult(record, False, tracked.delivered, shared_seconds)


def fit_shared(spec: CellSpec) -> None:
    """Train a cell's victim and deployment, which other cells share, and nothing else.

    Args:
        spec: Of any of those cells.

    Raises:
        UserError: for bad input, before anything is trained or written.
    """
    with as_user_errors():
        cell = build(spec)
        threads = cell.device_config.configure()
        planned = plan(cell)
    device = cell.device_config.device
    services = Services(
        store_of(cell), device, cell.device_config, threads, planned.seeds, NullRun()
    )
    fit_deployment(planned, services, fit_victim(planned, services))


def log_cached(record: Record, plan: CellPlan) -> bool:
    """Log the record of an earlier run, and return whether the tracker received it."""
    with plan.cell.tracker.run(run_description(plan)) as tracked:
        replay(_history(record, plan), tracked)
        images = record_folder(plan).with_name(record.key) / IMAGES
        shown = {RECONSTRUCTIONS: images} if images.is_file() else {}  # an imported one has none
        tracked.finish({**tracker_summary(record), "cached": True}, shown)
    return tracked.delivered


def _history(record: Record, plan: CellPlan) -> History:
    """Return what the run of a record logged; of earlier versions the shared trainings only."""
    path = record_folder(plan).with_name(record.key) / HISTORY
    try:
        history: History = json.loads(path.read_bytes())
    except (OSError, ValueError):  # an imported record has none either
        shared, store = RecordingRun(NullRun()), store_of(plan.cell)
        for stream, kind, recipe in (
            ("victim", VICTIMS, plan.victim_recipe),
            ("evaluation_classifier", CLASSIFIERS, classifier_recipe(plan)),
        ):
            log_history(shared, stream, store.facts(kind, recipe))
        return shared.history
    return history


@contextmanager
def _remove_empty_dir(folder: Path) -> Iterator[None]:
    """Remove the directory that Hydra made for a run, where the run leaves no record in it."""
    try:
        yield
    except BaseException:
        remove_empty(folder)
        raise
