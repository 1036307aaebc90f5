"""The paper beside the records: verdicts are computed, and can come out either way."""

import pytest

from privbench.report.paper import (
    FAILS,
    HOLDS,
    STATEMENTS,
    UNTOLD,
    Book,
    agreement,
    document,
    gap,
    judged,
    statements,
    tables,
)
from privbench.report.published import everything
from privbench.report.tradeoffs import panels
from tests.records import record

PAPER = {"attack": "rmle_paper", "steps": 500, "targets": 12}


def _figure9(shift: float = 0.0, **others):
    """Records that have the published SSIMs and accuracies, but for a shift."""
    found = []
    for row in everything():
        if row.source == "fig9" and (row.strength or row.defense == "gaussian"):
            defense = row.defense if row.strength else "none"
            site = row.site if row.strength else "features"
            wanted = {"ssim": row.ssim + shift, "accuracy": row.accuracy}
            found.append(record(defense, row.strength, site, **{**PAPER, **wanted, **others}))
    return list({one.key: one for one in found}.values())


def _verdict(text: str, records, adaptive: bool = False) -> tuple[str, str]:
    (statement,) = [s for s in STATEMENTS if text in s.text]
    return statement.check(Book(panels(records), adaptive))


@pytest.mark.parametrize(
    "text",
    [
        "keeps the accuracy above 95 %",
        "noise on the input hides more",
        "Gaussian and Laplacian noise do not differ",
        "Dropout on the features is better than on the input",
        "SSIM < 0.25 with accuracy above 95 %",
    ],
)
def test_what_the_paper_states_of_figure_9_holds_for_its_own_numbers(text):
    """An oracle: the published curves themselves as records."""
    state, told = _verdict(text, _figure9())
    assert state == HOLDS, told


def test_a_statement_fails_where_the_records_say_the_contrary():
    """And cannot be told without records."""
    text = "SSIM < 0.25 with accuracy above 95 %"
    assert _verdict(text, _figure9(0.2))[0] == FAILS
    assert _verdict(text, [record()])[0] == UNTOLD
    useless = [record("dropout", 0.6, identification=0.0, identification_ci95=(0.0, 0.01), **PAPER)]
    assert _verdict("No useful information", useless)[0] == HOLDS
    assert _verdict("No useful information", [record("dropout", 0.6, **PAPER)])[0] == FAILS


def test_the_adaptive_column_is_of_adversaries_that_know_the_defense():
    """The published one's records do not enter it."""
    records = _figure9()
    text = "SSIM < 0.25 with accuracy above 95 %"
    assert _verdict(text, records, adaptive=True)[0] == UNTOLD
    knowing = _figure9(0.3, attack="rmle_adaptive", adaptive=True)
    assert _verdict(text, [*records, *knowing], adaptive=True)[0] == FAILS
    assert _verdict(text, [*records, *knowing])[0] == HOLDS


def test_deeper_is_worse_is_told_by_a_paired_difference():
    """On the same images; a tie cannot be told."""
    text = "White-box: a deeper split"
    deep = {"attack": "rmle_paper", "steps": 5000, "targets": 12}

    def both(conv1: float, relu2: float):
        return [
            record("none", 0.0, split="conv1", ssim=conv1, **deep),
            record("none", 0.0, split="relu2", ssim=relu2, **deep),
        ]

    assert _verdict(text, both(0.9, 0.5))[0] == HOLDS
    assert _verdict(text, both(0.5, 0.9))[0] == FAILS


def test_every_statement_has_two_verdicts_and_every_published_number_a_row():
    """Of those that were measured; what was not measured says so."""
    records = _figure9()
    rows = statements(records)
    assert len(rows) == 1 + len(STATEMENTS) == 22
    states = (f"**{HOLDS}**", f"**{FAILS}**", f"**{UNTOLD}**", "of no concern")
    assert all(cell.startswith(states) for row in rows[1:] for cell in row[2:])
    told = tables(panels(records))
    assert len(told["fig9"]) == 1 + 92 - 5, "six curves begin at one point"
    text = document(records, "COMMAND")
    assert "Written by `COMMAND`" in text
    assert text.count("Not measured: no record of these settings") == 6
    assert "median |difference| to the published SSIM 0.000" in agreement(panels(records), "fig9")


def test_a_seed_that_says_the_contrary_makes_a_verdict_that_cannot_be_told():
    """Each seed trains a victim of its own: a mean over them is no verdict."""
    text = "SSIM < 0.25 with accuracy above 95 %"
    (statement,) = [s for s in STATEMENTS if text in s.text]
    agreeing = [*_figure9(-0.02), *_figure9(-0.03, seed=1)]
    assert judged(statement, agreeing, adaptive=False)[0] == HOLDS
    state, told = judged(statement, [*_figure9(-0.1), *_figure9(0.03, seed=1)], adaptive=False)
    assert state == UNTOLD
    assert "but not for seed 1" in told


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.text[:40])
def test_nothing_is_told_of_a_single_record(statement):
    """No verdict is vacuous, and none crashes."""
    for one in (record("dropout", 0.1, **PAPER), record("gaussian", 0.1, "input", **PAPER)):
        for adaptive in (False, True):
            state, _ = statement.check(Book(panels([one]), adaptive))
            assert state == UNTOLD


def test_the_gap_is_a_paired_difference_on_the_same_images():
    """Positive where knowing of the defense recovers more."""
    naive = record("dropout", 0.6, ssim=0.3, targets=12)
    knowing = record("dropout", 0.6, ssim=0.6, attack="rmle_adaptive", adaptive=True, targets=12)
    _, row = gap(panels([naive, knowing]))
    assert row[0].endswith("dropout 0.6 on features")
    low, high = (float(end) for end in row[4].split(" to "))
    assert 0.25 < low <= high < 0.35
