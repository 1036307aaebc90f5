"""The paper beside the records: its tables and figures, and its statements with a verdict each.

Written by ``python -m privbench.papers.he2020 outputs --write sweeps/he2020/RESULTS.md``.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from privbench.evaluation.statistics import interval_label, victim_interval, victim_label
from privbench.papers.he2020.claims import STATEMENTS, judged
from privbench.papers.he2020.comparison import (
    Matched,
    agreement,
    floor,
    matched,
    misses,
    printed,
    scale,
    seeds,
    tables,
)
from privbench.papers.he2020.published import is_published
from privbench.papers.he2020.sources import TEN, MeasuredResults, PaperResults, comparable
from privbench.papers.he2020.verdicts import ALIKE, NEAR
from privbench.report.selection import Selection
from privbench.report.tables import LEGEND, Rows, as_markdown, span
from privbench.report.tradeoffs import Adversary, Point, SplitResults, depth, panels
from privbench.report.worst_case import (
    differences,
    mixed_victims,
    on_shared_victims,
    paired_interval,
    paired_victims,
    unequal_budgets,
)
from privbench.store.record import Record

SOURCES = {
    "table3": ("Table 3: white-box, rMLE", "sweeps=table_whitebox"),
    "table4": ("Table 4: black-box, inverse network", "sweeps=table_blackbox"),
    "table6": ("Table 6: query-free, shadow and rMLE", "sweeps=table_queryfree"),
    "table8": (
        "Table 8: a shadow fitted to answers and rMLE",
        "sweeps=table_blackbox attack=shadow_queried",
    ),
    "fig9": ("Figure 9: defenses on MNIST at relu2", "sweeps=fig9_mnist"),
    "fig10": ("Figure 10: defenses on CIFAR-10 at relu22", "sweeps=fig10_cifar"),
    "fig13": ("Figure 13: dropout at five splits of MNIST", "sweeps=fig13_mnist_splits"),
    "fig15": ("Figure 15: query-free, split by split", "sweeps=fig15_partition"),
}
"""What the paper shows, and what to type for it."""
PAIRS = {
    ("rmle", "rmle_adaptive"):
        "The second knows the defense and its strength; its total variation weighs 3.5 for 4.",
    ("rmle_paper", "rmle_adaptive"):
        "The published adversary beside one that knows of the defense, and descends on a "
        "likelihood instead of a squared error.",
    ("inverse_naive", "inverse"):
        "The first learnt from answers that were recorded before the defense was there, the "
        "second asks the defended edge. Neither is told of it.",
    ("inverse_naive", "inverse_adaptive"):
        "The second holds the edge's weights, knows the defense and draws it itself.",
}  # fmt: skip
"""Adversaries side by side, and in what they differ."""


def statements(records: Sequence[Record]) -> Rows:
    """Every statement with its verdicts: by the paper's own numbers, and under two adversaries."""
    rows: Rows = [
        ["", "the paper states", "data", "the paper's own numbers", "published adversary here",
         "strongest here, where one knows of the defense"]
    ]  # fmt: skip
    published = MeasuredResults.of(records)
    adaptive = published.knowing()
    for at, statement in enumerate(STATEMENTS, 1):
        for dataset in statement.datasets:
            verdicts = [
                statement.check(PaperResults(), dataset),
                judged(statement, dataset, published),
            ]
            if statement.adaptive:
                verdicts.append(judged(statement, dataset, adaptive))
            cells = [
                f"**{state}**<details><summary>numbers</summary>{told}</details>"
                for state, told in verdicts
            ]
            cells += [] if statement.adaptive else ["of no concern"]
            rows.append([str(at), statement.text, dataset, *cells])
    return rows


