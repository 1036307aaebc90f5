"""The command as it is typed: its tables, its other formats, records and errors in one line."""

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from privbench.plan import __main__ as command
from privbench.plan import measured
from privbench.plan.choice import Limits
from privbench.plan.evidence import Leak
from privbench.plan.guideline import by_leakage
from privbench.report import rendering
from privbench.runtime.code_identity import identities
from privbench.store import recipes
from privbench.store.artifacts import Artifact, Store
from tests.records import kept, record
from tests.support import cell_spec, instantiated


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """Run the command with these words, and return what it prints; its errors on exit code 1."""

    def run(*words: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["privbench.plan", "timing=0", *words])
        try:
            command.main()
        except SystemExit:
            return capsys.readouterr().err
        return capsys.readouterr().out

    return run


def _kept(outputs):
    """Records of LeNet-5 as its cells have it, at relu2 and at fc1."""
    config = cell_spec(outputs, "dataset=digits", "victim=lenet5").config
    records = []
    for split, ssim in (("relu2", 0.8), ("fc1", 0.25)):
        for attack in ("rmle", "rmle_prior", "inverse", "shadow"):
            one = record(
                "none", 0.0, dataset="digits", split=split, attack=attack, ssim=ssim, targets=24
            )
            one.config["victim"], one.config["dataset"] = config["victim"], config["dataset"]
            records.append(one)
    kept(outputs, records)


def test_a_plan_without_records_says_that_leakage_is_unknown(typed):
    """The table fits 100 columns, and the commands that measure it are printed."""
    text = typed("platform=phone_sd855", "network=lte", "max.ssim=0.3", "network.up_mbps=20")
    lines = text.splitlines()
    assert all(len(line) <= 100 for line in lines if "python -m" not in line)
    assert "  not relu2: SSIM not measured" in lines
    assert any(line.startswith("least latency: edge-only") for line in lines)
    assert any(
        "split=conv1,relu1," in line and "attack=rmle,rmle_prior,inverse,shadow" in line
        for line in lines
    )
    assert "note: the radio's power is taken as constant above 13.76 Mbit/s" in lines


def test_records_decide_and_every_format_says_the_same(typed, tmp_path):
    """fc1 leaks less than the limit; JSON repeats the sources, a typed number has its own."""
    _kept(tmp_path / "outputs")
    words = ["max.ssim=0.3", "max.memory_mb=0.2", "network.rtt_ms=7"]
    plan = json.loads(typed(*words, "format=json"))
    rows = {row["label"]: row for row in plan["options"]}
    assert (plan["recommended"], plan["runner_up"]) == ("fc1", None)
    assert rows["relu2"]["rejected"] == "SSIM 0.800 > 0.3, as does a blind guess, 0.350"
    assert rows["edge-only"]["rejected"] == "0.218 MB > 0.2 MB"
    assert rows["fc1"]["recorded"]["leakage"]["ssim"]["score"] == pytest.approx(0.25)
    assert rows["fc1"]["pareto"] == "*" and rows["fc1"]["recorded"]["not_tried"] == []
    assert rows["edge-only"]["recorded"]["accuracy"] == pytest.approx(0.99)
    assert rows["pool2"]["recorded"]["accuracy"] == pytest.approx(0.99)  # of the uncut network
    assert plan["profiles"]["network"]["source"]["rtt_ms"] == "typed on the command line"
    assert "JointDNN" in plan["profiles"]["network"]["source"]["up_mbps"]
    table = list(csv.DictReader(io.StringIO(typed(*words, "format=csv"))))
    assert [row["label"] for row in table] == list(rows)
    latency = rows["fc1"]["modelled"]["latency_ms"]
    assert [float(r["modelled.latency_ms"]) for r in table if r["label"] == "fc1"] == [latency]
    assert "| fc1 | * |" in typed(*words, "format=markdown")


def test_variants_of_a_defense_have_a_row_each(typed, tmp_path):
    """One has the accuracy, the other leaks less: no deployment has both."""
    config = cell_spec(tmp_path / "outputs", "dataset=digits", "victim=lenet5").config
    records = []
    for clip, ssim, accuracy in ((1.0, 0.2, 0.7), (2.0, 0.6, 0.9)):
        one = record(
            "dp_gaussian", 0.5, dataset="digits", ssim=ssim, accuracy=accuracy, key=f"{clip}"
        )
        one.config["victim"], one.config["dataset"] = config["victim"], config["dataset"]
        one.config["defense"]["clip"] = clip
        records.append(one)
    kept(tmp_path / "outputs", records)
    rows = {row["label"]: row["recorded"] for row in json.loads(typed("format=json"))["options"]}
    for clip, ssim, accuracy in ((1.0, 0.2, 0.7), (2.0, 0.6, 0.9)):
        found = rows[f"relu2 dp_gaussian clip {clip:.1f} 0.5"]
        assert found["leakage"]["ssim"]["score"] == pytest.approx(ssim)
        assert found["accuracy"] == pytest.approx(accuracy)


