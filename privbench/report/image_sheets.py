"""Every image of every record, as sheets that a page holds or finds in files next to it."""

import base64
import hashlib
import io
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privbench.report.analysis.images import ImageLoader
from privbench.store.record import Record

MAX_BYTES = 1_600_000
"""Bytes of sheets that a page of 3 MB holds, before their encoding as text; files hold others."""
SCORES_OF_IMAGE = 5
"""Bytes of those that the scores of an image need."""
MAX_SIDE = 96
"""Largest side of an image on a sheet, in pixels; the store has the whole one."""
QUALITIES: tuple[int | None, ...] = (None, 80, 50, 30, 15)
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
        room: Bytes that the page has left for sheets.
        smaller: Whether images are shown smaller than they are.
    """

    quality: int | None = None
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    of: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    room: int = MAX_BYTES
    smaller: bool = False

    @classmethod
    def read(cls, records: Sequence[Record], read: ImageLoader) -> "ImageSheets":
        """Read the images of records, with the best quality by which they fit the page if any."""
        room = MAX_BYTES - SCORES_OF_IMAGE * sum(record.targets for record in records)
        for quality in _fitting_qualities(records, read, room):
            sheets = cls(quality, room=room)
            for record in records:
                sheets.of[record.key] = sheets._names(record, read)
            if not sheets.files:
                break
        return sheets

    def _names(self, record: Record, read: ImageLoader) -> dict[str, str]:
        try:
            originals, recovered = read(record)
        except (OSError, ValueError):
            return {"why": "its images cannot be read"}
        return {"originals": self._add(originals), "recovered": self._add(recovered)}

    @property
    def note(self) -> str:
        """Sentence on what is shown differently from the store; empty where nothing is."""
        found = []
        if self.smaller:
            found.append(f"They are shrunk to at most {MAX_SIDE} pixels a side.")
        if self.quality is not None:
            found.append(
                f"They are compressed (WebP {self.quality}): the store has the exact ones."
            )
        elif self.smaller:
            found.append("The store has the whole ones.")
        if self.files:
            count = f"{len(self.files)} of {len(self.held)} sheets"
            found.append(f"{count} lie in images/, to be copied with this page.")
        return " ".join(found)

    def _add(self, images: NDArray[np.uint8]) -> str:
        name = hashlib.sha256(images.tobytes()).hexdigest()[:12]
        if name in self.held:
            return name
        data, side, columns = sheet(images, self.quality)
        self.smaller = self.smaller or side != images.shape[:1:-1]
        source = f"images/{name}.webp"
        if len(data) <= self.room:
            self.room -= len(data)
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
    whole = Image.new("RGB", (side[0] * columns, side[1] * math.ceil(count / columns)))
    for at, image in enumerate(images):
        picture = as_picture(image)
        if shrink > 1:  # each by itself: its neighbours are other images
            picture = picture.resize(side)
        whole.paste(picture, (at % columns * side[0], at // columns * side[1]))
    buffer = io.BytesIO()
    chosen = {"lossless": True, "quality": 60} if quality is None else {"quality": quality}
    whole.save(buffer, format="WEBP", method=3, **chosen)
    return buffer.getvalue(), side, columns


def _fitting_qualities(
    records: Sequence[Record], read: ImageLoader, room: int
) -> Sequence[int | None]:
    """Return the qualities by which all sheets may fit, judged by a few; at least the lowest."""
    shown = []
    for record in records[:: max(1, len(records) // SAMPLE)]:
        with suppress(OSError, ValueError):
            shown.append(read(record)[1])
    for at, quality in enumerate(QUALITIES):
        sizes = [len(sheet(images, quality)[0]) for images in shown]
        if len(records) * sum(sizes) <= room * len(sizes):
            return QUALITIES[at:]
    return QUALITIES[-1:]
