"""Folders of image files, decoded once, in parallel, and cached in the store."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field
from torch import Tensor

from privbench.data.image_data import LabelledPixels
from privbench.runtime.countdown import Countdown
from privbench.runtime.validation import expecting
from privbench.store.artifacts import Artifact, Store

HALVES = ("train", "test")
READER = 1
"""Version of the decoding; raise it when the same files would give other pixels."""

Side = Annotated[int, Field(ge=8, le=1024), expecting("a whole number from 8 to 1024")]
"""Height or width in pixels."""
Shape = tuple[int, int, int]
ImageFile = tuple[str, Path, tuple[int, int]]
"""Class, path, and size in bytes with the time of change in nanoseconds."""
LabelledFiles = tuple[list[Path], list[int]]
"""Image files and the label of each."""


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
    root: Path,
    shape: Shape,
    store: Store,
    *,
    show_progress: bool,
    skip_unreadable: bool | None = None,
) -> DecodedImages:
    """Read the images ``root/train/<class>/*`` and ``root/test/<class>/*``.

    The store caches them under names, sizes and times of all files, so a changed file is noticed.

    Args:
        root: The folder.
        shape: ``(C, H, W)`` of the decoded images.
        store: Cache of decoded images.
        show_progress: Show progress as a bar, not as lines.
        skip_unreadable: Leave out files that do not decode; null where no option does.

    Raises:
        ValueError: naming a folder that is missing or empty, or a file that does not decode.
    """
    listings = {half: _list_files(root / half) for half in HALVES}
    classes = sorted({label for files in listings.values() for label, _, _ in files})
    recipe = {
        "reader": READER,
        "root": str(root.resolve()),
        "shape": shape,
        "skip_unreadable": bool(skip_unreadable),
        "files": [
            [(f"{label}/{path.name}", *stat) for label, path, stat in files]
            for files in listings.values()
        ],
    }

    halves = {
        half: ([path for _, path, _ in files], [classes.index(label) for label, _, _ in files])
        for half, files in listings.items()
    }
    cached = _decoded(halves, shape, store, recipe, show_progress, skip_unreadable)
    return DecodedImages(classes, *_halves(cached), dict(cached.facts))


def read_files(
    halves: Mapping[str, LabelledFiles], shape: Shape, store: Store, *, show_progress: bool
) -> tuple[LabelledPixels, LabelledPixels]:
    """Read listed image files, which the store caches under their names, sizes and times.

    Args:
        halves: Files with their labels of ``train`` and of ``test``.
        shape: ``(C, H, W)`` of the decoded images.
        store: Cache of decoded images.
        show_progress: Show progress as a bar, not as lines.

    Returns:
        8-bit images and labels of both halves.

    Raises:
        ValueError: naming a file that is missing or does not decode.
    """
    listed = {
        half: [(str(path), *_stamp(path), label) for path, label in zip(*files, strict=True)]
        for half, files in halves.items()
    }
    recipe = {"reader": READER, "shape": shape, "listed": listed}
    return _halves(_decoded(halves, shape, store, recipe, show_progress, None))


def _decoded(
    halves: Mapping[str, LabelledFiles],
    shape: Shape,
    store: Store,
    recipe: Mapping[str, Any],
    show_progress: bool,
    skip_unreadable: bool | None,
) -> Artifact:
    """Decode both halves, or take them from the store; the tensors are the caller's."""

    def decode() -> Artifact:
        tensors: dict[str, Tensor] = {}
        skipped = 0
        for half, (paths, labels) in halves.items():
            pixels, rows = decode_files(
                paths, shape, show_progress=show_progress, skip_unreadable=skip_unreadable
            )
            if not rows:
                raise ValueError(f"{paths[0].parents[1]} holds no readable image")
            skipped += len(paths) - len(rows)
            tensors[f"{half}.images"] = pixels
            tensors[f"{half}.labels"] = torch.tensor([labels[row] for row in rows])
        return Artifact(tensors, {"skipped": skipped})

    return store.keep("images", recipe, decode, exclusive=True)


def _halves(read: Artifact) -> tuple[LabelledPixels, LabelledPixels]:
    train, test = ((read.tensors[f"{h}.images"], read.tensors[f"{h}.labels"]) for h in HALVES)
    return train, test


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    return stat.st_size, stat.st_mtime_ns


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


def decode_files(
    paths: Sequence[Path], shape: Shape, *, show_progress: bool, skip_unreadable: bool | None = None
) -> tuple[Tensor, list[int]]:
    """Decode files in order; codecs release the interpreter lock, so threads run in parallel.

    Returns:
        8-bit images ``(N, C, H, W)``, and the index of the file of each.

    Raises:
        ValueError: naming a file that does not decode, unless such files are skipped.
    """
    pixels = np.empty((len(paths), *shape), dtype=np.uint8)

    def decode_one(row: int) -> bool:
        try:
            pixels[row] = decode_image(paths[row], shape)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if skip_unreadable:
                return False
            skip = ", or type dataset.skip_unreadable=true to leave such files out"
            raise ValueError(
                f"{paths[row]} does not decode as an image ({error}): repair it"
                f"{'' if skip_unreadable is None else skip}"
            ) from error
        return True

    rows: list[int] = []
    progress = Countdown("decoding", len(paths), unit="image", show_bar=show_progress)
    with progress, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for row, readable in enumerate(pool.map(decode_one, range(len(paths)))):
                rows += [row] * readable
                progress.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for place, row in enumerate(rows):  # closes the gaps of files that were left out
        if place < row:
            pixels[place] = pixels[row]
    return torch.from_numpy(pixels[: len(rows)]), rows


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
