"""The command as it is typed: its tables, its other formats, records and errors in one line."""

import csv
import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from privbench.plan import __main__ as command
from privbench.plan import measured
from privbench.runtime.code_identity import identities
from privbench.store import recipes
from privbench.store.artifacts import Artifact, Store
from tests.records import kept, record
from tests.support import composed_config, composed_node, instantiated


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
    """Records of LeNet-5 as it is composed, at relu2 and at fc1."""
    victim, dataset = (
        OmegaConf.to_container(composed_node(*group), resolve=True)
        for group in (("victim", "lenet5"), ("dataset", "digits"))
    )
    records = []
    for split, ssim in (("relu2", 0.8), ("fc1", 0.25)):
        for attack in ("rmle", "inverse", "shadow"):
            one = record(
                "none", 0.0, dataset="digits", split=split, attack=attack, ssim=ssim, targets=24
            )
            one.config["victim"], one.config["dataset"] = victim, dataset
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
        "split=conv1,relu1," in line and "attack=rmle,inverse,shadow" in line for line in lines
    )
    assert "note: the radio's power is taken as constant above 13.76 Mbit/s" in lines


def test_records_decide_and_every_format_says_the_same(typed, tmp_path):
    """fc1 leaks less than the limit; JSON repeats the sources, a typed number has its own."""
    _kept(tmp_path / "outputs")
    words = ["max.ssim=0.3", "max.memory_mb=0.2", "network.rtt_ms=7"]
    plan = json.loads(typed(*words, "format=json"))
    rows = {row["label"]: row for row in plan["options"]}
    assert (plan["recommended"], plan["runner_up"]) == ("fc1", None)
    assert rows["relu2"]["rejected"] == "SSIM 0.800 > 0.3"
    assert rows["edge-only"]["rejected"] == "0.218 MB > 0.2 MB"
    assert rows["fc1"]["recorded"]["leakage"]["ssim"]["score"] == pytest.approx(0.25)
    assert rows["fc1"]["pareto"] == "*" and rows["fc1"]["recorded"]["not_tried"] == []
    assert rows["edge-only"]["recorded"]["accuracy"] == pytest.approx(0.99)
    assert plan["profiles"]["network"]["source"]["rtt_ms"] == "typed on the command line"
    assert "JointDNN" in plan["profiles"]["network"]["source"]["up_mbps"]
    table = list(csv.DictReader(io.StringIO(typed(*words, "format=csv"))))
    assert [row["label"] for row in table] == list(rows)
    latency = rows["fc1"]["modelled"]["latency_ms"]
    assert [float(r["modelled.latency_ms"]) for r in table if r["label"] == "fc1"] == [latency]
    assert "| fc1 | * |" in typed(*words, "format=markdown")


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
    assert "attack=rmle,inverse,shadow" in ran[0]
    (line,) = typed(*words).splitlines()
    assert line.startswith("privbench: a measurement failed: python -m privbench -m dataset=digits")


def _keep_victim(outputs):
    """A victim in the store under its recipe, trained with a typed number of threads."""
    config = composed_config("device.threads=1")
    plain = OmegaConf.to_container(config, resolve=True)
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
        ("platform=rpi", "Could not find 'platform/rpi'"),
        ("network.up_mbps=0", "network.up_mbps=0 is out of range: choose a number above 0"),
        ("max.sism=1", "unknown option max.sism"),
        ("minimize=time", "minimize=time is not known: choose from latency, energy"),
        ("image.shape=[3,32]", "image.shape and image.classes are typed together"),
        ("-m", "takes no -m"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(typed, word, message):
    """It names the value and the choices."""
    (line,) = typed(word).splitlines()
    assert line.startswith("privbench: ") and message in line
