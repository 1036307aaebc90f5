"""A report's page: its parts, its edge cases, its behaviour in a real browser."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from privbench.analysis import tables
from privbench.analysis.operating_points import (
    headline,
    operating_points,
)
from privbench.analysis.selection import select
from privbench.analysis.tradeoffs import panels
from privbench.report import figures, image_grids
from privbench.report.__main__ import main
from privbench.report.summary import of_sweep
from privbench.report.writing import write
from privbench.store.sweep_log import SweepLog
from tests.records import curve, kept, record, sweep


def _written(tmp_path: Path, records, failed=()) -> str:
    folder = sweep(tmp_path, "figure", records, failed)
    page = write(select(folder, {}), folder / "report")
    return page.read_text()


def test_a_report_touches_nothing_but_its_own_files(tmp_path):
    """What an earlier one wrote and this one does not goes."""
    store = kept(tmp_path, curve())
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    write(select(store, {}), folder)
    assert list(folder.glob("tradeoff-*.png"))
    write(select(kept(tmp_path / "other", [record("none", 0.0)]), {}), folder)
    assert not list(folder.glob("tradeoff-*.png"))
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize("harm", ["gone", "broken"])
def test_pictures_that_cannot_be_read_are_gaps(tmp_path, harm):
    """The page is written all the same; odd names too."""
    records = [*curve(attack="a$x$b")]
    store = kept(tmp_path, records)
    path = store / "records" / records[1].key / "images.safetensors"
    path.unlink() if harm == "gone" else path.write_bytes(b"no tensors")
    text = write(select(store, {}), tmp_path / "report").read_text()
    assert "its images cannot be read" in text


def test_an_adversary_without_a_defense_does_not_empty_the_worst_case():
    """It met none, and is no rival where there is one."""
    (panel,) = panels([*curve(), record("none", 0.0, attack="inverse", ssim=0.9)])
    found = {choice.worst.strength: choice for choice in operating_points(panel, "ssim")}
    assert set(found) == {0.0, 0.2, 0.4, 0.8}
    assert found[0.0].adversary == "inverse"
    assert "least leakage" in headline(panel)


@pytest.mark.parametrize(
    "records",
    [
        [record()],
        [*curve()[1:]],
        [record(), record(steps=5000)],
        [record(), record(dataset="digits"), record(split="pool2")],
        [record(converged=0.2), record(strength=0.5, failed=3)],
        [],
    ],
    ids=["one cell", "no anchor", "duplicate strengths", "mixed data", "doubtful", "all failed"],
)
def test_edge_cases_have_a_page(tmp_path, records):
    """And their gaps are on it, escaped."""
    text = _written(tmp_path, records, [record(strength=0.9)])
    assert "1 cells have no record" in text
    assert "<script>boom" not in text
    assert "boom" in text
    names = {path.name for path in (tmp_path / "sweeps" / "figure" / "report").iterdir()}
    assert {"index.html", "cells.csv", "cells.md", "leakage.csv", "attacks.md"} <= names
    for stem in {name.rpartition(".")[0] for name in names if name.endswith(".png")}:
        assert f"{stem}.pdf" in names


def test_names_with_markup_are_escaped(tmp_path):
    """Whoever named them."""
    evil = "<script>alert(1)</script>"
    text = _written(tmp_path, [record(attack=evil, overrides=[f"attack={evil}"])])
    assert evil not in text


def test_a_gap_is_no_mean_over_survivors(tmp_path):
    """Two of three seeds: the point is no part of curve, worst case or comparison."""
    three = [one for seed in range(3) for one in curve(seed=seed)]
    lost = next(one for one in three if one.seed == 2 and one.strength == 0.4)
    folder = sweep(tmp_path, "figure", [one for one in three if one is not lost], [lost])
    selection = select(folder, {})
    (panel,) = panels(selection.records, selection.gaps)
    assert {c.worst.strength for c in operating_points(panel, "ssim")} == {0.0, 0.2, 0.8}
    (figure,) = figures.tradeoffs(panel)
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "dropout on features"]
    assert len(line.get_xdata()) == 3
    summary = of_sweep(SweepLog(folder))
    assert "11 cells, 1 more have no record" in summary
    assert "dropout 0.2 on features: accuracy" in summary
    assert "dropout 0.4 on features: accuracy" not in summary
    assert any("seeds are missing" in row[-1] for row in tables.attacks([panel]))


def test_a_report_without_papers_is_written(tmp_path):
    """Importing `privbench.papers` is blocked, as where the folder is deleted."""
    folder = sweep(tmp_path, "he2020-figure", curve(attack="rmle_paper"), [])
    code = (
        "import sys\n"
        "sys.modules['privbench.papers'] = None\n"
        "from privbench.report.__main__ import main\n"
        f"main([{str(folder)!r}])\n"
        "print([name for name in sys.modules if name.startswith('privbench.papers.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    heads = (folder / "report" / "attacks.csv").read_text().splitlines()[0]
    assert "SSIM" in heads
    assert "published" not in heads


def test_the_former_option_for_the_paper_names_its_command(tmp_path, report):
    """One line."""
    line, out, err = report(str(tmp_path), "--paper", "FILE")
    assert "python -m privbench.papers.he2020 FOLDER --write FILE" in line
    assert len(line.splitlines()) == 1
    assert (out, err) == ("", "")


@pytest.fixture
def report(capsys):
    """The command line in this process: exit code or message, standard output, standard error."""

    def call(*words: str) -> tuple[object, str, str]:
        code: object = 0
        try:
            main(words)
        except SystemExit as leaving:
            code = leaving.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_a_selection_of_a_store_is_reported_and_unreadable_records_are_named(tmp_path, report):
    """Those of an older schema too; the page says so."""
    store = kept(tmp_path, [*curve(), record(dataset="digits")])
    folder = store / "records" / "broken"
    folder.mkdir()
    (folder / "record.json").write_text("{")
    old = store / "records" / "old"
    old.mkdir()
    (old / "record.json").write_text('{"schema": 1}')
    code, out, err = report(str(store), "--dataset", "mnist")
    assert code == 0
    assert "broken/record.json is not a valid record" in err
    assert "its schema is 1" in err
    page = Path(out.split(" (")[0])
    assert page == tmp_path / "reports" / "store-mnist" / "index.html"
    text = page.read_text()
    assert "4 cells" in text
    assert "skipped, because they cannot be read" in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["{}/nothing"], "nothing is neither a sweep nor a store"),
        (["{}/store", "--dataset", "cifar10"], "holds no such record; it has dataset: mnist"),
        (["{}/empty"], "holds no such record"),
    ],
)
def test_nothing_to_report_is_one_line(tmp_path, report, words, line):
    """With what there is."""
    kept(tmp_path, curve())
    (tmp_path / "empty" / "records").mkdir(parents=True)
    found, out, err = report(*(word.format(tmp_path) for word in words))
    assert line in found
    assert len(found.splitlines()) == 1
    assert (out, err) == ("", "")


def test_a_report_imports_no_torch():
    """Nor does reading its numbers import matplotlib."""
    code = (
        "import sys, privbench.report.writing, privbench.report.__main__\n"
        "print([m for m in ('torch', 'matplotlib', 'wandb', 'hydra') if m in sys.modules])\n"
        "import privbench.report.figures, privbench.report.page\n"
        "print([m for m in ('torch', 'hydra', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_a_thousand_cells_are_one_page(tmp_path):
    """Of bounded size, with every cell in its table."""
    many = [
        record(defense, strength / 100, site, seed=seed, attack=attack, split=split)
        for defense in ("dropout", "gaussian")
        for strength in range(1, 26)
        for site in ("features", "input")
        for seed in range(2)
        for attack in ("rmle", "inverse")
        for split in ("relu2", "pool2", "fc1")
    ][:1000]
    folder = sweep(tmp_path, "big", many, [])
    selection = select(folder, {})
    found = panels(selection.records)
    assert sum(len(p.group.records) for a in found for v in a.adversaries for p in v.points) == 1000
    from privbench.report.page import page

    read = image_grids.image_loader(selection.store)
    text = page(selection, found, {}, {}, read, folder)
    assert text.count("<tr id=") == 1000
    assert len(text) < 12_000_000


CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A written page of two defenses and a cell without a record."""
    records = [*curve(), *curve("gaussian", "input", 0.05)[1:]]
    folder = sweep(tmp_path_factory.mktemp("page"), "figure", records, [record(strength=0.9)])
    return write(select(folder, {}), folder / "report")


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="wants Debian's chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_sorts_filters_and_leads_from_a_point_to_its_images(browser, page, width):
    """Without a console error, a request to the network, or sideways scrolling of the page."""
    tab = browser.new_page(viewport={"width": width, "height": 900})
    errors, asked = [], []
    tab.on("console", lambda message: errors.append(message.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    rows = "#cells tbody tr[data-key]:visible"
    assert tab.locator(rows).count() == 8
    tab.fill("#search", "gaussian 0.4")
    assert tab.locator(rows).count() == 1
    assert tab.inner_text("#count") == "1 of 8"
    tab.fill("#search", "")
    for direction in (1, -1):
        tab.click("#cells th:nth-child(9) button")
        shown = tab.eval_on_selector_all(
            rows.replace(":visible", ""), "r => r.map(x => x.cells[8].textContent)"
        )
        numbers = [float(text) for text in shown if text]
        assert numbers == sorted(numbers, reverse=direction < 0)
    point = tab.locator("#curves svg a").first
    target = point.get_attribute("xlink:href") or point.get_attribute("href")
    assert target.startswith("#cell-")
    point.click(force=True)
    tab.wait_for_selector("tr.detail img")
    assert tab.url.endswith(target)
    assert tab.locator("tr.detail img").count() == 2
    natural = "i => i.every(x => x.complete && x.naturalWidth > 0)"
    assert tab.eval_on_selector_all("tr.detail img", natural)
    assert "python -m privbench attack=rmle" in tab.inner_text("tr.detail pre")
    link = tab.get_attribute("tr.detail a", "href")
    assert (page.parent / link / "record.json").is_file()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.fill("#search", "no record")
    tab.click(rows)
    assert "<script>boom</script>" in tab.inner_text("tr.detail")
    assert errors == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    tab.close()
