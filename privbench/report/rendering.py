"""Figures as files for a paper, and the scripts that draw them in a page (no browser, no network).

Altair describes a figure; vl-convert draws it. Both are the extra ``report``.
"""

import base64
import gzip
import io
import json
import textwrap
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from privbench.runtime.errors import UserError

PAPER = json.loads((Path(__file__).parent / "templates" / "paper.json").read_text())
"""Theme of the files, for print; the page has its own, in light and in dark colours."""
SCALE = 2
"""Pixels of a PNG for each point of a figure."""


@dataclass(frozen=True)
class Figure:
    """A figure of a report.

    Attributes:
        section: Heading that it stands under in the page.
        stem: Name of its files without their ending.
        title: What it shows.
        caption: Meaning of its marks.
        chart: Vega-Lite specification, without title and theme.
        setting: Title of the results that it shows; empty where it spans several.
        metric: Metric that it is drawn by.
    """

    section: str
    stem: str
    title: str
    caption: str
    chart: dict[str, Any]
    setting: str = ""
    metric: str = ""

    @property
    def width(self) -> int:
        """Width of the whole in characters, roughly, which titles are wrapped at."""
        return max(40, int(_points_wide(self.chart) / 5.4))

    def files(self) -> dict[str, bytes]:
        """Return the figure as SVG, PNG and PDF, by file name."""
        import vl_convert

        title = {"text": textwrap.wrap(self.title, self.width)}
        if self.caption:
            title["subtitle"] = textwrap.wrap(self.caption, self.width)
        svg = vl_convert.vegalite_to_svg({**self.chart, "title": title, "config": PAPER})
        png = vl_convert.svg_to_png(svg, scale=SCALE)
        return {
            f"{self.stem}.svg": svg.encode(),
            f"{self.stem}.png": png if self.section == IMAGES else _smaller(png),
            f"{self.stem}.pdf": vl_convert.svg_to_pdf(svg),
        }


IMAGES = "Reconstructions"
"""Section of the figures that hold images, whose colours stay as they are."""


def _points_wide(chart: dict[str, Any]) -> int:
    """Return the width of a specification's plots."""
    if "hconcat" in chart:
        return sum(_points_wide(part) for part in chart["hconcat"])
    if "facet" not in chart:
        return int(chart["width"])
    facets = len({row["facet"] for row in chart["data"]["values"]})
    return int(chart["spec"]["width"]) * min(int(chart["columns"]), facets)


def _smaller(png: bytes) -> bytes:
    """Return a PNG of few colours with a palette, a third of the size."""
    buffer = io.BytesIO()
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    whole.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="PNG")
    return buffer.getvalue()


def require_extra(command: str) -> None:
    """Refuse to draw without the libraries that draw.

    Args:
        command: Command that writes the report, once they are installed.

    Raises:
        UserError: with the commands that install them and write the report.
    """
    lacking = [name for name in ("altair", "vl_convert") if find_spec(name) is None]
    if lacking:
        raise UserError(
            f"a page needs {' and '.join(lacking)}: pip install 'privbench[report]', then {command}"
        )


@cache
def scripts() -> str:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed, ``packed``."""
    import vl_convert

    return packed(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def packed(text: str) -> str:
    """Return a text as base64 of gzip, less than half as long; ``unpack`` of a page reads it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
