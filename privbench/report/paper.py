"""The paper beside the records: its tables and figures, and its statements with a verdict each.

``python -m privbench.report outputs --paper sweeps/README.md``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

from privbench.intervals import Interval, bca
from privbench.report.books import Measured, Printed, comparable
from privbench.report.claims import ALIKE, STATEMENTS, judged
from privbench.report.published import FIGURE_15, Published, beside, is_published
from privbench.report.selection import Selection
from privbench.report.tables import Rows, as_markdown, number, span
from privbench.report.tradeoffs import LAYERS, METRICS, NAMES, Adversary, Panel, Point, panels
from privbench.results import Record
from privbench.summary import Group, paired

TEN = (3, 2, 1, 18, 4, 8, 11, 0, 61, 7)
"""MNIST's test images behind the published numbers; figures 14 and 15 have ten of their own."""
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
NEAR = {"psnr_db": 2.0, "ssim": 0.07}
"""Within which a published number counts as reproduced."""
PAIRS = (
    ("rmle", "rmle_adaptive"),
    ("inverse_naive", "inverse"),
    ("inverse_naive", "inverse_adaptive"),
)
"""Adversaries that differ in knowing of the defense, or in asking the defended edge."""
Matched = Mapping[Published, tuple[Panel, Point]]
"""Published numbers that were measured, each with its point and what surrounds it."""


def statements(records: Sequence[Record]) -> Rows:
    """Every statement with its verdicts: by the paper's own numbers, and under two adversaries."""
    rows: Rows = [
        ["", "the paper states", "data", "the paper's own numbers", "published adversary here",
         "strongest here that knows of the defense"]
    ]  # fmt: skip
    published, adaptive = (Measured.of(records, adaptive=knows) for knows in (False, True))
    for at, statement in enumerate(STATEMENTS, 1):
        for dataset in statement.datasets:
            verdicts = [statement.check(Printed(), dataset), judged(statement, dataset, published)]
            if statement.adaptive:
                verdicts.append(judged(statement, dataset, adaptive))
            cells = [
                f"**{state}**<details><summary>numbers</summary>{told}</details>"
                for state, told in verdicts
            ]
            cells += [] if statement.adaptive else ["of no concern"]
            rows.append([str(at), statement.text, dataset, *cells])
    return rows


def matched(found: Iterable[Panel]) -> Matched:
    """Published numbers whose setting was measured."""
    points: dict[Published, tuple[Panel, Point]] = {}
    for panel in found:
        for adversary in panel.adversaries:
            anchor = [adversary.undefended] if adversary.undefended else []
            for point in (*anchor, *adversary.points):
                for row in beside(point.group.one) if point.complete else ():
                    points.setdefault(row, (panel, point))
    return points


def of_ten(row: Published, point: Point, metric: str) -> tuple[float, Interval] | None:
    """Mean over the published ten images alone, with its interval over them; null without them."""
    images = point.group.images(metric)
    ten = FIGURE_15 if row.source == "fig15" else TEN
    if row.dataset != "mnist" or not set(ten) <= set(images):
        return None
    values = [fmean(images[index].values()) for index in ten]
    return fmean(values), bca(values)


def _strongest(panel: Panel, point: Point) -> str:
    """Who recovers most in the same setting, of all that were measured; by SSIM."""
    one = point.group.one
    names = {
        id(p): a.attack
        for a in panel.adversaries
        for p in (*a.points, a.undefended)
        if p and not a.blind
    }
    setting = (one.defense, one.site, one.strength) if one.strength else ("none", "", 0.0)
    met = [p for p in panel.settings()[setting] if p.complete and id(p) in names]
    best = max(met, key=lambda p: p.score("ssim"))
    numbers = " / ".join(number(best.score(metric), metric) for metric in ("psnr_db", "ssim"))
    return f"{names[id(best)]} {numbers}"


def _setting(row: Published) -> str:
    defense = f", {row.defense} {row.strength:g} on {row.site}" if row.strength else ""
    aux = f", images: {row.aux}" if row.aux else ""
    steps = f" ({row.steps} steps)" if row.steps else ""
    return f"{row.dataset} {row.split}, {row.attack}{steps}{aux}{defense}"


def tables(measured: Matched) -> dict[str, Rows]:
    """Published beside measured, by table and figure; a row for each published number."""
    head = ["setting", "published dB / SSIM", "the same ten images here", "all images here",
            "seeds (images)", "blind floor", "strongest that met it (by SSIM)",
            "accuracy: published, here"]  # fmt: skip
    rows: dict[str, Rows] = defaultdict(lambda: [head])
    for row in sorted(measured, key=lambda row: (row.source, row.dataset == "cifar10")):
        panel, point = measured[row]
        told = {metric: of_ten(row, point, metric) for metric in METRICS}
        line = [
            _setting(row),
            f"{number(row.psnr_db, 'psnr_db') or '-'} / {number(row.ssim, 'ssim') or '-'}",
            " / ".join(_short(told[metric], metric) for metric in ("psnr_db", "ssim")),
            f"{span(point, 'psnr_db')} / {span(point, 'ssim')}",
            _seeds(point),
            _floor(point),
            _strongest(panel, point),
            f"{row.accuracy:.3f}, {point.accuracy:.3f}" if row.accuracy else "",
        ]
        if line not in rows[row.source]:  # curves share the point without a defense
            rows[row.source].append(line)
    return dict(rows)


