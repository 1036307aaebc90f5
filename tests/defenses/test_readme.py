"""The example of the defenses' README, as printed."""

import re
from dataclasses import replace

import pytest
import torch

from privbench.runtime.random import RandomStreams
from privbench.testing import DefenseContract
from tests.support import ROOT, parametrized, python_block, readme_example

README = "privbench/defenses/README.md"


@pytest.fixture
def defense(tmp_path, monkeypatch):
    return readme_example(README, "my_defense", tmp_path, monkeypatch)


def test_the_strength_of_the_example_grows_with_the_protection(defense):
    """At 0 the tensor is unchanged; at greater rates more entries differ, the same ones and more."""
    t, draws = torch.zeros(4, 1000), RandomStreams(0, "test", range(4))
    assert torch.equal(replace(defense, rate=0.0).perturb(t, draws), t)
    weak, strong = (replace(defense, rate=rate) for rate in (0.2, 0.6))
    assert weak.strength < strong.strength
    few, many = (each.perturb(t, draws) != t for each in (weak, strong))
    assert float(few.float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float(many.float().mean()) == pytest.approx(0.6, abs=0.03)
    assert bool((many | ~few).all())


def test_the_likelihood_of_the_example_is_a_density(defense):
    assert defense.has_likelihood
    v = torch.linspace(-5, 5, 100_001, dtype=torch.float64)
    clean, variance = (torch.tensor(value, dtype=torch.float64) for value in (0.3, 0.01))
    density = defense.log_likelihood(v, clean, variance).exp()
    assert float(torch.trapezoid(density, v)) == pytest.approx(1, abs=1e-6)


def test_the_example_pools_transmissions_to_the_entries_that_were_kept(defense):
    t, draws = torch.zeros(4, 1000), RandomStreams(0, "test", range(4))
    strong = replace(defense, rate=0.6)
    received = torch.stack([strong.perturb(t, draws.for_draw(k)) for k in range(5)], 1)
    pooled, known = strong.pool(received)
    assert pooled.shape == (4, 1, 1000)
    assert known.rate == pytest.approx(0.6**5)
    assert float((pooled != 0).float().mean()) == pytest.approx(0.6**5, abs=0.02)


def test_the_example_refuses_what_is_out_of_range(defense):
    with pytest.raises(ValueError, match=r"defense.rate=1.5 is out of range"):
        replace(defense, rate=1.5)
    with pytest.raises(ValueError, match=r"defense.site=edge is not known"):
        replace(defense, site="edge")


class TestReadmeTrainedDefense(DefenseContract):
    """The defense of the README that trains."""

    subject_under_test = parametrized(
        ["SmallFeatures"],
        lambda name: python_block(ROOT / README, name)(epochs=1, min_steps=1),
    )


@pytest.mark.long
def test_the_trained_example_is_trained_once_and_anew_where_its_source_changed(
    privbench, warm, user_module
):
    """As a user types it: the next attack loads the deployment; an edited loss trains it anew."""
    text = (ROOT / README).read_text()
    (source,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "SmallFeatures" in b)
    (yaml,) = (b for b in re.findall(r"```yaml\n(.*?)```", text, re.S) if "SmallFeatures" in b)
    words = [*user_module("defense", "my_trained_defense", source, yaml), "defense.epochs=1"]
    words += ["defense.weight=10", "targets=5", "attack.steps=1", f"output_dir={warm}"]
    words += ["defense.min_steps=5"]
    fitted = []
    for attack in ("rmle", "inverse"):
        code, _, err = privbench(*words, f"attack={attack}")
        assert code == 0, err
        fitted.append(err.count("once: the store keeps it"))
    assert fitted == [1, 0]
    user_module("defense", "my_trained_defense", source.replace("v.square()", "v.abs()"), yaml)
    code, _, err = privbench(*words, "attack=rmle")
    assert code == 0, err
    assert err.count("once: the store keeps it") == 1
    assert len(list((warm / "store" / "deployments").glob("*.safetensors"))) == 2
