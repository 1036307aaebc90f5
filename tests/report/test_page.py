"""A report's page: its parts, its edge cases, its behaviour in a real browser."""

import dataclasses
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from privbench.evaluation.statistics import student_t
from privbench.report import rendering, writing
from privbench.report.__main__ import main
from privbench.report.analysis import tables
from privbench.report.analysis.finding import statement
from privbench.report.analysis.images import image_loader
from privbench.report.analysis.operating_points import (
    operating_points,
)
from privbench.report.analysis.overlay import no_overlay
from privbench.report.analysis.selection import select
from privbench.report.analysis.tradeoffs import panels
from privbench.report.image_sheets import ImageSheets
from privbench.report.page_data import page_data
from privbench.report.summary import of_sweep
from privbench.report.writing import curve_figures, write
from privbench.store.sweep_log import SweepLog
from tests.records import curve, kept, page_of, page_text, record, rows_of, sweep


def _files(figure) -> dict[str, bytes]:
    return {f"{figure.stem}.{form}": b"" for form in ("svg", "png", "pdf")}


@pytest.fixture
def without_scripts(monkeypatch):
    """The page holds no library that draws: to bundle it takes seconds; its data is readable."""
    monkeypatch.setattr("privbench.report.page.packed", str)
    monkeypatch.setattr("privbench.report.page.scripts", str)


@pytest.fixture
def undrawn(monkeypatch, without_scripts):
    """Figures are files of their names: what draws them has its own tests."""
    monkeypatch.setattr(rendering.Figure, "files", _files)


def _written(tmp_path: Path, records, failed=()) -> str:
    folder = sweep(tmp_path, "figure", records, failed)
    page = write(select(folder, {}), folder / "report")
    return page.read_text()


def test_a_report_touches_nothing_but_its_own_files(tmp_path, undrawn):
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
def test_pictures_that_cannot_be_read_are_gaps(tmp_path, harm, undrawn):
    """The page is written all the same; odd names too."""
    records = [*curve(attack="a$x$b")]
    store = kept(tmp_path, records)
    path = store / "records" / records[1].key / "images.safetensors"
    path.unlink() if harm == "gone" else path.write_bytes(b"no tensors")
    text = write(select(store, {}), tmp_path / "report").read_text()
    assert text.count("its images cannot be read") == 1


def test_an_adversary_without_a_defense_does_not_empty_the_worst_case():
    """It met none, and is no rival where there is one."""
    (panel,) = panels([*curve(), record("none", 0.0, attack="inverse", ssim=0.9)])
    found = {choice.worst.strength: choice for choice in operating_points(panel, "ssim")}
    assert set(found) == {0.0, 0.2, 0.4, 0.8}
    assert found[0.0].adversary == "inverse"
    assert "least worst-case leakage" in statement(panel)


@pytest.mark.long
@pytest.mark.parametrize(
    "records",
    [
        [*curve()[1:], record(steps=5000)],
        [
            record(converged=0.2),
            record("gaussian", failed=3),
            record(dataset="digits"),
            record(split="pool2"),
        ],
        [],
    ],
    ids=["no anchor, a strength twice", "doubtful, mixed data", "all failed"],
)
def test_edge_cases_have_a_page(tmp_path, records, without_scripts):
    """And their gaps are on it, escaped."""
    text = _written(tmp_path, records, [record(strength=0.9)])
    assert "1 cells are missing" in text
    assert "<script>boom" not in text
    assert "boom" in text
    names = {path.name for path in (tmp_path / "sweeps" / "figure" / "report").iterdir()}
    assert {"index.html", "cells.csv", "cells.md", "leakage.csv", "attacks.md"} <= names
    for stem in {name.rpartition(".")[0] for name in names if name.endswith(".png")}:
        assert f"{stem}.pdf" in names


def test_the_first_lines_are_of_the_setting_of_most_cells(tmp_path):
    """And not of the first in the alphabet; those of others wait for their choice."""
    few = record(split="pool2", adaptive=True)
    text = page_text(tmp_path, [few, *curve()])
    blocks = re.findall(r'<div class=finding data-setting="(.*?)"( hidden)?>', text)
    assert blocks == [("mnist pool2", " hidden"), ("mnist relu2", "")]
    pool2, relu2 = text.split("<div class=finding")[1:]
    assert (
        "<h1>mnist pool2: " in pool2 and "Not tested against an attacker who knows it" not in pool2
    )
    assert "Undefended: not attacked" in pool2 and "Undefended" not in relu2
    assert "<em>Not tested against an attacker who knows it.</em> mnist relu2: " in relu2