def _short(told: tuple[float, Interval] | None, metric: str) -> str:
    if told is None:
        return "-"
    value, (low, high) = told
    return f"{number(value, metric)} [{number(low, metric)}, {number(high, metric)}]"


def agreement(measured: Matched, source: str) -> str:
    """How far a figure's curves lie from the published ones at equal strength, on the same images."""
    differences: dict[str, list[float]] = defaultdict(list)
    for row, (_, point) in measured.items():
        if row.source == source and row.ssim is not None:
            name = row.split if source == "fig13" else f"{row.defense} on {row.site}"
            differences[name].append(_here(row, point, "ssim") - row.ssim)
    return "; ".join(
        f"{name}: median |difference| to the published SSIM {median(map(abs, values)):.3f}, "
        f"largest {max(map(abs, values)):.3f}"
        for name, values in sorted(differences.items())
    )


def misses(measured: Matched) -> Rows:
    """Published numbers that are not met, on the same images as far as these are known.

    With what each seed alone gives: it trains a victim of its own, and the paper had one.
    """
    rows: Rows = [["where", "setting", "metric", "published", "here", "difference", "by seed"]]
    for (source, setting, metric), (row, point) in _printed(measured).items():
        printed, here = getattr(row, metric), _here(row, point, metric)
        if abs(here - printed) <= NEAR[metric]:
            continue
        difference = f"{here - printed:+.3f}" if metric == "ssim" else f"{here - printed:+.2f}"
        alone = [
            _here(row, Point(Group([record])), metric)
            for record in sorted(point.group.records, key=lambda record: record.seed)
        ]
        rows.append([source, setting, NAMES[metric], number(printed, metric),
                     number(here, metric), difference, ", ".join(number(s, metric) for s in alone)])  # fmt: skip
    return rows


def _printed(measured: Matched) -> Mapping[tuple[str, str, str], tuple[Published, Point]]:
    """Distinct printed numbers by place, setting and metric: curves share the undefended one."""
    distinct: dict[tuple[str, str, str], tuple[Published, Point]] = {}
    for row, (_, point) in measured.items():
        for metric in METRICS:
            if getattr(row, metric) is not None:
                distinct.setdefault((row.source, _setting(row), metric), (row, point))
    return distinct


def _here(row: Published, point: Point, metric: str) -> float:
    """Of the ten published images where they are known and there, of all images elsewhere."""
    told = of_ten(row, point, metric)
    return told[0] if told else point.score(metric)


def gap(found: Sequence[Panel], pair: tuple[str, str]) -> Rows:
    """What knowing of the defense adds, on the same images.

    Args:
        found: All that was measured.
        pair: The attack that does not know of the defense, and the one that does.
    """
    rows: Rows = [["setting", "accuracy", *pair, "paired difference of SSIM, 95 %"]]
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
            difference = paired(other.group, one.group, "ssim")
            told = f"{difference[0]:+.3f} to {difference[1]:+.3f}" if difference else "-"
            defense, site, strength = setting
            rows.append(
                [f"{_place(panel)}, {defense} {strength:g} on {site}", f"{one.accuracy:.3f}",
                 span(one, "ssim"), span(other, "ssim"), told]
            )  # fmt: skip
    return rows


def strongest(found: Sequence[Panel]) -> Rows:
    """What the adversaries that are not the paper's recover where nothing defends."""
    rows: Rows = [
        ["setting", "adversary", "dB", "SSIM", "identified", "blind floor", "seeds (images)"]
    ]
    for panel in sorted(found, key=lambda panel: (panel.dataset, LAYERS.index(panel.split))):
        for adversary in panel.adversaries:
            point = adversary.undefended
            if point is None or adversary.blind or is_published(point.group.one):
                continue
            if adversary.attack.endswith("_paper"):  # the paper's with an option changed: a trial
                continue
            rows.append([
                _place(panel), adversary.attack, span(point, "psnr_db"), span(point, "ssim"),
                f"{point.group.score('identification'):.0%}", _floor(point), _seeds(point),
            ])  # fmt: skip
    return rows


def _place(panel: Panel) -> str:
    """A panel's title, but that all records here share their targets."""
    settings = next(p.group.one for a in panel.adversaries for p in (*a.points, a.undefended) if p)
    aux = settings.config["dataset"].get("aux", "disjoint")
    images = "" if aux == "disjoint" else f", the adversary's images: {aux}"
    return f"{panel.dataset} at {panel.split}{images}"


def _floor(point: Point) -> str:
    return " / ".join(number(point.group.floor(m), m) for m in ("psnr_db", "ssim"))


