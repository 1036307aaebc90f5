"""Records that stand for the paper's settings, and verdicts on them."""

from privbench.papers.he2020.claims import STATEMENTS
from privbench.papers.he2020.published import load_published
from privbench.papers.he2020.sources import MeasuredResults
from tests.records import record

PAPER = {"attack": "rmle_paper", "steps": 500, "targets": 12}


def figure9(shift: float = 0.0, **others):
    """Records that have the published SSIMs and accuracies, but for a shift."""
    found = []
    for row in load_published():
        if row.source == "fig9" and (row.strength or row.defense == "gaussian"):
            defense = row.defense if row.strength else "none"
            site = row.site if row.strength else "features"
            wanted = {"ssim": row.ssim + shift, "accuracy": row.accuracy}
            found.append(record(defense, row.strength, site, **{**PAPER, **wanted, **others}))
    return list({one.key: one for one in found}.values())


def table(attack: str, split: str, ssim: float, aux: str = "disjoint", **others):
    """A record of an attack table's setting."""
    settings = {"steps": 5000, "targets": 12, **others}
    one = record("none", 0.0, split=split, attack=attack, ssim=ssim, **settings)
    one.config["dataset"]["aux"] = aux
    return one


def statement(text: str):
    (found,) = [s for s in STATEMENTS if text in s.text]
    return found


def verdict(text: str, records, adaptive: bool = False, data: str = "mnist") -> tuple[str, str]:
    return statement(text).check(MeasuredResults.of(records, adaptive=adaptive), data)
