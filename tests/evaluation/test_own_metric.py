"""A metric of a user's own appears everywhere by its one file and its name on the command line."""

import dataclasses
import json

import pytest

from privbench.evaluation import finite_set, metrics
from privbench.report import summary
from privbench.report.analysis import tables, worst_case
from privbench.store import record as results
from privbench.store.record import Score
from privbench.store.result_table import table
from privbench.tracking.base import NullRun
from tests.records import curve, page_text
from tests.runs import BRIEF, read_records

MINE = """
from privbench.evaluation.metrics.base import Metric

MINE = Metric(
    name="brightness",
    label="brightness error",
    higher_leaks=False,
    compute=lambda x_hat, reference: (x_hat - reference.x).flatten(1).mean(1).abs() * 1.0,
)
WIDTH = Metric(name="width", label="width", unit="px", interval=None, decimals=0, costly=True,
               compute=lambda deployment, x: x.shape[3])
"""
NAMES = "metrics=[my_metric.MINE,my_metric.WIDTH,dfil,bayes_floor]"


@pytest.mark.long
def test_a_metric_of_ones_own_is_in_record_tables_page_and_tracker(
    privbench, without_victim, user_module, monkeypatch
):
    """The cell is run again where its record lacks the metric, or the metric has been edited."""
    user_module("attack", "my_metric", MINE, "{}\n")
    monkeypatch.setattr(finite_set, "MOST_ENTRIES", 10_000_000)  # few draws: seconds less
    logged = []
    monkeypatch.setattr(NullRun, "finish", lambda _self, values, _images: logged.append(values))
    words = ["attack=blind", *BRIEF, f"output_dir={without_victim}"]
    assert privbench(*words)[0] == 0
    code, out, err = privbench(*words, NAMES)
    assert code == 0, err
    assert "it lacks metrics.my_metric.MINE" in err
    (one,) = read_records(without_victim)
    score = one.scores["brightness"]
    assert len(score.per_image) == 5 and score.ci95 is not None
    answers = [one.floor[name]["brightness"] for name in ("black", "grey", "mean", "class_mean")]
    assert score.baseline <= min(answers), "the best blind answer has the smallest error"
    assert f"brightness error {score.mean:.3f}" in " ".join(out.split())
    assert "width 28 px" in out
    assert one.score("width") == 28
    assert len(list((without_victim / "store" / "deployment_metrics").glob("*.json"))) == 3
    assert one.notes["bayes_floor"]["images"] == 360
    assert "Bayes floor (N = 360 test images, K = 1): mean squared error >= " in out
    assert "dFIL infinite (K = 1): the channel leaves entries exact" in out
    assert logged[-1]["brightness"] == score.mean
    assert logged[-1]["floor_brightness"] == score.baseline
    assert logged[-1]["lift_brightness"] == one.lift["brightness"]
    assert "brightness" in tables.cells([one])[0]
    assert f"{score.mean:.3f}" in summary.table([one]).partition("brightness error")[2]

    for again in ([], [NAMES]):
        assert "cached" in privbench(*words, *again)[1], "a record may have more than is asked for"
    user_module("attack", "my_metric", MINE.replace("* 1.0", "* 2.0"), "{}\n")
    code, out, err = privbench(*words, NAMES)
    assert code == 0, err
    assert "cached" not in out
    (after,) = read_records(without_victim)
    assert after.key == one.key, "no metric enters a key"
    assert after.score("psnr_db") == one.score("psnr_db")


def test_a_metric_that_is_measured_later_takes_none_away(privbench, warm, user_module):
    """Two sweeps that name one metric each share their cells' records."""
    user_module("attack", "my_metric", MINE, "{}\n")
    words = ["attack=blind", "targets=5", f"output_dir={warm}"]
    for names in ("[my_metric.MINE]", "[my_metric.WIDTH]"):
        assert privbench(*words, f"metrics={names}")[0] == 0
    (one,) = read_records(warm)
    assert {"brightness", "width"} <= one.scores.keys()
    assert one.config["metrics"] == ["my_metric.WIDTH", "my_metric.MINE"]
    for names in ("[my_metric.MINE]", "[my_metric.WIDTH]"):
        assert "cached" in privbench(*words, f"metrics={names}")[1]
    user_module("attack", "my_second", MINE.replace("* 1.0", "* 2.0"), "{}\n")
    code, _, err = privbench(*words, "metrics=[my_second.MINE]")
    assert code == 0 and "my_metric.MINE of the earlier record is lost: " in err
    (corrected,) = read_records(warm)
    assert corrected.score("brightness") == 2 * one.score("brightness")  # and not the earlier one
    assert privbench(*words, "metrics=[my_metric.MINE]")[0] == 0
    gone = MINE.replace("MINE =", "OTHER =").replace("brightness", "other")
    user_module("attack", "my_metric", gone, "{}\n")
    code, _, err = privbench(*words, "metrics=[my_metric.OTHER]")
    assert code == 0 and "my_metric.MINE of the earlier record is lost: " in err


def _with_error(one: results.Record, mean: float) -> results.Record:
    """The record with a metric that this program does not have, as a file holds it."""
    described = {"name": "error", "label": "pixel error", "unit": "", "higher_leaks": False,
                 "interval": "bca", "decimals": 3, "show": ["run", "summary", "table", "curves"],
                 "failed_as": "worst", "costly": False}  # fmt: skip
    score = Score(mean, (mean - 0.1, mean + 0.1), 0.9, [mean] * one.targets)
    return dataclasses.replace(
        one, scores={**one.scores, "error": score}, metrics={"error": described}
    )


def test_a_record_describes_its_metric_to_a_program_without_it(tmp_path, monkeypatch):
    """Label, digits and direction: the strongest attack is the one of the smallest error."""
    monkeypatch.setattr(metrics, "_KNOWN", dict(metrics._KNOWN))
    near = [_with_error(one, 0.2) for one in curve(attack="rmle")]
    far = [_with_error(one, 0.6) for one in curve(attack="inverse", shift=0.1)]
    records = [results.parse(json.loads(one.to_json())) for one in (*near, *far)]
    assert [worst.best["error"].first.attack for worst in worst_case.worst_cases(records)] == [
        "rmle"
    ] * 4
    assert "0.200" in summary.table(records).partition("pixel error")[2]
    assert "pixel error 0.200" in " ".join(table(records[0], {}).split())
    text = page_text(tmp_path, records)
    assert "pixel error" in text and "0.600" in text
    head = tables.attacks(_panels(records))[0]
    assert {"pixel error", "blind pixel error"} <= set(head)


def _panels(records):
    from privbench.report.analysis.tradeoffs import panels

    return panels(records)