def _seeds(point: Point) -> str:
    seeds = ", ".join(str(seed) for seed in sorted(r.seed for r in point.group.records))
    return f"{seeds} ({point.group.one.targets})"


def document(records: Sequence[Record], how: str, gaps: Mapping[str, object] | None = None) -> str:
    """``sweeps/README.md``: what the paper says and what is measured, side by side.

    Args:
        records: Of a store.
        how: The command that wrote it.
        gaps: Groups that lack a seed.
    """
    held = len(records)
    records = comparable(records)
    found = panels(records, gaps)
    measured = matched(found)
    parts = [HEAD.format(how=how)]
    told = tables(measured)
    for source, (name, command) in SOURCES.items():
        parts.append(f"\n### {name}\n\n`python -m privbench {command}`\n")
        if source not in told:
            parts.append("\nNot measured: no record of these settings lies in the store.\n")
            continue
        behind = [p for row, (_, p) in measured.items() if row.source == source]
        parts.append(f"\n{_took(record for p in behind for record in p.group.records)}.\n")
        if source in ("fig9", "fig10", "fig13"):
            parts.append(f"\n{agreement(measured, source)}.\n")
        table = as_markdown(told[source])
        long = len(told[source]) > 16
        parts.append(_folded("all numbers", table) if long else f"\n{table}")
    if len(missed := misses(measured)) > 1:
        parts.append(
            f"\n## What is not met\n\n{len(missed) - 1} of {len(_printed(measured))} published numbers lie "
            f"further than {NEAR['psnr_db']:g} dB or {NEAR['ssim']:g} in SSIM from the same images "
            "here. [The README](../README.md#the-paper-reproduced) says which reasons were found.\n"
        )
        parts.append(_folded("all of them", as_markdown(missed)))
    if len(strong := strongest(found)) > 1:
        parts.append(
            "\n## Without a defense, by the strongest\n\n`python -m privbench sweeps=strongest`\n\n"
        )
        parts.append(as_markdown(strong))
    for pair in PAIRS:
        if len(known := gap(found, pair)) > 1:
            behind = [p for a in _adversaries(found, pair) for p in a.points]
            defenses = {point.group.one.defense for point in behind}
            alone = f" defense={defenses.pop()}" if len(defenses) == 1 else ""
            parts.append(
                f"\n## What knowing of the defense adds: {pair[1]} less {pair[0]}\n\n`python -m privbench "
                f"sweeps=adaptive attack={','.join(pair)}{alone}`\n\n"
                f"{_took(record for p in behind for record in p.group.records)}.\n\n"
            )
            parts.append(as_markdown(known))
    parts.append(VERDICTS)
    parts.append(as_markdown(statements(records)))
    parts.append(
        "\nNot among them: figure 2, of latency and energy, which is no question of privacy.\n"
    )
    parts.append(_cost(records, held))
    return "".join(parts)


def _folded(summary: str, table: str) -> str:
    return f"\n<details><summary>{summary}</summary>\n\n{table}\n</details>\n"


def _adversaries(found: Iterable[Panel], names: Sequence[str]) -> list[Adversary]:
    return [a for panel in found for a in panel.adversaries if a.attack in names]


def _took(records: Iterable[Record]) -> str:
    """What cells took, whichever other cells they share their points with."""
    cells = {record.key: record for record in records}.values()
    minutes = sum(record.seconds["total"] for record in cells) / 60
    threads = ", ".join(sorted({str(record.threads) for record in cells}))
    return f"{len(cells)} cells, {minutes:.0f} minutes of computing ({threads} threads a job)"


def pictures(selection: Selection, folder: Path) -> list[Path]:
    """The README's picture: what is recovered by split and defense, and what knowing adds."""
    from privbench.report.figures import encoded, knowledge, pictures_in

    found = panels(selection.records, selection.gaps)
    pair = PAIRS[0]
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
    numbers = Measured.of(records)
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

Weights & Biases, without a network: runs lie in `outputs/wandb`, and `wandb sync outputs/wandb/offline-run-*` uploads them, a sweep as a group with a summary run that holds its table and curves. `python -m privbench.dashboard --entity ME --project privbench` makes the workspace to look at them in. `wandb sweep sweeps/wandb/grid.yaml` lets W&B's agents drive.

## The paper beside what is measured

Written by `{how}` from the records; nothing here is typed. Published numbers are means of ten images; *the same ten images here* are those, read from `per_image`, with the interval that ten images leave; *all images* holds them and more. The blind floor is what the best of four answers scores that look at no feature. Brackets are 95 % over images.
"""

VERDICTS = f"""
## What the paper states

By SSIM and by PSNR, where both were told. *cannot be told*: not measured, or the interval holds zero, or seeds disagree (each trains a victim of its own). *accuracy at equal score*: of what is said to be better less that of the other, wherever the two curves meet. *alike*: our margins, {ALIKE["ssim"]:g} in SSIM and {ALIKE["psnr_db"]:g} dB. *of no concern*: no defense that one could know of. Images are counted once, whichever seeds attacked them. The last column's adversary is of any kind where nothing defends.

"""
