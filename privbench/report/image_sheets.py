"""Every image of every record, as sheets that a page holds or finds in files next to it."""

import base64
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privbench.analysis.images import ImageLoader
from privbench.store.record import Record

MAX_BYTES = 900_000
"""Bytes of sheets that a page holds, before their encoding as text; files hold the others."""
MAX_SIDE = 96
"""Largest side of an image on a sheet, in pixels; the store has the whole one."""
QUALITIES: tuple[int | None, ...] = (None, 80, 50)
"""WebP qualities to choose from; null is lossless."""
SAMPLE = 6
"""Records whose sheets are encoded to choose the quality."""


def as_picture(image: NDArray[np.uint8]) -> Image.Image:
    """Return an image ``(C, H, W)`` of one or three channels as Pillow has it."""
    shown = image.transpose(1, 2, 0)
    return Image.fromarray(shown[..., 0] if shown.shape[2] == 1 else shown)


@dataclass
class ImageSheets:
    """Sheets of originals and reconstructions.

    Attributes:
        quality: WebP quality of the sheets; null where they are lossless.
        held: Description of each sheet by its name: source, side of an image, columns, images.
        of: Names of the sheets of a record: ``originals`` and ``recovered``; or the reason ``why``
            there are none.
        files: Sheets that the page has no room for, by file name.
    """

    quality: int | None = None
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    of: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    _bytes: int = 0

    @classmethod
    def read(cls, records: Sequence[Record], read: ImageLoader) -> "ImageSheets":
        """Read the images of records, with a quality by which they fit the page if any does."""
        sheets = cls(_fitting_quality(records, read))
        for record in records:
            try:
                originals, recovered = read(record)
            except (OSError, ValueError):
                sheets.of[record.key] = {"why": "its images cannot be read"}
                continue
            names = {"originals": sheets._add(originals), "recovered": sheets._add(recovered)}
            sheets.of[record.key] = names
        return sheets

    @property
    def note(self) -> str:
        """Sentence on what is shown differently from the store; empty where nothing is."""
        found = []
        if self.quality is not None:
            found.append(
                f"They are compressed (WebP {self.quality}): the store has the exact ones."
            )
        if self.files:
            found.append(f"{len(self.files)} sheets of them lie in images/, next to this page.")
        return " ".join(found)

    def _add(self, images: NDArray[np.uint8]) -> str:
        name = hashlib.sha256(images.tobytes()).hexdigest()[:12]
        if name in self.held:
            return name
        data, side, columns = sheet(images, self.quality)
        source = f"images/{name}.webp"
        if self._bytes + len(data) <= MAX_BYTES:
            self._bytes += len(data)
            source = "data:image/webp;base64," + base64.b64encode(data).decode()
        else:
            self.files[source] = data
        self.held[name] = {
            "source": source, "width": side[0], "height": side[1], "columns": columns,
            "images": len(images),
        }  # fmt: skip
        return name


def sheet(images: NDArray[np.uint8], quality: int | None) -> tuple[bytes, tuple[int, int], int]:
    """Return a sheet of images as WebP, the width and height of an image, and its columns.

    Args:
        images: Images ``(N, C, H, W)``.
        quality: WebP quality; null for lossless.
    """
    count, _, height, width = images.shape
    shrink = max(1, math.ceil(max(height, width) / MAX_SIDE))
    side = width // shrink, height // shrink
    columns = math.ceil(math.sqrt(count))
    filled = np.zeros((columns * math.ceil(count / columns), *images.shape[1:]), np.uint8)
    filled[:count] = images
    rows = [np.concatenate(list(filled[at : at + columns]), 2) for at in range(0, count, columns)]
    whole = as_picture(np.concatenate(rows, 1)).convert("RGB")
    if shrink > 1:
        size = side[0] * columns, side[1] * len(rows)
        whole = whole.crop((0, 0, width * columns, height * len(rows))).resize(size)
    buffer = io.BytesIO()
    chosen = {"lossless": True, "quality": 60} if quality is None else {"quality": quality}
    whole.save(buffer, format="WEBP", method=3, **chosen)
    return buffer.getvalue(), side, columns


def _fitting_quality(records: Sequence[Record], read: ImageLoader) -> int | None:
    """Return the best quality by which all sheets fit the page, judged by a few; else the least."""
    shown = []
    for record in records[:: max(1, len(records) // SAMPLE)]:
        try:
            shown.append(read(record)[1])
        except (OSError, ValueError):
            continue
    for quality in QUALITIES if shown else ():
        sizes = [len(sheet(images, quality)[0]) for images in shown]
        if 1.2 * len(records) * sum(sizes) / len(sizes) < MAX_BYTES:
            return quality
    return QUALITIES[-1] if shown else None
