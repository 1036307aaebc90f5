"""Published numbers that the page of a paper's sweep shows."""

from importlib import import_module
from importlib.util import find_spec

from privbench.report.analysis.overlay import Overlay


def published_overlay(file: str | None) -> Overlay | None:
    """Return the overlay of the paper whose folder a sweep file lies in.

    Args:
        file: Name of the sweep file, such as ``he2020/fig9_mnist``; null for a typed sweep.

    Returns:
        ``privbench.papers.FOLDER.published.overlay``; null where the file lies in no folder or
        in one without published numbers.
    """
    paper = (file or "").rpartition("/")[0]
    if not paper.isidentifier():
        return None
    module = "privbench"
    for name in ("papers", paper, "published"):  # a document of our own results lacks the last one
        module = f"{module}.{name}"
        if find_spec(module) is None:
            return None
    overlay: Overlay = import_module(module).overlay
    return overlay