def test_a_command_leaves_out_the_outputs_folder_of_the_page(tmp_path):
    """And no other; what is missing without a defense is added to what was typed."""
    typed = "python -m privbench -m attack=rmle defense=dropout,gaussian defense.rate=0.2,0.4"
    selection = select(sweep(tmp_path, "figure", curve()[1:], []), {})
    for folder in (tmp_path, tmp_path / "other"):
        command = f"{typed} output_dir={folder}"
        text = page_of(dataclasses.replace(selection, commands=[command]), tmp_path)
        rest = "" if folder == tmp_path else f" output_dir={folder}"
        added = typed.replace(" defense=dropout,gaussian", "")
        assert f"<pre>{added}{rest} defense=none,dropout</pre>" in text
        assert ("leave out output_dir" in text) == (folder == tmp_path)


def test_names_with_markup_are_escaped(tmp_path, undrawn):
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
    figure = next(curve_figures([panel], no_overlay))
    assert [row["strength"] for row in rows_of(figure, "point")] == [0.2, 0.8]
    summary = of_sweep(SweepLog(folder)).whole
    assert "11 cells, 1 more have no record" in summary
    assert "\n dropout 0.2 on features    0.9850" in summary
    assert "\n dropout 0.4 on features" not in summary
    assert any("seeds are missing" in row[-1] for row in tables.attacks([panel]))


@pytest.mark.fault
def test_a_second_process_draws_the_same_files(tmp_path, monkeypatch, without_scripts):
    """It draws those of many records; what fails in it fails here."""
    folder, several = sweep(tmp_path, "figure", curve(), []), writing.MANY
    pages = []
    for name, many in (("here", several), ("there", 1)):
        monkeypatch.setattr(writing, "MANY", many)
        pages.append(write(select(folder, {}), tmp_path / name).parent)
    here, there = ({one.name: one.read_bytes() for one in page.iterdir()} for page in pages)
    assert sum(name.endswith(".svg") for name in here) >= 2
    assert {n: data for n, data in here.items() if n.endswith((".svg", ".png"))} == {
        n: data for n, data in there.items() if n.endswith((".svg", ".png"))
    }


@pytest.mark.long
def test_a_report_without_papers_is_written(tmp_path):
    """Importing `privbench.papers` is blocked, as where the folder is deleted."""
    folder = sweep(tmp_path, "he2020-figure", curve(attack="rmle_paper"), [])
    code = (
        "import sys\n"
        "sys.modules['privbench.papers'] = None\n"
        "import privbench.report.rendering as rendering\n"
        "rendering.scripts, rendering.Figure.files = str, lambda figure: {}\n"
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


def test_a_selection_of_a_store_is_reported_and_unreadable_records_are_named(
    tmp_path, report, undrawn
):
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
    assert "left out: " in text


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
    """Nor does reading its numbers import what draws."""
    code = (
        "import sys, privbench.report.writing, privbench.report.__main__\n"
        "print([m for m in ('torch', 'altair', 'wandb') if m in sys.modules])\n"
        "import privbench.report.curves, privbench.report.page\n"
        "print([m for m in ('torch', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_without_the_extra_a_line_says_how_to_get_the_page(tmp_path, report, monkeypatch):
    """The tables of the sweep are in the terminal already."""
    folder = sweep(tmp_path, "figure", curve(), [])
    lacking = lambda name: None if name in ("altair", "vl_convert") else name  # noqa: E731
    monkeypatch.setattr(rendering, "find_spec", lacking)
    line, _, _ = report(str(folder))
    assert line == (
        "privbench: a page needs altair and vl_convert: pip install 'privbench[report]', "
        f"then python -m privbench.report {folder}"
    )


def test_a_page_of_many_cells_has_all_of_them_and_all_of_their_images(tmp_path):
    """In one file."""
    settings = product(
        ("dropout", "gaussian"), range(1, 25), ("features", "input"), ("rmle", "inverse")
    )
    many = [
        record(defense, strength / 100, site, seed=at, attack=attack)  # other images of each seed
        for at, (defense, strength, site, attack) in enumerate(settings)
    ]
    folder = sweep(tmp_path, "big", many, [])
    selection = select(folder, {})
    sheets = ImageSheets.read(selection.records, image_loader(selection.store))
    data = page_data(selection, panels(selection.records), [], sheets, folder)
    assert len(data["cells"]) == len(many) == 192
    sources = {sheet["source"] for sheet in data["sheets"].values()}
    assert all(source.startswith("data:") for source in sources), "one file: nothing in images/"
    assert sheets.files == {}
    assert all(data["sheets"][cell["recovered"]]["images"] == 6 for cell in data["cells"])
    held = {column["name"]: column["constant"] for column in data["columns"]}
    assert (held["dataset"], held["attack"]) == ("mnist", None)


CHROMIUM = shutil.which("chromium")
IN_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.skipif(not CHROMIUM, reason="wants Debian's chromium: apt-get install chromium"),
]


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="session")
def page(tmp_path_factory) -> Path:
    """A written page of two attacks, two defenses, two split points and a cell without a record."""
    records = [
        *curve(targets=24), *curve("gaussian", "input", 0.05, targets=24)[1:],
        *curve(attack="inverse", adaptive=True, shift=0.1, targets=24),
        *curve(split="pool2", targets=24),
        record("dropout", 0.4, split="pool2", ssim=0.4, accuracy=0.975, targets=24, seed=1),
    ]  # fmt: skip
    folder = sweep(tmp_path_factory.mktemp("page"), "figure", records, [record(strength=0.9)])
    with mock.patch.object(rendering.Figure, "files", _files):
        return write(select(folder, {}), folder / "report")


