"""Every attack as it is typed, against features that carry nothing of the image."""

import pytest

import privbench
from tests.runs import launch
from tests.support import options


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """A row of each attack with its default options, by its name; minutes on two cores."""
    outputs = tmp_path_factory.mktemp("dead_channel")
    settings = ["dataset=digits", "defense=dropout", "defense.rate=1.0", "targets=50"]
    command = ["-m", *settings, "attack=" + ",".join(options("attack")), "workers=joblib"]
    process = launch(*command, "sweep.report=false", f"output_dir={outputs}")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    rows = privbench.load_records(str(outputs)).to_dict("records")
    return {row["attack"]: row for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("attack", options("attack"))
def test_no_attack_exceeds_the_blind_baseline_beyond_its_interval(scores, attack):
    """Dropout of every feature leaves the victim's data and nothing of a target."""
    row = scores[attack]
    assert row["ssim_low"] <= row["ssim_baseline"]
    assert row["psnr_db_low"] <= row["psnr_db_baseline"]