LIMITS = ["max.ssim=0.3", "network=lte", "format=page", "to=page"]


def test_a_plan_is_a_page_of_one_file_with_its_figures_and_formats(typed, tmp_path, monkeypatch):
    """Leakage by each cost, of what was measured; parts add up to latency and energy."""
    _kept(tmp_path / "outputs")
    for name in ("scripts", "packed"):
        monkeypatch.setattr(f"privbench.report.page.{name}", str)
    monkeypatch.setattr(
        rendering.Figure, "files", lambda figure: {f"{figure.stem}.svg": figure.title.encode()}
    )
    assert typed(*LIMITS).strip() == "page/index.html"
    names = {"plan-leakage.svg", "plan-cost.svg", "plan.json", "plan.csv", "plan.md"}
    assert {path.name for path in Path("page").iterdir()} == {
        *names,
        "index.html",
        ".report",
        ".report.lock",
    }
    text = Path("page/index.html").read_text()
    assert not re.search(r"(src|href)=[\"']?http", text)
    assert "<h1>least latency: edge-only" in text and "SSIM 0.800 &gt; 0.3" in text
    data = json.loads(re.search(r"id=data>(.*?)</script>", text)[1])
    leakage, cost = data["figures"]
    options = {
        row["label"]: row for row in json.loads(Path("page/plan.json").read_text())["options"]
    }
    points = [row for row in leakage["chart"]["data"]["values"] if row["kind"] == "mark"]
    assert {(row["facet"], row["key"]) for row in points} == {
        (facet, split)
        for facet in ("latency [ms]", "energy [mJ]", "payload [kB]")
        for split in ("relu2", "fc1")
    }
    assert all(row["y0"] < row["y"] < row["y1"] for row in points)
    assert [r["y"] for r in leakage["chart"]["data"]["values"] if r["kind"] == "limit"] == [0.3] * 3
    assert "not measured: conv1, relu1" in leakage["caption"]
    bars = cost["chart"]["data"]["values"]
    for label, option in options.items():
        latency, energy = (
            sum(row["x"] for row in bars if row["key"] == label and row["facet"] == facet)
            for facet in ("latency [ms]", "energy [mJ]")
        )
        assert latency == pytest.approx(option["modelled"]["latency_ms"])
        assert energy == pytest.approx(option["modelled"]["energy_j"] * 1e3)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium"), reason="wants chromium")
def test_the_page_of_a_plan_fits_a_telephone_and_asks_no_network(typed, tmp_path):
    """Without a phone's power and without records there is one figure, of latency."""
    playwright = pytest.importorskip("playwright.sync_api")
    typed(*LIMITS, "platform=phone_sd855")
    assert Path("page/plan-cost.pdf").read_bytes().startswith(b"%PDF")
    errors, asked = [], []
    with playwright.sync_playwright() as started:
        chromium = shutil.which("chromium")
        made = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in (1280, 400):
            tab = made.new_page(viewport={"width": width, "height": 900})
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(Path("page/index.html").resolve().as_uri())
            tab.wait_for_selector("#curves svg")
            tab.fill("#search", "relu2")
            shown = tab.locator("#tables tbody tr:visible").all_inner_texts()
            assert shown and all("relu2" in text for text in shown)
            assert tab.inner_text("#count").startswith(f"{len(shown)} of ")
            tab.fill("#search", "")
            assert not tab.inner_text("#count")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.locator("#curves figure").count() == 1
            tab.hover("#curves path[aria-label*='network'] >> nth=2", force=True)
            assert "ms: edge" in tab.inner_text("#tip")
        made.close()
    assert errors == [] and all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.long
def test_the_papers_guideline_is_judged_by_cost_and_by_what_was_measured(typed, tmp_path):
    """Behind the first fully connected layer, on three platforms; without records no verdict."""
    text = typed("format=guideline", "platform=tk1_gpu")
    assert "(fc1, behind pool2)" in text and "which validates nothing" in " ".join(text.split())
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0][2:] for row in rows if " MB" in row] == [
        "tk1_gpu", "rpi4", "phone_sd855",
    ]  # fmt: skip
    assert "by leakage: SSIM behind fc1 was not measured, so there is no verdict" in text
    assert "split=fc1 attack=rmle,rmle_prior,inverse,shadow" in text
    _kept(tmp_path / "outputs")
    text = " ".join(typed("format=guideline").split())
    assert "recovers SSIM 0.250 and identifies 50% (a blind guess: 0.350, 10%)" in text
    assert "it does not protect, for images are identified, though SSIM is at most 0.3" in text
    text = " ".join(typed("format=guideline", "max.ssim=0.2").split())
    assert "though SSIM is that of a blind guess" in text


