import math
import subprocess
import sys

from privbench.report.analysis.frame import SeedGroup, differences
from privbench.report.analysis.selection import of_cells
from privbench.store.group_keys import group_key, setting_key
from privbench.store.sweep_log import SweepLog
from tests.records import put_images, record, sweep


def _scored(seed, images):
    others = {name: list(images.values()) for name in ("ssim", "psnr_db")}
    return record(seed=seed, targets=len(images), per_image={"index": list(images), **others})


def test_means_are_exact_and_in_the_order_of_first_appearance():
    """Image 7 comes first; its mean is that of the exact sum, which a running sum misses."""
    group = SeedGroup([_scored(seed, {7: value, 3: 0.5}) for seed, value in enumerate([0.1] * 10)])
    assert list(group.by_image("ssim").index) == [7, 3]
    assert group.by_image("ssim").tolist() == [math.fsum([0.1] * 10) / 10, 0.5]
    assert group.images == 2


def test_differences_are_of_shared_images_and_victims():
    one = SeedGroup([_scored(0, {4: 0.75, 2: 0.5}), _scored(1, {4: 0.25})])
    other = SeedGroup([_scored(0, {2: 0.25, 9: 0.0}), _scored(2, {4: 1.0})])
    found = differences(one, other, "ssim")
    assert [(at[0], at[1]) for at in found.index] == [(2, 0)]
    assert found.tolist() == [0.25]


def test_a_sweep_starts_without_pandas():
    code = (
        "import sys, privbench.sweep.sweeper, privbench.sweep.status, privbench.store.group_keys\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_share_over_seeds_has_wilsons_interval():
    """None and all of fifty images have a width, and no end lies beyond 0 and 1."""
    for count, share, ends in (
        (50, 0.0, (0.0, 0.071)),
        (50, 1.0, (0.929, 1.0)),
        (10, 1.0, (0.722, 1.0)),
    ):
        groups = [record(seed=seed, targets=count) for seed in range(3)]
        for one in groups:
            put_images(one, "identification", [share] * count)
        found = SeedGroup(groups).interval("identification")
        assert [round(end, 3) for end in found] == list(ends)


def test_gaps_of_a_log_that_an_earlier_version_wrote_are_those_of_its_records(tmp_path):
    """Their groups had another name for the same setting."""
    done, failed = record(seed=0), record(seed=1)
    folder = sweep(tmp_path, "old", [done], [failed])
    now = setting_key(group_key(done))
    log = folder / "cells.jsonl"
    log.write_text(log.read_text().replace(now, "0" * len(now)))
    assert now not in log.read_text()
    _, ((missing, _),) = of_cells(SweepLog(folder))
    assert missing.group == group_key(failed) == group_key(done)