def gap(found: Sequence[SplitResults], pair: tuple[str, str]) -> Rows:
    """What knowing of the defense adds, on the same images.

    Args:
        found: All that was measured.
        pair: The attack that does not know of the defense, and the one that does.
    """
    rows: Rows = [
        ["setting", "accuracy", *(f"{name}: dB, SSIM, identified" for name in pair),
         "blind floor", "paired difference of SSIM", "beware"]
    ]  # fmt: skip
    for panel in found:
        named: Mapping[str, Mapping[tuple[str, str, float], Point]] = {
            adversary.attack: {
                (line.defense, line.site, point.strength): point
                for line in adversary.lines
                for point in line.points
                if point.strength
            }
            for adversary in panel.adversaries
        }
        naive, adaptive = (named.get(name, {}) for name in pair)
        for setting in sorted(naive.keys() & adaptive.keys()):
            one, other = naive[setting], adaptive[setting]
            defense, site, strength = setting
            both = on_shared_victims(one.group, other.group)
            if both is not None:  # without a victim in common nothing is compared
                rows.append(
                    [f"{_place(panel)}, {defense} {strength:g} on {site}", *_gap(*map(Point, both))]
                )
    return rows


def _gap(one: Point, other: Point) -> list[str]:
    """Compare an adaptive with a naive attack in one setting, on the victims of both."""
    groups = other.group, one.group
    difference = paired_interval(*groups, "ssim")
    text = "-"
    if difference:
        images = interval_label(len(differences(*groups, "ssim")))
        text = f"{difference[0]:+.3f} to {difference[1]:+.3f} ({images})"
    victims = paired_victims(*groups, "ssim")
    if over := victim_interval(victims):
        text += f", {over[0]:+.3f} to {over[1]:+.3f} ({victim_label(len(victims))})"
    return [f"{one.accuracy:.3f}", _recovered(one), _recovered(other), floor(one), text,
            unequal_budgets(groups)]  # fmt: skip


def _recovered(point: Point) -> str:
    """What an adversary recovers: dB, SSIM with its interval, share identified."""
    identified = point.group.score("identification")
    return f"{point.score('psnr_db'):.2f}, {span(point, 'ssim')}, {identified:.0%}"


def _strong_ones(found: Iterable[SplitResults]) -> Iterable[tuple[SplitResults, str, Point]]:
    """Attacks that are not the paper's, nor a trial with the paper's, by split."""
    for panel in sorted(found, key=lambda panel: (panel.dataset, depth(panel.split))):
        for adversary in panel.adversaries:
            point = adversary.undefended
            if point is None or adversary.blind or adversary.attack.endswith("_paper"):
                continue
            if not is_published(point.group.one):
                yield panel, adversary.attack, point


def strongest(found: Iterable[SplitResults]) -> Rows:
    """What the adversaries that are not the paper's recover where nothing defends."""
    rows: Rows = [
        ["setting", "adversary", "dB", "SSIM", "identified", "blind floor", "seeds (images)"]
    ]
    for panel, attack, point in _strong_ones(found):
        rows.append([
            _place(panel), attack, span(point, "psnr_db"), span(point, "ssim"),
            f"{point.group.score('identification'):.0%}", floor(point), seeds(point),
        ])  # fmt: skip
    return rows


def _place(panel: SplitResults) -> str:
    """A panel's title, but that all records here share their targets."""
    settings = next(p.group.one for a in panel.adversaries for p in (*a.points, a.undefended) if p)
    aux = settings.config["dataset"].get("aux", "disjoint")
    images = "" if aux == "disjoint" else f", the adversary's images: {aux}"
    return f"{panel.dataset} at {panel.split}{images}"


def document(records: Sequence[Record], how: str, gaps: Mapping[str, object] | None = None,
             makers: Mapping[str, str] | None = None) -> str:  # fmt: skip
    """``sweeps/README.md``: what the paper says and what is measured, side by side.

    Args:
        records: Of a store.
        how: The command that wrote it.
        gaps: Groups that lack a seed.
        makers: The command that made a record, by its key.
    """
    makers = makers or {}
    kept = comparable(records)
    found = panels(kept, gaps)
    measured = matched(found)
    parts = [
        HEAD.format(how=how, legend=LEGEND),
        *(f"\nThis store {line}.\n" for line in mixed_victims(kept)),
        *_sources(measured, found, makers),
        *_not_met(measured),
        *_strong(found, makers),
        *_knowing(found, makers),
        VERDICTS,
        as_markdown(statements(kept)),
        FIGURES,
        _cost(kept, len(records)),
    ]
    return "".join(parts)


