"""What every yaml of every group keeps to; none can be forgotten, for they are globbed."""

import dataclasses
import importlib
import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from privbench.attacks.base import Attack
from privbench.attacks.rmle import RMLE
from privbench.deployment import Deployment
from privbench.evaluation import metrics
from privbench.evaluation.statistics import bca
from privbench.experiment.run import run
from privbench.runtime.conf_files import load_option
from privbench.runtime.random import RandomStreams
from privbench.store import record as results
from privbench.threat import Access
from tests.stage import Stage
from tests.support import ROOT, RecordingLogger, granted, hasty, lenet_edge, options, scenes

GROUPS = ["attack", "dataset", "defense", "tracker", "device", "victim"]
EVERY = [(group, name) for group in GROUPS for name in options(group)]


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_a_yaml_says_what_it_is_and_names_every_field(group, name):
    """Its first line is a comment; its keys are its class's fields, so no default hides."""
    path = ROOT / "conf" / group / f"{name}.yaml"
    assert path.read_text().startswith("# "), "the first line says what it is"
    config = load_option(group, name)
    module, _, kind = config["_target_"].rpartition(".")
    fields = {
        field.name for field in dataclasses.fields(getattr(importlib.import_module(module), kind))
    }
    assert set(config) - {"_target_"} == fields


@pytest.mark.parametrize("name", options("attack"))
def test_an_attack_keeps_its_contract_under_its_declared_rights_alone(name, stage):
    """Images of the right shape in [0, 1], the same when asked again, whatever K is."""
    made = stage(f"attack={name}", "defense.rate=0.3", "targets=4", "transmissions=2")
    attack = hasty(made.cell.attack)
    assert isinstance(attack, Attack)
    assert isinstance(attack.access, Access)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.access = ~Access.NONE
    deployment = made.deploy(made.cell.defense)
    v = made.send(deployment)
    before = v.clone()
    answers = []
    for _ in range(2):
        view = made.view(deployment, attack.access, RecordingLogger())
        answers.append(attack.fit(view)(v))
    assert torch.equal(v, before), "an attack leaves the features alone"
    assert answers[0].shape == made.x.shape
    assert float(answers[0].min()) >= 0
    assert float(answers[0].max()) <= 1
    assert torch.equal(*answers)


@pytest.mark.parametrize("name", options("attack"))
def test_withdrawing_a_declared_right_raises(name, stage):
    """So no attack uses what it does not declare, nor declares what it does not use."""
    made = stage(f"attack={name}", "targets=2")
    attack, deployment = hasty(made.cell.attack), made.deploy(made.cell.defense)
    for right in attack.access:
        view = made.view(deployment, attack.access & ~right, RecordingLogger())
        with pytest.raises(Exception, match=right.name):
            attack.fit(view)(made.send(deployment))


@pytest.mark.parametrize("name", options("defense"))
@pytest.mark.parametrize("site", ["features", "input"])
def test_a_defense_runs_at_both_sites_and_yields_a_whole_record(name, site, composed, outputs):
    """The record reads back, field by field, and holds every name of the design."""
    cfg = composed(
        f"defense={name}", f"defense.site={site}", "attack=blind", "targets=5", "force=true"
    )
    record = run(cfg)
    folder = Path(outputs) / "store" / "records" / record.key
    assert {path.name for path in folder.iterdir()} == {
        "record.json",
        "reconstructions.png",
        "images.safetensors",
    }
    assert results.read(folder) == dataclasses.replace(
        record, **json.loads(json.dumps({"config": record.config}))
    )
    assert record.defense == name
    assert record.site == site
    assert 0 <= record.accuracy <= 1
    assert record.psnr_db == pytest.approx(record.floor["class_mean"]["psnr_db"])
    assert not record.adaptive


def _more_often(name, site, attack, images):
    """PSNR of each image ``(N,)`` after 1, 4 and 16 transmissions of a defense by its yaml."""
    config = load_option("defense", name)
    module, _, kind = config.pop("_target_").rpartition(".")
    defense = getattr(importlib.import_module(module), kind)(**config | {"site": site})
    x, edge = scenes(images), lenet_edge("relu2")
    deployment = Deployment(edge, defense, nn.Sequential(nn.Flatten()))
    for copies in (1, 4, 16):
        v = deployment.transmit(x, RandomStreams(0, "transmission", range(images)), copies)
        view = granted(deployment, scenes(2), attack.access, transmissions=copies)
        yield metrics.psnr_db(attack.fit(view.without_logging())(v), x)


SCATTER = 0.5
"""dB by which the last bits move a mean where nothing is left to be learnt: dropout of 0.1 hides one
entry in 10,000 from 4 transmissions, and those of 16 give 0.24 dB less to 0.31 dB more."""


