"""The terminal's summary: 100 columns, weaknesses first, short where a sweep is large."""

import re

from privbench.report.summary import MOST_LINES, of_sweep, table
from privbench.runtime.terminal import WIDTH
from privbench.store.sweep_log import SweepLog
from tests.records import record, sweep

ATTACKS = {
    "rmle": ["EDGE_WEIGHTS"],
    "inverse": ["AUX_IMAGES", "EDGE_QUERIES"],
    "shadow_queried_same": ["AUX_IMAGES", "AUX_LABELS", "EDGE_QUERIES", "EDGE_STRUCTURE"],
}


def _records(defenses, strengths=(0.2, 0.5, 0.8)):
    return [
        record(defense, strength, attack=attack, access=rights, ssim=0.9 - strength * 0.5 - 0.1 * at,
               converged=0.2 if attack == "rmle" else 1.0)
        for defense in defenses
        for strength in strengths
        for at, (attack, rights) in enumerate(ATTACKS.items())
    ]  # fmt: skip


def test_a_large_sweep_fits_a_terminal_and_its_file_has_all_rights(tmp_path):
    """Eight defenses, three attacks, failures, a long command and a long name."""
    defenses = [*(f"defense_{n}" for n in range(7)), "noise_aware_with_a_rather_long_name"]
    folder = sweep(tmp_path, "large", _records(defenses), [record(strength=0.9)])
    log = folder / "cells.jsonl"
    words = " ".join(f"option_{n}=a,b,c" for n in range(12))
    log.write_text(log.read_text().replace("sweeps=large", f"-m {words} 'x=a b'", 1))
    found = of_sweep(SweepLog(folder))
    assert max(map(len, [*found.short.splitlines(), *found.whole.splitlines()])) <= WIDTH
    weak, rest = found.short.split("\nfound  ")
    assert weak.startswith("weak   No adaptive attack was run against defense_0 on features, ")
    for line in ("1 of 73 cells have no record", "24 of 72 cells did not converge (24 of 24 of rmle)",
                 "few images"):  # fmt: skip
        assert f"\n       {line}" in weak
    joined = " ".join(weak.replace("\\\n", " ").split())
    assert "option_11=a,b,c 'x=a b' attack=" in joined, "a shell reads the wrapped command"
    assert rest.partition("worst case")[2].count("0.2 on features") == 8
    lines = [line for line in rest.splitlines() if line.startswith(" ")]
    assert len(found.by_setting) < len(found.by_rights) > MOST_LINES
    assert "unreliable: not converged" in found.short
    assert lines[-1].endswith(f"set of rights: {len(found.by_rights)} lines")
    assert "(aux_images, edge_queries)" in found.whole
    assert "(aux_images, edge_queries)" not in found.short


def test_a_table_has_the_blind_guess_and_a_row_for_each_set_of_rights():
    """An attack that ties by another metric is named once; rights are those of its row."""
    lines = table(_records(["dropout"], [0.2])).splitlines()
    assert lines[0].split() == ["mnist", "relu2", "accuracy", "PSNR", "[dB]", "SSIM", "identified",
                                "strongest", "attack", "(rights)"]  # fmt: skip
    assert lines[1].split()[:5] == ["blind", "guess", "12.00", "0.350", "10%"]
    assert lines[2].split() == ["no", "defense", "0.9900", "not", "attacked"]
    assert lines[3].startswith(" dropout 0.2 on features    0.9800      26.00  0.800         50%  ")
    rows = [line for line in lines[3:] if "50%" in line]
    named = [line.split("%  ")[1].split()[0] for line in rows]
    assert named == ["rmle", "inverse", "inverse"], "the last set of rights holds the second"
    assert "      unreliable: not converged" in lines


def test_of_each_setting_the_rights_within_which_most_leaks_come_first():
    """Those within which nothing beats the blind attack are left out where there are others."""
    aux = ["AUX_IMAGES", "AUX_LABELS"]
    records = [
        record(strength=0.3, ssim=0.4),
        record(strength=0.3, ssim=0.3, attack="blind", access=aux),
        record(strength=0.3, ssim=0.7, attack="inverse", access=["EDGE_QUERIES", "AUX_IMAGES"]),
        record(strength=0.6, ssim=0.3, attack="blind", access=aux),
    ]
    rows = re.findall(r"  (\w+) \((?:edge|aux)_", table(records))
    assert rows == ["inverse", "rmle", "blind"]