def _sources(
    measured: Matched, found: Sequence[SplitResults], makers: Mapping[str, str]
) -> Iterable[str]:
    rows = tables(measured, found)
    for source, (name, command) in SOURCES.items():
        yield f"\n### {name}\n\n"
        if source not in rows:
            yield f"`python -m privbench {command}`\n\nNot measured: no record of these settings lies in the store.\n"  # fmt: skip
            continue
        yield _made(
            [p for row, (_, p) in measured.items() if row.source == source], makers, command
        )
        if source in ("fig9", "fig10", "fig13"):
            told = filter(None, (agreement(measured, source), scale(measured, source)))
            yield "".join(f"\n{sentence}.\n" for sentence in told)
        table = as_markdown(rows[source])
        yield _folded("all numbers", table) if len(rows[source]) > 16 else f"\n{table}"


def _made(points: Iterable[Point], makers: Mapping[str, str], command: str) -> str:
    """The commands that made what is shown, and the time it took."""
    records = [record for point in points for record in point.group.records]
    typed = sorted({makers[record.key] for record in records if record.key in makers})
    shown = "\n".join(typed or [f"python -m privbench {command}"])
    return f"```\n{shown}\n```\n\n{_took(records)}.\n"


def _not_met(measured: Matched) -> Iterable[str]:
    _, *missed = rows = misses(measured)
    if not missed:
        return
    accuracies = [row for row in missed if row[2] == "accuracy"]
    metrics = [metric for _, _, metric in printed(measured)]
    yield (
        f"\n## What is not met\n\n{len(missed) - len(accuracies)} of "
        f"{len(metrics) - metrics.count('accuracy')} published scores lie further than "
        f"{NEAR['psnr_db']:g} dB or {NEAR['ssim']:g} in SSIM from those here, on the same ten images "
        "for MNIST and on others for CIFAR-10, whose are not all known; "
        f"{len(accuracies)} of {metrics.count('accuracy')} accuracies further than "
        f"{NEAR['accuracy']:g}. [The README](../README.md#the-paper-reproduced) says which reasons "
        "were found.\n"
    )
    yield _folded("all of them", as_markdown(rows))


def _strong(found: Sequence[SplitResults], makers: Mapping[str, str]) -> Iterable[str]:
    if len(rows := strongest(found)) == 1:
        return
    yield "\n## Without a defense, by the strongest\n\n"
    yield _made([point for *_, point in _strong_ones(found)], makers, "sweeps=strongest")
    yield f"\n{as_markdown(rows)}"


def _knowing(found: Sequence[SplitResults], makers: Mapping[str, str]) -> Iterable[str]:
    for pair, differ in PAIRS.items():
        if len(rows := gap(found, pair)) == 1:
            continue
        behind = [p for a in _adversaries(found, pair) for p in a.points]
        yield f"\n## What knowing of the defense adds: {pair[1]} less {pair[0]}\n\n{differ}\n\n"
        sweep = "fig9_mnist" if pair[0] == "rmle_paper" else "adaptive"
        yield _made(behind, makers, f"sweeps={sweep} attack={','.join(pair)}")
        table = as_markdown(rows)
        yield _folded("all settings", table) if len(rows) > 16 else f"\n{table}"


def _folded(summary: str, table: str) -> str:
    return f"\n<details><summary>{summary}</summary>\n\n{table}\n</details>\n"


def _adversaries(found: Iterable[SplitResults], names: Sequence[str]) -> list[Adversary]:
    return [a for panel in found for a in panel.adversaries if a.attack in names]


def _took(records: Iterable[Record]) -> str:
    """What cells took, whichever other cells they share their points with."""
    cells = {record.key: record for record in records}.values()
    minutes = sum(record.seconds["total"] for record in cells) / 60
    threads = ", ".join(sorted({str(record.threads) for record in cells}))
    return f"{len(cells)} cells, {minutes:.0f} minutes of computing ({threads} threads a job)"


def write_figures(selection: Selection, folder: Path) -> list[Path]:
    """The README's picture: what is recovered by split and defense, and what knowing adds."""
    from privbench.report.figures import encoded, knowledge, pictures_in

    found = panels(selection.records, selection.gaps)
    pair = next(iter(PAIRS))
    for panel in found:
        if (panel.dataset, panel.split, panel.transmissions) != ("mnist", "relu2", 1):
            continue
        figure = knowledge(
            panel,
            pair,
            "dropout",
            0.6,
            pictures_in(selection.store),
            _shown(selection.records),
            TEN,
        )
        if figure:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "dropout.png").write_bytes(encoded(figure, "png"))
            return [folder / "dropout.png"]
    return []


