"""The finding of a sweep and its weaknesses: the one wording of terminal, page and tracker."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from privbench.evaluation.statistics import ENOUGH_VICTIMS, FEW_IMAGES
from privbench.report.analysis.advice import untried
from privbench.report.analysis.frame import SeedGroup
from privbench.report.analysis.labels import (
    HEADLINE,
    attack_name,
    bracket,
    in_points,
    leakage,
    metric_label,
    number,
    with_unit,
)
from privbench.report.analysis.operating_points import (
    NOT_ADAPTIVE,
    OperatingPoint,
    operating_points,
    within,
)
from privbench.report.analysis.tradeoffs import SplitResults
from privbench.report.analysis.worst_case import mixed_victims, unreliable
from privbench.store.group_keys import group_key, setting_key
from privbench.store.record import Record

IDENTIFIED = "identification"
"""Name of the share of images that are recognised among all test images."""
LOSS = 0.02
"""Loss of accuracy of the finding, a share."""
UNMET = "not tested against an attacker who knows it"
"""Name of the weakness that defenses were not attacked adaptively, or its end."""
STRONGEST = {
    "rmle_prior": ("rmle_prior",),
    "inverse": ("inverse", "inverse_adaptive", "inverse_refined_adaptive"),
}
"""Attacks one of which recovers most, by SSIM, in every setting of MNIST in
``sweeps/defenses/records.csv`` (a test reads it), each with those that count as it: networks that
learn from defended features. With few images to learn from, as of faces, ``rmle`` may be first."""
Titled = tuple[str, Sequence[OperatingPoint]]
"""Title of a victim and split point, with its operating points."""


@dataclass(frozen=True)
class Weakness:
    """A reason to doubt the finding, mostly that more may leak than was measured.

    Attributes:
        name: A few words, such as ``few images (6)``.
        sentence: What it concerns and means, without a full stop.
    """

    name: str
    sentence: str


@dataclass(frozen=True)
class Finding:
    """The result of a sweep in sentences, without their full stops.

    Attributes:
        weaknesses: Reasons to doubt it, the gravest first.
        statements: The least leakage at each split point.
    """

    weaknesses: Sequence[Weakness]
    statements: Sequence[str]

    @property
    def lines(self) -> list[str]:
        """Weaknesses, then statements."""
        return [*(weakness.sentence for weakness in self.weaknesses), *self.statements]


def by_setting(panels: Sequence[SplitResults], missing: int = 0) -> list[Finding]:
    """Return the finding of each setting; cells without a record weaken all of them.

    Args:
        panels: Results by victim and split point.
        missing: Number of cells without a record.
    """
    total = sum(len(panel.records) for panel in panels)
    found = [finding([panel], missing, total) for panel in panels]
    return [
        replace(one, statements=[_titled(line, panel.title) for line in one.statements])
        for one, panel in zip(found, panels, strict=True)
    ]


def _titled(statement: str, title: str) -> str:
    return statement if statement.startswith(f"{title}:") else f"{title}: {statement}"


def finding(
    panels: Sequence[SplitResults], missing: int = 0, measured_cells: int | None = None
) -> Finding:
    """Return what results show, and what weakens it.

    Args:
        panels: Results by victim and split point.
        missing: Number of cells without a record.
        measured_cells: Number of cells with a record, where there are others than these.
    """
    records = [record for panel in panels for record in panel.records]
    measured = [(panel.title, _headline_points(panel)) for panel in panels]
    lines = ((title, _statement(points, LOSS)) for title, points in measured)
    statements = [f"{title}: {line}" for title, line in lines if line]
    none = "no defense was measured with every attack" if records else "nothing was measured"
    defended = [(title, _defended(points)) for title, points in measured]
    doubts = [
        *weaknesses(records, missing, measured_cells),
        *_unsure_of_the_loss(defended),
        *_stronger(defended),
    ]
    return Finding(doubts, statements or [none])


def weaknesses(
    records: Sequence[Record], missing: int = 0, measured_cells: int | None = None
) -> list[Weakness]:
    """Return why records may show less leakage than there is, the gravest reason first.

    Args:
        records: Records of any settings.
        missing: Number of cells without a record.
        measured_cells: Number of cells with a record, where there are others than these.
    """
    found = [*_poor_victims(records), *_not_adaptive(records)]
    if missing:
        count = f"{missing} of {(measured_cells or len(records)) + missing} cells have no record"
        found.append(Weakness(f"{missing} cells are missing", f"{count}: more may leak"))
    found += _without_strongest(records) + _doubtful(records)
    if few := sorted({r.targets for r in records if r.targets < FEW_IMAGES}):
        images = " or ".join(f"{count} image{'s' * (count > 1)}" for count in few)
        found.append(Weakness(f"few images ({few[0]})", f"few images: scores are of {images}"))
    return found + _victims(records) + _given_weights(records)


def _poor_victims(records: Iterable[Record]) -> list[Weakness]:
    lines = {f"{r.dataset} {r.victim}: {r.victim_warning}" for r in records if r.victim_warning}
    name = "a victim no better than the most frequent class"
    return [Weakness(name, line) for line in sorted(lines)]


def _not_adaptive(records: Sequence[Record]) -> list[Weakness]:
    some = any(record.strength and record.knows_defense for record in records)
    name = f"{'in some settings ' * some}{UNMET}"
    return [Weakness(name, line.removesuffix(".")) for line in untried(records).warnings]


def _is_deep(record: Record) -> bool:
    """Return whether a cell has no defense and its split is in the latter half of the network."""
    index, count = record.split_index, record.split_count
    if record.strength or index is None or count is None:
        return False
    return 2 * index >= count


def _is_defended_cifar10(record: Record) -> bool:
    """Return whether a cell is a defended one of CIFAR-10."""
    return record.strength > 0 and record.dataset == "cifar10"


UNDEFENDED = "inverse_refined"
"""Attack that knows no defense: it counts as ``inverse`` where there is none."""
STRONGEST_THERE = {
    UNDEFENDED: (_is_deep, "at the deepest split without a defense"),
    "inverse_refined_adaptive": (_is_defended_cifar10, "behind dropout on cifar10"),
}
"""Attacks that recover most, by SSIM, in some settings of ``sweeps/attacks``, each with the cells
that it is asked for in and the setting in words."""


def _without_strongest(records: Sequence[Record]) -> list[Weakness]:
    """Return the strongest attacks that some settings did not meet, defended or not."""
    lacking, settings = _lacking(records)
    if not lacking:
        return []
    parts = [
        f"{name}{f' in {count} of {settings} settings' * (count < settings)}"
        for name, count in lacking.items()
    ]
    line = (
        f"Not run: {', '.join(parts)}. Of the attacks of sweeps/defenses rmle_prior or an inverse "
        "network has the highest SSIM in every setting of MNIST"
    )
    for name, (_, where) in STRONGEST_THERE.items():
        line += f", in sweeps/attacks {name} {where}" * (name in lacking)
    return [Weakness("a strong attack was not run", line)]


def strongest_not_run(records: Sequence[Record]) -> list[str]:
    """Return the names of the strongest attacks that some settings of a sweep did not meet.

    Without the one that knows no defense: a sweep's command would run it against all of them.
    """
    return [name for name in _lacking(records)[0] if name != UNDEFENDED]


def _lacking(records: Sequence[Record]) -> tuple[dict[str, int], int]:
    """Return in how many settings each of the strongest attacks lacks, and how many there are."""
    met: dict[str, set[str]] = defaultdict(set)
    asked: dict[str, set[str]] = defaultdict(set)
    for record in records:
        key = setting_key(group_key(record))
        met[key].add(record.attack)
        if record.attack == UNDEFENDED and not record.strength:
            met[key].add("inverse")
        asked[key] |= {name for name, (applies, _) in STRONGEST_THERE.items() if applies(record)}
    lacking = {
        name: sum(attacks.isdisjoint(same) for attacks in met.values())
        for name, same in STRONGEST.items()
    }
    for name in STRONGEST_THERE:
        lacking[name] = sum(name in asked[key] - attacks for key, attacks in met.items())
    return {name: count for name, count in lacking.items() if count}, len(met)


def _doubtful(records: Sequence[Record]) -> list[Weakness]:
    """Return the number of cells with a reason to doubt their scores, by attack."""
    doubts = {record.key: unreliable(SeedGroup([record])) for record in records}
    cells = Counter(attack_name(record) for record in records)
    doubtful = Counter(attack_name(record) for record in records if doubts[record.key])
    if not doubtful:
        return []
    converged = all(reason != "not converged" for held in doubts.values() for reason in held)
    state = "gave images that never moved or are not finite" if converged else "did not converge"
    attacks = ", ".join(f"{n} of {cells[attack]} of {attack}" for attack, n in doubtful.items())
    name = f"{doubtful.total()} of {len(records)} cells {state}"
    return [Weakness(name, f"{name} ({attacks}): more steps may recover more")]


def _victims(records: Sequence[Record]) -> list[Weakness]:
    found = [
        Weakness("victims of several weights", f"the sweep {line}")
        for line in mixed_victims(records)
    ]
    count = len({record.seed for record in records})
    if 0 < count < ENOUGH_VICTIMS:
        name = "a single victim" if count == 1 else f"only {count} victims"
        found.append(Weakness(name, f"{name}: on others, of further seeds, more may leak"))
    return found


def _given_weights(records: Iterable[Record]) -> list[Weakness]:
    """Return the victims that were not trained here, which may have learnt the targets."""
    given = {
        f"{r.dataset} {r.victim}": str(weights)
        for r in records
        if (weights := r.config["victim"].get("weights"))
    }
    return [
        Weakness(
            "weights that were trained elsewhere",
            f"{victim}: {weights} may have been trained on the targets, and the accuracy is then "
            "too high",
        )
        for victim, weights in sorted(given.items())
    ]


def _unsure_of_the_loss(defended: Iterable[Titled]) -> list[Weakness]:
    """Return the defense of each statement whose interval of the accuracy reaches past the loss."""
    found = []
    for title, points in defended:
        best = within(points, LOSS)
        if best is None or best.worst.accuracy_band[0] >= best.worst.undefended - LOSS:
            continue
        low, high = best.worst.accuracy_band
        line = (
            f"{title}: the accuracy with {best.name} is {best.worst.accuracy:.4f} "
            f"[{low:.4f}, {high:.4f}], without a defense {best.worst.undefended:.4f}: that more "
            f"than {in_points(LOSS)} are lost is not excluded"
        )
        found.append(Weakness("few test images for the accuracy", line))
    return found


def _stronger(defended: Iterable[Titled]) -> list[Weakness]:
    """Return the defenses whose strongest setting stays within the loss."""
    found = []
    for title, points in defended:
        strongest: dict[tuple[str, str], OperatingPoint] = {}
        for choice in sorted(points, key=lambda one: one.worst.strength):
            strongest[choice.defense, choice.site] = choice
        found += [
            Weakness(
                "stronger settings were not tried",
                f"{title}: {one.name} is the strongest setting tried and loses "
                f"{in_points(max(0.0, one.lost))} of accuracy: a stronger one may leak less within "
                f"{in_points(LOSS)}",
            )
            for one in strongest.values()
            if one.lost <= LOSS
        ]
    return found


def _headline_points(panel: SplitResults, metric: str = HEADLINE) -> list[OperatingPoint]:
    return operating_points(panel, metric) if metric in panel.metrics else []


def _defended(found: Iterable[OperatingPoint]) -> list[OperatingPoint]:
    return [choice for choice in found if choice.worst.strength]


def statement(panel: SplitResults, metric: str = HEADLINE, loss: float = LOSS) -> str:
    """Return the least leakage at a loss of accuracy as a sentence; empty without an attack.

    Args:
        panel: Results of one victim and split point.
        metric: Name of the score.
        loss: Accuracy that a defense may cost, a share.
    """
    return _statement(_headline_points(panel, metric), loss)


def _statement(found: Sequence[OperatingPoint], loss: float) -> str:
    defended = _defended(found)
    if not defended:
        return f"without a defense {_leak(found[0])}" if found else ""
    if best := within(defended, loss):
        least = f"the least worst-case leakage is {_leak(best)}"
        return f"at most {in_points(loss)} of accuracy lost, {least}"
    dear = min(defended, key=lambda choice: choice.lost)
    return (
        f"no measured defense keeps the accuracy within {in_points(loss)} of the undefended "
        f"{dear.worst.undefended:.4f}; {dear.name} loses {in_points(dear.lost)}: {_leak(dear)}"
    )


def _leak(choice: OperatingPoint) -> str:
    """Return the score of an operating point, its attack, its baseline and its caveats."""
    group, metric = choice.worst.group, choice.metric
    interval = bracket(group.recorded_interval(metric), group.images, metric)
    against = f" against {choice.name}" if choice.worst.strength else ""
    # a weakness of the whole names the defenses that no adaptive attack met
    caveats = [line for line in choice.caveats if line not in NOT_ADAPTIVE]
    doubt = f" (caveats: {'; '.join(caveats)})" if caveats else ""
    many = f" on {group.images} images" if group.images >= FEW_IMAGES else ""  # few are in brackets
    identified, otherwise = _identified(choice)
    return (
        f"{with_unit(choice.leakage, metric)}{interval}{many}{identified}, "
        f"by {choice.adversary}{against}{otherwise}; "
        f"{_blind(choice)}{doubt}"
    )


def _identified(choice: OperatingPoint) -> tuple[str, str]:
    """Return the highest share of images that are identified, which a low score does not exclude.

    In the first text where the strongest adversary by the score reaches it, else in the second.
    """
    found = None if choice.metric == IDENTIFIED else choice.highest(IDENTIFIED)
    if found is None:
        return "", ""
    attack, share = found
    text = with_unit(share, IDENTIFIED)
    return (f", {text}", "") if attack == choice.adversary else ("", f", and {text} by {attack}")


def _blind(choice: OperatingPoint) -> str:
    metric, baseline = choice.metric, choice.worst.group.baseline(choice.metric)
    blind = number(baseline, metric)
    if leakage(choice.leakage - baseline, metric) <= 0:
        return f"no more than a blind guess, {metric_label(metric)} {blind}"
    return f"a blind guess scores {blind}"
