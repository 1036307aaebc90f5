"""Folders of image files, decoded once, in parallel, and cached in the store."""

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

from privbench.data.image_data import LabelledPixels
from privbench.runtime.countdown import Countdown
from privbench.store.artifacts import Artifact, Store

HALVES = ("train", "test")
READER = 1
"""Version of the decoding; raise it when the same files would give other pixels."""

Shape = tuple[int, int, int]
ImageFile = tuple[str, Path, tuple[int, int]]
"""Class, path, and size in bytes with the time of change in nanoseconds."""


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Images of a folder.

    Attributes:
        classes: Names, in the order of the labels.
        train: 8-bit training images ``(N, C, H, W)`` and labels ``(N,)``.
        test: The same of the test.
        notes: ``skipped``: number of files left out.
    """

    classes: list[str]
    train: LabelledPixels
    test: LabelledPixels
    notes: dict[str, int]


def read_folders(
    root: Path, shape: Shape, store: Store, *, show_progress: bool, skip_unreadable: bool = False
) -> DecodedImages:
    """Read the images ``root/train/<class>/*`` and ``root/test/<class>/*``.

    The store caches them under names, sizes and times of all files, so a changed file is noticed.

    Args:
        root: The folder.
        shape: ``(C, H, W)`` of the decoded images.
        store: Cache of decoded images.
        show_progress: Show progress as a bar, not as lines.
        skip_unreadable: Leave out files that do not decode.

    Raises:
        ValueError: naming a folder that is missing or empty, or a file that does not decode.
    """
    listings = {half: _list_files(root / half) for half in HALVES}
    classes = sorted({label for files in listings.values() for label, _, _ in files})
    recipe = {
        "reader": READER,
        "root": str(root.resolve()),
        "shape": shape,
        "skip_unreadable": skip_unreadable,
        "files": [
            [(f"{label}/{path.name}", *stat) for label, path, stat in files]
            for files in listings.values()
        ],
    }

    def decode() -> Artifact:
        tensors: dict[str, Tensor] = {}
        skipped = 0
        for half, files in listings.items():
            pixels = _decode([path for _, path, _ in files], shape, show_progress, skip_unreadable)
            labels = [classes.index(label) for label, _, _ in files]
            found = [pair for pair in zip(pixels, labels, strict=True) if pair[0] is not None]
            if not found:
                raise ValueError(f"{root / half} holds no readable image")
            skipped += len(pixels) - len(found)
            tensors[f"{half}.images"] = torch.from_numpy(np.stack([image for image, _ in found]))
            tensors[f"{half}.labels"] = torch.tensor([label for _, label in found])
        return Artifact(tensors, {"skipped": skipped})

    cached = store.keep("images", recipe, decode)
    train, test = ((cached.tensors[f"{h}.images"], cached.tensors[f"{h}.labels"]) for h in HALVES)
    return DecodedImages(classes, train, test, dict(cached.facts))


def _list_files(folder: Path) -> list[ImageFile]:
    """List the files of all classes, in the order of their names."""
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
        raise ValueError(f"{folder} is empty: it should hold a folder of images for each class")
    return files


def _decode(
    paths: Sequence[Path], shape: Shape, show_progress: bool, skip_unreadable: bool
) -> list[NDArray[np.uint8] | None]:
    """Decode files in order; codecs release the interpreter lock, so threads run in parallel.

    Returns:
        An image for each file; ``None`` for one that is skipped.
    """

    def decode_one(path: Path) -> NDArray[np.uint8] | None:
        try:
            return decode_image(path, shape)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if skip_unreadable:
                return None
            raise ValueError(
                f"{path} does not decode as an image ({error}): repair it, or type "
                "dataset.skip_unreadable=true to leave such files out"
            ) from error

    progress = Countdown("decoding", len(paths), unit="image", show_bar=show_progress)
    with progress, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        decoded = []
        try:
            for pixels in pool.map(decode_one, paths):
                decoded.append(pixels)
                progress.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return decoded


def decode_image(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """Decode an image file, turn it upright, crop its centre and resize it.

    Returns:
        Pixels ``(C, H, W)``, 8-bit.

    Raises:
        OSError: where it does not decode.
    """
    channels, height, width = shape
    with Image.open(path) as opened:
        # decodes a large JPEG at a fraction of its size, where that is enough
        opened.draft("L" if channels == 1 else "RGB", (2 * width, 2 * height))
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1).copy()


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey values by their depth, which Pillow would cut off at 255."""
    values = np.asarray(image, dtype=np.float64)
    peak = 255 if values.max() <= 255 else 65535
    return Image.fromarray((values / peak * 255).clip(0, 255).round().astype(np.uint8))