def _shown(records: Iterable[Record]) -> dict[str, Point | None]:
    """Settings of the README's picture that are no dropout at relu2, those that were measured."""
    numbers = MeasuredResults.of(records)
    spots = {
        f"no defense, {split}, rmle_paper": numbers.attack("mnist", split, "rmle_paper")
        for split in ("conv1", "relu2")
    }
    curves = {
        "no defense, pool2, rmle_paper": ("pool2", "dropout", "features", 0.0),
        "gaussian 1, rmle_paper": ("relu2", "gaussian", "features", 1.0),
        "gaussian 1 on the input, rmle_paper": ("relu2", "gaussian", "input", 1.0),
    }
    for name, (split, defense, site, strength) in curves.items():
        curve = numbers.curve("mnist", split, defense, site, "ssim")
        spots[name] = next((spot for spot in curve if spot.strength == strength), None)
    return {name: spot.point for name, spot in spots.items() if spot}


def _cost(records: Sequence[Record], held: int) -> str:
    hours = sum(record.seconds["total"] for record in records) / 3600
    machines = sorted({f"{record.device}, {record.threads} threads a job" for record in records})
    seeds = sorted({record.seed for record in records})
    versions = sorted({f"{n} {v}" for r in records for n, v in r.versions.items()})
    return (
        f"\n{len(records)} cells, seeds {', '.join(map(str, seeds))}, {hours:.1f} hours of computing "
        f"({'; '.join(machines)}), {', '.join(versions)}. They are those of the store's {held} "
        "records that share the commonest victim, choice of targets and seeds, sent once.\n"
    )


HEAD = """# Sweeps

A file here is one figure or table: `python -m privbench sweeps=NAME` runs it, the same command goes on with it, and what is typed beside it replaces that axis. Its end writes a page, `outputs/sweeps/NAME/report/index.html`; `python -m privbench.report outputs/sweeps/NAME` writes it again.

![The page of figure 9: what is seen, the curves, the recovered images](../.github/report.png)

Weights & Biases, without a network: runs lie in `outputs/wandb`, and `wandb sync outputs/wandb/offline-run-*` uploads them, a sweep as a group with a summary run that holds its table and curves. `python -m privbench.tracking.dashboard --entity ME --project privbench` makes the workspace to look at them in. `wandb sweep sweeps/wandb/grid.yaml` lets W&B's agents drive.

## The paper beside what is measured

Written by `{how}` from the records; nothing here is typed, and commands are shown as they were typed. Published numbers are means of ten images; *the same ten images here* are those, read from `per_image`, with the interval that ten images leave; *all images* holds them and more. The blind floor is what the best of the blind answers scores, which look at no feature. {legend}
"""

FIGURES = """
Not among them: figure 2, of latency and energy, which is no question of privacy; figures 3 to 8, 11, 12 and 14, which show images and give no number that is not in a table or a figure above (a sweep's page draws such images); figure 15's fc3, whose cloud would be empty.
"""

VERDICTS = f"""
## What the paper states

By SSIM and by PSNR, where both are given. *cannot be told*: not measured, or the interval holds zero, or seeds disagree (each trains a victim of its own), or less than 95 % of images drawn anew say the same of two curves. *accuracy at equal score*: of what is said to be better less that of the other, wherever the two curves meet. *alike*: our margins, {ALIKE["ssim"]:g} in SSIM, {ALIKE["psnr_db"]:g} dB, {ALIKE["accuracy"]:g} in accuracy. *of no concern*: nothing is defended, so there is nothing to know of. Images are counted once, whichever seeds attacked them, and both sides of a comparison are of the same seeds. *strongest here*: of all adversaries that met a setting, where at least one of them knows of the defense (one that knows may still attack as if it did not); of two defenses only adversaries that met both. Where depth alone defends, quality by depth is that of `rmle`, the one that was run at every split.

"""
