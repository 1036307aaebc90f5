"""Networks of torchvision and of users from the command line to a record."""

import numpy as np
import pytest
from PIL import Image

from tests.runs import read_records


@pytest.fixture
def photos(tmp_path):
    """Two classes of photographs, larger than the network takes them, that the test draws."""
    draw = np.random.default_rng(0)
    for half, count in (("train", 8), ("test", 4)):
        for label, level in (("cat", 60), ("dog", 160)):
            folder = tmp_path / "photos" / half / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(level, level + 60, size=(72, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.fault
def test_torchvisions_resnet18_is_cut_and_attacked_on_an_image_folder(
    photos, privbench, tmp_path, brief_classifier
):
    """ImageNet-sized, with random weights, at 64x64; at every depth, for a few steps."""
    code, _, err = privbench(
        "-m", "dataset=image_folder", f"dataset.root={photos}", "dataset.shape=[3,64,64]",
        "victim=torchvision", "victim.arch=resnet18", "victim.epochs=0", "split=early,middle,late",
        "attack=rmle", "attack.steps=2", "defense=gaussian", "targets=2", f"output_dir={tmp_path}",
    )  # fmt: skip
    assert code == 0, err
    records = sorted(read_records(tmp_path), key=lambda record: record.split_index)
    assert len({record.split for record in records}) == 3
    assert [record.config["split"] for record in records] == ["early", "middle", "late"]
    for record in records:
        assert record.split_count == 23 and record.dataset == "image_folder"
        assert len(record.scores["psnr_db"].per_image) == 2
        assert record.failed == 0
    flops = [record.score("edge_flops") for record in records]
    assert 0 < flops[0] < flops[1] < flops[2]
