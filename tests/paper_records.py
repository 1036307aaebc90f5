"""Records that stand for the paper's settings, and verdicts on them."""

from privbench.papers.he2020.claims import STATEMENTS
from privbench.papers.he2020.published import PAPER_IMAGES, load_published
from privbench.papers.he2020.sources import MeasuredResults
from tests.records import put_images, record

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


TEN = PAPER_IMAGES["mnist"][0]
"""The published images."""


def undefended() -> tuple[float, float]:
    """PSNR and SSIM of figure 9 without a defense."""
    first = next(row for row in load_published() if row.source == "fig9")
    return first.psnr_db, first.ssim


def attacked(seed: int, psnr: float, ssim: float, **others):
    """A record of the published attack without a defense, on the ten images."""
    one = record(
        "none", 0.0, attack="rmle_paper", targets=10, seed=seed,
        **{"overrides": [f"seed={seed}"], **others},
    )  # fmt: skip
    one.config["include"] = TEN
    one.per_image["index"] = list(TEN)
    put_images(one, "psnr_db", [psnr] * 10)
    put_images(one, "ssim", [ssim] * 10)
    return one


def statement(text: str):
    (found,) = [s for s in STATEMENTS if text in s.text]
    return found


def verdict(text: str, records, adaptive: bool = False, data: str = "mnist") -> tuple[str, str]:
    return statement(text).check(MeasuredResults.of(records, adaptive=adaptive), data)