def _never_worse(scores):
    """The paired 95 % interval of more transmissions less fewer is nowhere wholly below 0."""
    for at, often in enumerate(scores):
        for once in scores[:at]:
            high = bca((often - once).tolist())[1]
            assert high > -SCATTER, [float(s.mean()) for s in scores]


@pytest.mark.parametrize("name", options("defense"))
@pytest.mark.parametrize("site", ["features", "input"])
def test_more_transmissions_are_never_worse_for_an_adversary_who_knows_the_defense(name, site):
    """K = 1, 4 and 16, whatever the defense: evidence adds up."""
    attack = RMLE(steps=30, adaptive=True, tv_weight=3.5)
    _never_worse(list(_more_often(name, site, attack, images=4)))


@pytest.mark.slow
@pytest.mark.parametrize("name", options("defense"))
@pytest.mark.parametrize("site", ["features", "input"])
def test_more_transmissions_are_never_worse_in_a_longer_attack(name, site):
    """The same with 200 steps and 12 images."""
    attack = RMLE(steps=200, adaptive=True, tv_weight=3.5)
    _never_worse(list(_more_often(name, site, attack, images=12)))


@pytest.mark.parametrize("name", [n for n in options("dataset") if n == "digits"])
def test_a_data_sets_parts_are_disjoint_and_in_range(name, stage):
    """Victim's, adversary's and test images share none."""
    data = stage(f"dataset={name}").data
    seen = [
        {image.numpy().tobytes() for image in part.images}
        for part in (data.train, data.aux, data.test)
    ]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    for part in (data.train, data.aux, data.test):
        assert float(part.images.min()) >= 0
        assert float(part.images.max()) <= 1
        assert part.images.dtype == torch.float32
        assert len(part.images) == len(part.labels)


SAME = [
    ["tracker=wandb"], ["device.progress=false"], ["defense.rate=1e-1"],
    ["split=relu2"], ["victim.name=mine"], ["attack.steps=500"],
]  # fmt: skip
OTHER = [
    ["seed=1"], ["targets=5"], ["target_indices=[3,2]"], ["transmissions=2"], ["accuracy_draws=2"],
    ["split=conv1"], ["defense.rate=0.2"], ["defense.site=input"], ["defense=laplace"],
    ["attack.steps=501"], ["attack=blind"], ["dataset.aux=noise"], ["dataset.aux_images=300"],
    ["dataset.size=30"], ["victim.epochs=9"], ["device.threads=1"],
]  # fmt: skip


def test_a_records_key_moves_with_what_the_numbers_depend_on_and_with_nothing_else(cell):
    """Not with the tracker, nor how a number is spelt; with threads where a number is typed."""
    keys = [Stage.of(cell(*words)).key for words in ([], *SAME, *OTHER)]
    assert len(set(keys[: 1 + len(SAME)])) == 1
    assert len(set(keys)) == 1 + len(OTHER)


def test_a_defense_that_does_nothing_has_one_key(cell):
    """Whatever its site and draws."""
    words = (
        ["defense=none"],
        ["defense.rate=0"],
        ["defense=gaussian", "defense.sigma=0", "accuracy_draws=5"],
    )
    assert len({Stage.of(cell(*change)).key for change in words}) == 1


def test_auxiliary_images_can_be_the_victims_own_or_noise(stage):
    """The victim stays the same, so that the rows of a table share it."""
    disjoint, same, noise = (
        stage(f"dataset.aux={aux}").data for aux in ("disjoint", "train", "noise")
    )
    assert disjoint.train.fingerprint == same.train.fingerprint == noise.train.fingerprint
    own = {image.numpy().tobytes() for image in same.train.images}
    assert all(image.numpy().tobytes() in own for image in same.aux.images)
    assert len(disjoint.aux) == len(same.aux) == len(noise.aux)
    assert float(noise.aux.images.std()) == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize(
    "name",
    [
        *sorted(p.stem for p in (ROOT / "sweeps").glob("*.yaml")),
        *sorted(f"he2020/{p.stem}" for p in (ROOT / "sweeps" / "he2020").glob("*.yaml")),
    ],
)
def test_a_sweep_composes_and_says_what_it_draws(name, composed):
    """Its first line after the package header is a comment."""
    lines = (ROOT / "sweeps" / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    own = OmegaConf.load(ROOT / "sweeps" / f"{name}.yaml")
    cfg = composed(f"sweeps={name}").config
    for option in set(own) & {"targets", "seed", "split", "transmissions"}:
        assert cfg[option] == own[option]