@pytest.mark.parametrize(
    ("ssim", "identified", "verdict"),
    [
        (0.6, 0.5, "it does not protect (0.3)"),
        (0.4, 0.5, "it does not protect, for images are identified, though SSIM is that of a"),
        (0.2, 0.5, "it does not protect, for images are identified, though SSIM is at most 0.3"),
        (0.4, 0.1, "no attack in the records recovers more than a blind guess"),
        (0.2, 0.1, "no attack in the records is above 0.3"),
    ],
)
def test_a_verdict_on_leakage_needs_more_than_a_blind_guess(ssim, identified, verdict):
    """Whose SSIM is .45 and which identifies .1, above the threshold of .3 or not."""
    leaks = {
        name: Leak(score, score - 0.02, score + 0.02, "inverse", "edge_queries", blind)
        for name, score, blind in (("ssim", ssim, 0.45), ("identification", identified, 0.1))
    }
    behind = SimpleNamespace(
        name="fc1", leak=leaks.get, evidence=SimpleNamespace(not_tried=["shadow"])
    )
    config = {"leakage": "ssim"}
    plan = SimpleNamespace(request=SimpleNamespace(config=config, limits=Limits({}, {})))
    assert by_leakage(plan, behind).endswith("; not tried: shadow")
    assert verdict in by_leakage(plan, behind)


def test_measuring_runs_what_is_missing_and_joins_its_records(typed, tmp_path, monkeypatch):
    """The commands run before the choice; a command that fails ends the plan in one line."""
    ran = []

    def attack(words, **_):
        ran.append(words)
        _kept(tmp_path / "outputs")
        return SimpleNamespace(returncode=len(ran) > 1)

    monkeypatch.setattr(subprocess, "run", attack)
    words = ("max.ssim=0.3", "max.memory_mb=0.2", "measure=true")
    plan = json.loads(typed(*words, "format=json"))
    assert plan["recommended"] == "fc1"
    assert ran[0][:4] == [sys.executable, "-m", "privbench", "-m"]
    assert "attack=rmle,rmle_prior,inverse,shadow" in ran[0]
    (line,) = typed(*words).splitlines()
    assert line.startswith("privbench: a measurement failed: python -m privbench -m dataset=digits")


def test_commands_are_of_the_network_that_was_typed(typed, tmp_path):
    """With options that no yaml has, and the folder that its yaml lies in."""
    (tmp_path / "conf" / "victim").mkdir(parents=True)
    text = "defaults: [resnet18, _self_]\nname: tiny\n"
    (tmp_path / "conf" / "victim" / "tiny.yaml").write_text(text)
    words = ["victim=tiny", "++victim.model.width=8", "--config-dir", str(tmp_path / "conf")]
    (line, *_) = json.loads(typed(*words, "format=json"))["commands"]
    assert shlex.split(line)[4:9] == ["dataset=digits", words[0], words[1], *words[2:]]


def _keep_victim(outputs):
    """A victim in the store under its recipe, trained with a typed number of threads."""
    plain = cell_spec(outputs, "device.threads=1").config
    store = Store(outputs / "store")
    data = instantiated("dataset", "digits").load(store, show_progress=False)
    sources = identities({"victim": plain["victim"]}) | {"data.train": data.train.fingerprint}
    model = instantiated("victim", "lenet5").build(data.shape, 10, 0)
    facts = {"victim": "lenet5", "dataset": "digits"}
    recipe = recipes.victim_recipe(plain, sources)
    store.keep(recipes.VICTIMS, recipe, lambda: Artifact(model.state_dict(), facts))
    return plain, data.train.fingerprint


def test_a_trained_victim_gives_compressed_features(typed, tmp_path):
    """Deflate takes less than int8 where half of the features are 0; nothing is trained for it."""
    config, images = _keep_victim(tmp_path / "outputs")
    plan = json.loads(typed("timing=2", "format=json"))
    rows = {row["label"]: row for row in plan["options"]}
    relu1 = rows["relu1"]
    compressed = relu1["measured"]["payload_int8_deflate_bits"]
    assert 0 < compressed < relu1["counted"]["payload_int8_bits"]
    assert relu1["measured"]["edge_ms"] > 0 and plan["threads"] > 0
    again = {"victim": {**config["victim"], "epochs": 2}, "seed": 0}
    assert measured.kept_victim(again, images, Store(tmp_path / "outputs" / "store")) is None


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("platform=rpi", "platform=rpi is not known: did you mean rpi5? choose from "),
        ("network.up_mbps=0", "network.up_mbps=0 is out of range: choose a number above 0"),
        ("max.sism=1", "unknown option max.sism"),
        ("minimize=time", "minimize=time is not known: choose from latency, energy"),
        ("format=html", "format=html is not known: choose from table, markdown, json, csv, page"),
        ("image.shape=[3,32]", "image.shape and image.classes are typed together"),
        ("-m", "takes no -m"),
        ("victim=lenet5,resnet18", "has several values: privbench.plan takes one of each option"),
        ("image.shape=[3,32", "image.shape=[3,32 cannot be read: type NAME=VALUE"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(typed, word, message):
    """It names the value and the choices."""
    (line,) = typed(word).splitlines()
    assert line.startswith("privbench: ") and message in line
