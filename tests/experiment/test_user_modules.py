"""Modules of a user: an edited source is another attack, defense or victim."""

import pytest

from privbench.runtime.code_identity import identity
from tests.runs import LEVEL_YAML, read_records, victim_files
from tests.support import ATTACK


@pytest.mark.long
def test_an_edited_attack_is_another_attack(privbench, user_module, warm):
    """The command typed twice, the source edited in between: two records, two scores."""
    words = [
        *user_module("attack", "my_attack", ATTACK, LEVEL_YAML),
        "targets=5",
        f"output_dir={warm}",
    ]
    assert privbench(*words)[0] == 0
    user_module(
        "attack", "my_attack", ATTACK.replace("self.level)", "self.level / 10)"), LEVEL_YAML
    )
    code, out, err = privbench(*words)
    assert code == 0, err
    assert "cached" not in out
    first, second = sorted(read_records(warm), key=lambda record: record.score("psnr_db"))
    assert first.score("psnr_db") != second.score("psnr_db")
    assert {first.sources["attack"], second.sources["attack"]} >= {identity("my_attack.Level")}
    assert first.sources["attack"] != second.sources["attack"]
    assert privbench(*words)[1].count("cached") == 1, "unchanged, it is not run again"


NOISE = """
from dataclasses import dataclass
from privbench.defenses.base import Perturbation

@dataclass(frozen=True, kw_only=True)
class Noise(Perturbation):
    level: float = 0.5

    @property
    def strength(self):
        return self.level

    def _perturb(self, t, draws):
        return t + self.level * draws.normal(t)
"""


@pytest.mark.long
def test_an_edited_defense_is_another_defense(privbench, user_module, warm):
    """It is run again, in a sweep too."""
    yaml = "_target_: my_noise.Noise\nsite: features\nlevel: 0.5\n"
    words = ["-m", *user_module("defense", "my_noise", NOISE, yaml), "attack=blind", "targets=5"]
    words += ["accuracy_draws=1", "defense.level=0.5,1.0", f"output_dir={warm}"]
    assert privbench(*words)[0] == 0
    user_module("defense", "my_noise", NOISE.replace("t + self.level", "t + 3 * self.level"), yaml)
    code, out, err = privbench(*words)
    assert code == 0, err
    assert out.count("] done") == 2
    numbers = {record.score("channel_snr_db") for record in read_records(warm)}
    assert len(numbers) == 4  # accuracies may be equal by chance


NET = """
from torch import nn
from privbench.victims.chain import ChainModel, FlattenLinear
from privbench.victims.split_model import Normalize


class Net(ChainModel):
    aliases = {"middle": "pool"}

    def __init__(self, shape, classes):
        super().__init__({
            "input": Normalize((0.5,), (0.5,)),
            "conv": nn.Conv2d(1, 4, 5),
            "pool": nn.MaxPool2d(4),
            "fc": FlattenLinear(4 * 36, classes),
        })
"""

NET_YAML = """
_target_: privbench.victims.training.VictimConfig
name: my_net
model: {_target_: my_net.Net, _partial_: true}
epochs: 1
min_steps: 10
batch: 128
lr: 1e-2
weight_decay: 0.0
augment: false
precision: 32-true
"""


@pytest.mark.long
def test_a_victim_whose_source_changed_is_trained_anew(privbench, user_module, without_victim):
    """Other constants of the normalisation: no layer's name or shape tells."""
    at = without_victim
    words = [*user_module("victim", "my_net", NET, NET_YAML), "attack=blind", "targets=5"]
    words += ["device.threads=1", f"output_dir={at}"]
    texts = [NET, NET.replace("(0.5,), (0.5,)", "(0.1,), (0.3,)")]
    for count, text in enumerate(texts, start=1):
        user_module("victim", "my_net", text, NET_YAML)
        code, _, err = privbench(*words)
        assert code == 0, err
        assert len(victim_files(at)) == len(read_records(at)) == count


DECODER = """
from torch import nn


def linear(features, image):
    channels, height, width = image
    flat = nn.Linear(features[0] * features[1] * features[2], channels * height * width)
    return nn.Sequential(nn.Flatten(), flat, nn.Unflatten(1, image))
"""

DECODER_YAML = """
defaults: [inverse_naive]
decoder: {_target_: my_decoder.linear, _partial_: true}
"""


@pytest.mark.long
def test_an_edited_decoder_is_trained_anew(privbench, user_module, warm):
    """Its layers have the same names and shapes; unchanged, the trained one is loaded."""
    words = [
        *user_module("attack", "my_decoder", DECODER, DECODER_YAML),
        "attack.steps=8",
        "targets=5",
    ]
    words += [f"output_dir={warm}"]
    trained = []
    for text, rate in ((DECODER, 0.1), (DECODER, 0.3), (DECODER + "\n\nEDIT = 1\n", 0.1)):
        user_module("attack", "my_decoder", text, DECODER_YAML)
        code, _, err = privbench(*words, f"defense.rate={rate}")
        assert code == 0, err
        trained.append(len(list(warm.glob("store/adversaries/*.safetensors"))))
    assert trained == [1, 1, 2]


@pytest.mark.fault
def test_a_victim_that_computes_with_its_weights_is_built_with_them(
    privbench, user_module, without_victim
):
    """Its split points are known all the same."""
    text = NET.rstrip() + "\n        float(self.layers.fc.weight.sum())\n"
    words = [*user_module("victim", "my_net", text, NET_YAML), "attack=inverse", "attack.steps=2"]
    code, _, err = privbench(*words, "targets=5", f"output_dir={without_victim}")
    assert code == 0, err
    code, _, err = privbench(*words, "split=nope", f"output_dir={without_victim}")
    assert code == 1
    assert "split=nope is not known: choose from input, conv, pool, middle" in err