@pytest.fixture
def tab(browser, page, request):
    """The page in a tab of a width; no console error, no request to the network."""
    width = getattr(request, "param", 1280)
    scheme = "dark" if width < 640 else "light"
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    errors, asked = [], []
    tab.on("console", lambda message: errors.append(message.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_selector("#curves svg")
    yield tab
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.close()
    assert errors == []
    assert all(url.startswith(("file:", "data:")) for url in asked)


ROWS = "#table tbody tr[id]:visible"


@pytest.mark.parametrize("tab", [1280, 400], indirect=True)
def test_cells_are_filtered_by_column_and_by_word_sorted_and_opened(tab, page):
    """A number is a number and not a part of one; a column that does not exist is named."""
    for words, count in {
        "": 17, "attack=inverse": 4, "strength=0.4": 5, "0.4 gaussian": 1, "strength>=0.4": 10,
        '"gaussian 0.4"': 1, '"gaussian 0" rmle': 0, '"dropout 0.4 on features" split=relu2': 2,
        "ssim<0.45 rmle split=relu2": 3, "attack=rmle,inverse split!=pool2": 12, "defense=none": 0,
    }.items():  # fmt: skip
        tab.fill("#search", words)
        assert tab.locator(ROWS).count() == count, words
    tab.fill("#search", "ssim<high")
    assert tab.inner_text("#count") == "ssim<high: type a number"
    tab.fill("#search", "colour=red")
    assert tab.inner_text("#count").startswith("no column colour: dataset")
    tab.fill("#search", "")
    for down in (False, True):
        tab.evaluate(
            "[...document.querySelectorAll('th button')].find(b => b.textContent === 'SSIM').click()"
        )
        numbers = tab.eval_on_selector_all(
            "#table td[data-label=SSIM]", "cells => cells.map(cell => cell.textContent)"
        )
        assert (shown := [float(text.split()[0]) for text in numbers if text]) == sorted(
            shown, reverse=down
        )
        assert numbers[-1] == "", "a cell without a record comes last in either direction"
    tab.evaluate(
        "const select = document.getElementById('sort');"
        "select.value = [...select.options].find(o => o.text === 'SSIM, ascending').value;"
        "select.dispatchEvent(new Event('change'));"
    )
    assert tab.eval_on_selector_all("#table td[data-label=SSIM]", "all => all[0].textContent")
    assert tab.locator("th[aria-sort=ascending]").count() == 1
    tab.fill("#search", "record boom")
    tab.click(f"{ROWS} .open")
    assert "<script>boom</script>" in tab.inner_text("tr.detail")
    tab.fill("#search", "gaussian strength=0.2")
    tab.click(f"{ROWS} .open")
    assert "python -m privbench attack=rmle" in tab.inner_text("tr.detail pre")
    assert (page.parent / tab.get_attribute("tr.detail a", "href")).is_file()
    tab.click("tr.detail button")
    assert "gaussian 0.2 on input" in tab.inner_text("#images .chosen")


def test_a_strength_and_an_image_are_selected_by_keyboard_alone(tab):
    """The original is next to it; arrow keys move between images."""
    tab.focus("#images select[data-level=strength]")
    tab.keyboard.press("ArrowDown")
    chosen = "#images .chosen"
    assert "rmle, dropout 0.4 on features" in tab.inner_text(chosen)
    assert tab.evaluate("document.activeElement.dataset.level") == "strength", "the focus stays"
    assert tab.locator("#images .grid button").count() == 24
    tab.focus("#images .grid button[tabindex='0']")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text(chosen).startswith("Image 2 by rmle, dropout 0.4 on features: SSIM")
    labels = tab.eval_on_selector_all(
        "#images .strengths .thumb", "found => found.map(one => one.getAttribute('aria-label'))"
    )
    assert labels == [
        "original 2", *(f"reconstruction at strength {s}" for s in ("0", "0.2", "0.4", "0.8"))
    ]  # fmt: skip
    sources = "found => found.every(one => getComputedStyle(one).backgroundImage.includes('data:image/webp'))"
    assert tab.eval_on_selector_all("#images .thumb", sources)


def test_a_setting_a_score_and_a_point_are_chosen(tab):
    """Curves, tables and images follow; a point opens its images, its tooltip has its command."""
    assert tab.locator("#curves figure svg").count() >= 1
    tab.select_option("#metric", label="PSNR [dB]")
    tab.wait_for_function("document.querySelector('#curves').textContent.includes('PSNR')")
    tab.select_option("#metric", label="SSIM")
    tab.select_option("#setting", label="mnist pool2")
    assert tab.locator("#tables tr[data-setting='mnist relu2']:visible").count() == 0
    tab.wait_for_selector("#curves svg .mark-symbol path")
    point = tab.locator('#curves svg g.mark-symbol.role-mark path[role="button"]').first
    point.hover(force=True)
    tip = tab.inner_text("#tip")
    assert "python -m privbench attack=rmle" in tip and "blind 0.350" in tip and "[" in tip
    point.click(force=True)
    assert "by rmle, dropout" in tab.inner_text("#images .chosen")


def test_two_cells_are_compared_on_the_same_images(tab, page):
    """The paired difference and its t interval, as scipy has them."""
    a, b = (f"#compare .sides > div:nth-child({n}) select[data-level=" for n in (1, 2))
    tab.select_option(f"{a}attack]", "rmle")
    tab.select_option(f"{a}strength]", "0.4")
    tab.select_option(f"{b}attack]", "inverse")
    tab.select_option(f"{b}strength]", "0.8")
    one, other = (
        record("dropout", 0.4, ssim=0.4, targets=24),
        record("dropout", 0.8, ssim=0.3, targets=24),
    )
    differences = np.subtract(*(r.scores["ssim"].per_image for r in (one, other)))
    low, high = student_t(differences)
    verdict = tab.inner_text("#compare .verdict")
    shift = f"A − B = +{differences.mean():.3f} [+{low:.3f}, +{high:.3f}]"
    assert f"A leaks more than B. SSIM: {shift} (95 %, Student's t over 24 images)" in verdict
    assert "Accuracy: A 0.9750, B 0.9000" in verdict
    assert tab.locator("#compare .row figure").count() == 8
    assert tab.locator("#compare .chart svg").count() == 1
    for level in ("attack", "strength"):
        tab.select_option(f"{b}{level}]", tab.input_value(f"{a}{level}]"))
    assert "the same cell" in tab.inner_text("#compare .verdict")
    tab.select_option("#setting", label="mnist pool2")
    for side in (a, b):
        tab.select_option(f"{side}defense]", "dropout on features")
        tab.select_option(f"{side}strength]", "0.4")
    assert "the same cell" in tab.inner_text("#compare .verdict"), "two seeds are no two cells"
    assert tab.locator("#compare select[data-level=seed]").count() == 0, "means over seeds"
    assert tab.locator("#compare .row figure").count() == 0


def _cell(tab) -> str:
    return tab.evaluate("document.activeElement.closest('tr')?.innerText || ''")


def test_the_page_is_operated_by_keyboard_alone(tab):
    """Filter, open a row, sort, compare, and the points of a curve."""
    keys = tab.keyboard
    point = "#curves svg path[tabindex='0']"
    tab.wait_for_selector(point, state="attached")
    assert tab.locator(point).count() == tab.locator("#curves svg").count(), "one stop a figure"
    tab.focus(point)
    tip = tab.inner_text("#tip")
    keys.press("ArrowRight")
    assert tab.inner_text("#tip") != tip and "python -m privbench" in tab.inner_text("#tip")
    keys.press("Enter")
    assert tab.inner_text("#tip strong") in tab.inner_text("#images .chosen")
    tab.focus("#search")
    keys.type("inverse strength>0")
    keys.press("Tab")
    heads = tab.locator("#table th button")
    for _ in range(heads.count() + 1):
        if tab.evaluate("document.activeElement.textContent") == "strength":
            break
        keys.press("Tab")
    keys.press("Enter")
    keys.press("Enter")
    assert tab.locator("th[aria-sort=descending]").inner_text() == "strength"
    while not _cell(tab).startswith("relu2"):
        keys.press("Tab")
    assert "0.8" in _cell(tab), "the strongest first"
    keys.press("Enter")
    assert "attack=inverse" in tab.inner_text("tr.detail pre")
    before = tab.inner_text("#compare .verdict")
    tab.focus("#compare select[data-level=strength] >> nth=0")
    keys.press("ArrowDown")
    assert tab.inner_text("#compare .verdict") != before


@pytest.mark.parametrize("tab", [400, 1280], indirect=True)
def test_a_page_is_drawn_for_the_dark_and_for_a_phone(tab):
    """Dark paper where the system is dark; rows of tables are cards at 400 px."""
    small = tab.viewport_size["width"] == 400
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = max(int(part) for part in re.findall(r"\d+", ground)[:3])
    assert lightness < 60 if small else lightness > 200
    assert tab.locator("#table thead").is_visible() is not small
    assert tab.locator("#sort").is_visible() is small
    widths = tab.eval_on_selector_all("#table td", "all => all.map(td => td.offsetWidth)")
    assert max(widths) <= 400
    tab.select_option("#setting", label="mnist pool2")
    assert "mnist pool2: " in tab.inner_text("h1:visible")


def test_long_names_two_victims_of_a_seed_and_the_numbers_of_points_are_told(browser, tmp_path):
    """On a phone a legend has one column; victims show their weights; labels have both axes."""
    twins = curve(targets=24, victim_sha256="f" * 64)
    twins = [dataclasses.replace(one, key=f"{n:020x}") for n, one in enumerate(twins)]
    records = [
        *curve(targets=24), *curve("a_defense_of_a_very_long_name_indeed", targets=24)[1:],
        *curve("another_defense_with_a_long_name", targets=24)[1:], *twins,
        *(record("none", 0.0, attack=f"attack_number_{n}", targets=24) for n in range(6)),
    ]  # fmt: skip
    folder = sweep(tmp_path, "figure", records, [])
    with mock.patch.object(rendering.Figure, "files", _files):
        page = write(select(folder, {}), folder / "report")
    tab = browser.new_page(viewport={"width": 390, "height": 900})
    tab.goto(page.as_uri())
    tab.wait_for_selector("#curves svg .mark-symbol path[aria-label]")
    labels = "found => found.map(one => one.getAttribute('aria-label'))"
    points = tab.eval_on_selector_all("#curves g.mark-symbol path[role=button]", labels)
    pattern = r"rmle, .+, SSIM \d\.\d{3}, accuracy \d\.\d{3}: opens it"
    assert points and all(re.fullmatch(pattern, label) for label in points)
    assert "rmle, dropout 0.4 on features, SSIM 0.400, accuracy 0.975: opens it" in points
    ends = "found => found.map(one => [one.textContent, one.getBoundingClientRect().right])"
    names = tab.eval_on_selector_all(".role-legend-label text", ends)
    assert {"a_defense_of_a_very_long_name_indeed", "dropout", "attack_number_5"} <= {
        name for name, _ in names
    }
    assert all(right <= 390 for _, right in names)
    options = "found => found.map(one => one.textContent)"
    victims = tab.eval_on_selector_all("#images select[data-level=seed] option", options)
    assert victims == ["0 000000000000", "0 ffffffffffff"]
    tab.close()


for _test in (
    test_cells_are_filtered_by_column_and_by_word_sorted_and_opened,
    test_a_strength_and_an_image_are_selected_by_keyboard_alone,
    test_a_setting_a_score_and_a_point_are_chosen,
    test_two_cells_are_compared_on_the_same_images,
    test_the_page_is_operated_by_keyboard_alone,
    test_long_names_two_victims_of_a_seed_and_the_numbers_of_points_are_told,
    test_a_page_is_drawn_for_the_dark_and_for_a_phone,
):
    _test.pytestmark = [*getattr(_test, "pytestmark", []), *IN_CHROMIUM]
