"""The contract of a defense, for every yaml of the group and both sites."""

import copy
import dataclasses
import math

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from privbench.defenses.base import CHANNELS, Perturbation
from privbench.defenses.bottleneck import Bottleneck
from privbench.defenses.gaussian import Gaussian
from privbench.defenses.quantize import Quantize
from privbench.defenses.topk import TopK
from privbench.defenses.trained import TrainedDefense
from privbench.evaluation.metrics.payload import payload_bits
from privbench.runtime.conf_files import load_option
from privbench.runtime.options import flat
from privbench.store import record as results
from privbench.store.group_keys import key_without
from privbench.testing import DefenseContract
from privbench.testing.contract import smooth_images
from tests.records import record
from tests.support import composed_node, instantiated, options, parametrized

ON_INPUT = " on input"
NOISY = " with noise"
SITED = [name for name in options("defense") if "site" in load_option("defense", name)]
"""Defenses that act at either site."""
COMPOSED = [
    "adversarial",
    "bottleneck",
    "disco",
    "label_smoothing",
    "noise_aware",
    "nopeek",
    "siamese",
]
"""Defenses that take any channel, so at either site."""
CASES = [
    *options("defense"),
    *(name + ON_INPUT for name in SITED),
    *(name + NOISY + site for name in COMPOSED for site in ("", ON_INPUT)),
]


def brief(case):
    """The same defense, trained for a single epoch, at a site and with a channel if named."""
    whole, on_input, _ = case.partition(ON_INPUT)
    name, noisy, _ = whole.partition(NOISY)
    defense, site = instantiated("defense", name), "input" if on_input else "features"
    if isinstance(defense, TrainedDefense):
        channel = {"channel": Gaussian(sigma=0.5, site=site)} if noisy else {}
        return dataclasses.replace(defense, epochs=1, min_steps=1, **channel)
    return dataclasses.replace(defense, site=site) if on_input else defense


def expected_bits(defense, entries):
    """The bits of so many transmitted entries: floats, or the code of those that send one."""
    if isinstance(defense, Quantize) and defense.site == "features":
        return entries * math.ceil(math.log2(defense.levels))
    if isinstance(defense, TopK) and defense.site == "features":
        kept = entries - round(defense.rate * entries)
        return 32 * kept + min(entries, kept * math.ceil(math.log2(entries)))
    return 32 * entries


class TestEveryDefense(DefenseContract):
    """Every yaml of ``conf/defense``, where it may be at both sites, and with noise as channel."""

    subject_under_test = parametrized(CASES, brief)

    def check_fitting(self, defense):
        """Besides, the payload is that of what is sent, which a bottleneck narrows."""
        deployment = super().check_fitting(defense)
        v = deployment.transmit(smooth_images(2), self.streams(0, 1))[:, 0]
        bits = payload_bits(deployment, smooth_images(2))
        assert bits == expected_bits(defense, v[0].numel())
        whole = self.victim().edge(smooth_images(2))
        share = 1 - defense.rate if isinstance(defense, Bottleneck) else 1
        assert v[0].numel() == share * whole[0].numel()
        return deployment


def test_every_defense_that_takes_any_channel_is_run_with_noise():
    """Those whose yaml has a channel, but for what brings its own noise or takes one kind."""
    takes = [n for n in options("defense") if "channel" in load_option("defense", n)]
    assert set(takes) - {"cem", "fisher"} == set(COMPOSED)


CELLS = [
    *((name, "features") for name in ("dropout", "quantize", "noise_aware")),
    *((name, "input") for name in ("gaussian", "noise_aware")),
]
"""One of each kind: random or not, measured or trained, at both sites."""


@pytest.mark.parametrize(("name", "site"), CELLS)
def test_a_defense_runs_at_both_sites_and_yields_a_whole_record(name, site, privbench, warm):
    """The record names the defense; the blind answers score as their baseline does."""
    site_option = "defense.channel.site" if name == "noise_aware" else "defense.site"
    words = [f"defense={name}", f"{site_option}={site}", "attack=blind", "targets=5"]
    words += ["defense.min_steps=1", "defense.epochs=1"] * (name == "noise_aware")
    code, _, err = privbench(*words, f"output_dir={warm}")
    assert code == 0, err
    (path,) = (warm / "store" / "records").glob("*/record.json")
    folder = path.parent
    assert {file.name for file in folder.iterdir()} == {
        "record.json",
        "reconstructions.png",
        "images.safetensors",
        "history.json",
    }
    record = results.read(folder)
    assert record.defense.partition("(")[0] == name
    assert record.site == site
    assert 0 <= record.accuracy <= 1
    assert record.score("psnr_db") == pytest.approx(record.floor["class_mean"]["psnr_db"])
    assert not record.adaptive


@pytest.mark.parametrize("name", sorted({*options("defense")} - {"none"}))
def test_records_of_all_strengths_have_one_key_without_it(name):
    """Also where another option has the same value, or is on: True equals 1.0 in Python."""
    node = composed_node("defense", name)
    usual = {
        option: value
        for option, value in flat(OmegaConf.to_container(node)).items()
        if type(value) in (int, float)
    }

    def changed(option, value):
        found = copy.deepcopy(node)
        OmegaConf.update(found, option, value)
        try:
            strength = instantiate(found, _convert_="all").strength
        except InstantiationException:  # a rate is below 1
            return None
        one = record(strength=strength)
        one.config["defense"] = OmegaConf.to_container(found)
        return one

    own = instantiated("defense", name).strength
    (given,) = (
        option
        for option, value in usual.items()
        if (halved := changed(option, type(value)(value / 2))) and halved.strength != own
    )
    found = [changed(given, value) for value in [*usual.values(), 0.5, 1.0, 2, 3]]
    compared = [one for one in found if one and one.strength]
    assert len(compared) > 2
    assert len({key_without(one, "strength") for one in compared}) == 1


def test_an_error_names_every_defense_that_may_be_a_channel():
    """By the names that are typed."""
    named = CHANNELS.partition(": ")[2].split(", ")
    kinds = {name: instantiated("defense", name) for name in options("defense")}
    assert named == sorted(name for name, kind in kinds.items() if isinstance(kind, Perturbation))
