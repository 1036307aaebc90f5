"""Folders of pictures: decoded once, in parallel, and kept in the store."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from privbench.runtime.countdown import Countdown
from privbench.store.artifacts import Artifact, Store

HALVES = ("train", "test")
READER = 1
"""Moves when the same files would be read into other pixels."""

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Pictures:
    """What was read.

    Attributes:
        halves: Class names, then training and test images ``(N, C, H, W)``, 8-bit, with labels.
        notes: ``skipped``: pictures left out.
    """

    halves: tuple[list[str], tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
    notes: dict[str, int]


def read_folders(
    root: Path, shape: Shape, store: Store, *, watched: bool, skip_unreadable: bool = False
) -> Pictures:
    """Pictures of ``root/train/<class>/*`` and ``root/test/<class>/*``.

    The store keeps them under the names, sizes and times of all files: a changed file is seen.

    Args:
        root: The folder.
        shape: ``(C, H, W)`` of what comes out.
        store: Keeps what was decoded.
        watched: Show progress as a bar, not as lines.
        skip_unreadable: Leave out what does not decode.

    Raises:
        ValueError: naming a folder that is missing or empty, or a picture that does not decode.
    """
    listed = [_listing(root / half) for half in HALVES]
    classes = sorted({label for half in listed for label, _, _ in half})
    recipe = {
        "reader": READER,
        "root": str(root.resolve()),
        "shape": shape,
        "skip_unreadable": skip_unreadable,
        "files": [[(f"{label}/{path.name}", *stat) for label, path, stat in h] for h in listed],
    }

    def decode() -> Artifact:
        tensors, skipped = {}, 0
        for half, files in zip(HALVES, listed, strict=True):
            pixels = _decode([path for _, path, _ in files], shape, watched, skip_unreadable)
            read = [
                (picture, classes.index(label))
                for picture, (label, _, _) in zip(pixels, files, strict=True)
                if picture is not None
            ]
            skipped += len(pixels) - len(read)
            if not read:
                raise ValueError(f"{root / half} holds no readable picture")
            tensors[f"{half}.images"] = torch.from_numpy(np.stack([picture for picture, _ in read]))
            tensors[f"{half}.labels"] = torch.tensor([label for _, label in read])
        return Artifact(tensors, {"skipped": skipped})

    kept = store.keep("pictures", recipe, decode)
    train, test = ((kept.tensors[f"{h}.images"], kept.tensors[f"{h}.labels"]) for h in HALVES)
    return Pictures((classes, train, test), dict(kept.facts))


def _listing(folder: Path) -> list[tuple[str, Path, tuple[int, int]]]:
    """Class, path, size and time of every file, in the order of their names."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is missing: a folder of images holds train/<class>/* and test/<class>/*"
        )
    files = []
    for label in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        for entry in sorted(os.scandir(folder / label), key=lambda entry: entry.name):
            if entry.is_file() and not entry.name.startswith("."):
                stat = entry.stat()
                files.append((label, Path(entry.path), (stat.st_size, stat.st_mtime_ns)))
    if not files:
        raise ValueError(f"{folder} is empty: it should hold a folder of pictures for each class")
    return files


def _decode(
    paths: Sequence[Path], shape: Shape, watched: bool, skip_unreadable: bool
) -> list[NDArray[np.uint8] | None]:
    """Every picture, in order; the codecs release the interpreter, so threads do."""

    def one(path: Path) -> NDArray[np.uint8] | None:
        try:
            return picture(path, shape)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if skip_unreadable:
                return None
            raise ValueError(
                f"{path} does not read as a picture ({error}): mend it, or type "
                "dataset.skip_unreadable=true to leave such files out"
            ) from error

    shown = Countdown("decoding", len(paths), unit="picture", watched=watched)
    with shown, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        decoded = []
        try:
            for pixels in pool.map(one, paths):
                decoded.append(pixels)
                shown.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return decoded


def picture(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """One picture as ``(C, H, W)``, 8-bit: turned upright, its middle cut out and resized.

    Raises:
        OSError: where it does not decode.
    """
    channels, height, width = shape
    with Image.open(path) as opened:
        # decodes a large JPEG at a fraction of its size, where that is enough
        opened.draft("L" if channels == 1 else "RGB", (2 * width, 2 * height))
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bit(image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1).copy()


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit greys scaled by their depth, which Pillow would cut off at 255."""
    values = np.asarray(image, dtype=np.float64)
    peak = 255 if values.max() <= 255 else 65535
    return Image.fromarray((values / peak * 255).clip(0, 255).round().astype(np.uint8))
