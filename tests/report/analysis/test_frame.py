import math
import subprocess
import sys

from privbench.report.analysis.frame import SeedGroup, differences
from tests.records import record


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
