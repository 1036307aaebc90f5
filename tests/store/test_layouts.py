"""Records of the layout before metrics were data are read everywhere, with the same numbers."""

import dataclasses
import json

import pytest

from privbench.report import summary
from privbench.report.analysis import tables
from privbench.report.analysis.selection import select
from privbench.report.analysis.tradeoffs import panels
from privbench.store import recipes
from privbench.store.layout import FLAT_METRICS, upgraded
from privbench.store.record import Record, read
from privbench.store.result_table import table
from privbench.sweep.status import report as status
from tests.records import curve, page_text, record, sweep


def _flat(one: Record) -> dict:
    """The fields of a record as the earlier layout had them."""
    fields = json.loads(one.to_json())
    scores, _ = fields.pop("scores"), fields.pop("metrics")
    shown = ("psnr_db", "ssim", "identification", "semantic_accuracy")
    for name, score in scores.items():
        fields[name] = score["mean"]
        if name in shown:
            fields[f"{name}_ci95"] = score["ci95"]
        if score["per_image"] is not None:
            fields["per_image"][name] = score["per_image"]
    return {**fields, "schema": recipes.FLAT_SCHEMA}


def test_every_metric_of_an_earlier_record_is_found_under_its_name():
    """Mean, interval, blind baseline and images; all other fields stay."""
    fields = _flat(record())
    found = upgraded(json.loads(json.dumps(fields)))
    assert found["schema"] == recipes.RECORD_SCHEMA != recipes.SCHEMA
    for name in FLAT_METRICS:
        assert found["scores"][name] == {
            "mean": fields[name],
            "ci95": fields.get(f"{name}_ci95"),
            "baseline": fields["floor"]["best"].get(name),
            "per_image": fields["per_image"].get(name),
        }
        assert name not in found["per_image"]
    rest = {name for name in fields if name.removesuffix("_ci95") not in FLAT_METRICS}
    assert all(found[name] == fields[name] for name in rest - {"schema", "per_image"})
    assert found["per_image"]["index"] == fields["per_image"]["index"]
    assert upgraded(found) == found
    assert Record.of(fields) == record()


@pytest.mark.parametrize("schema", [None, 2, 5])
def test_another_layout_is_refused_by_its_number(schema):
    """It is not guessed at."""
    with pytest.raises(ValueError, match=f"its schema is {schema}, this program's 4"):
        upgraded({**_flat(record()), "schema": schema})


def test_reports_of_both_layouts_are_equal(tmp_path):
    """Terminal, page, tables and status."""
    records = [*curve(), *curve("gaussian")[1:], *curve(attack="inverse", shift=0.1)[1:]]
    folder = sweep(tmp_path, "mine", records, [])
    before = _shown(folder, tmp_path)
    for path in (tmp_path / "store" / "records").glob("*/record.json"):
        path.write_text(json.dumps(_flat(read(path))))
    assert _shown(folder, tmp_path) == before


def _shown(folder, outputs) -> list[object]:
    selection = select(folder, {})
    found, records = panels(selection.records), selection.records
    return [
        summary.table(records), status(folder), tables.cells(records), tables.attacks(found),
        tables.leakages(found), tables.pareto_sets(found), tables.pairwise_comparisons(found),
        [table(one, {}) for one in records], page_text(outputs, records),
    ]  # fmt: skip


def test_a_record_may_lack_any_metric(tmp_path):
    """What it has is shown; no table needs a metric that it lacks."""
    whole = [*curve(), *curve("gaussian")[1:]]
    for lacking in (["ssim"], ["psnr_db", "identification"], [*FLAT_METRICS]):
        records = [_without(one, lacking) for one in whole]
        for one in records:
            one.validate()
        folder = sweep(tmp_path / "-".join(lacking), "mine", records, [])
        shown = _shown(folder, folder.parent.parent)
        assert "accuracy" in str(shown)
        assert ("PSNR" in str(shown)) == ("psnr_db" not in lacking)


def _without(one: Record, names: list[str]) -> Record:
    scores = {name: score for name, score in one.scores.items() if name not in names}
    return dataclasses.replace(one, scores=scores)
