"""Command ``python -m privbench.papers.he2020 FOLDER``: published numbers next to measured ones."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from privbench.analysis.selection import Selection, select
from privbench.papers.he2020.document import document
from privbench.papers.he2020.published import overlay
from privbench.report.rendering import require_extra
from privbench.runtime.errors import UserError
from privbench.runtime.pipes import ends_with_its_reader

PROGRAM = "python -m privbench.papers.he2020"


@ends_with_its_reader
def main(arguments: Sequence[str] | None = None) -> None:
    """Write the comparison, its figures or a page; print it where nothing is to be written."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(typed)
    try:
        _write(select(options.folder, {}), options, f"{PROGRAM} {shlex.join(typed)}")
    except (OSError, ValueError, UserError) as error:
        sys.exit(f"privbench: {' '.join(str(error).split())}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Compare the numbers of He et al. with a store's records."
    )
    parser.add_argument("folder", type=Path, help="outputs, outputs/store or outputs/sweeps/NAME")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file to write")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="folder for the figures")
    parser.add_argument(
        "--page", type=Path, metavar="FOLDER", help="folder for a report page with published curves"
    )
    return parser


def _write(selection: Selection, options: argparse.Namespace, command: str) -> None:
    if options.write or not (options.figures or options.page):
        text = document(selection.records, command, selection.gaps, selection.makers)
        if options.write:
            options.write.write_text(text)
        print(options.write or text)
    if options.figures:
        require_extra(command)
        from privbench.papers.he2020.figures import write_figures

        for path in write_figures(selection, options.figures):
            print(path)
    if options.page:
        from privbench.report.writing import write

        print(write(selection, options.page, overlay))


if __name__ == "__main__":
    main()
