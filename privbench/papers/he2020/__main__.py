"""Command ``python -m privbench.papers.he2020 FOLDER``: published numbers next to measured ones."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from privbench.papers.he2020.comparable import comparable
from privbench.papers.he2020.comparison import match_published
from privbench.papers.he2020.document import document
from privbench.papers.he2020.published import overlay
from privbench.report.analysis.images import image_loader
from privbench.report.analysis.selection import Selection, select
from privbench.report.analysis.tradeoffs import panels
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
    text = "folder for the paper's figures, redrawn with the published numbers"
    parser.add_argument("--redrawn", type=Path, metavar="FOLDER", help=text)
    parser.add_argument(
        "--page", type=Path, metavar="FOLDER", help="folder for a report page with published curves"
    )
    return parser


def _write(selection: Selection, options: argparse.Namespace, command: str) -> None:
    if options.write or not (options.figures or options.page or options.redrawn):
        text = document(selection.records, command, selection.gaps, selection.makers)
        if options.write:
            options.write.write_text(text)
        print(options.write or text)
    if options.figures:
        require_extra(command)
        from privbench.papers.he2020.figures import write_figures

        for path in write_figures(selection, options.figures):
            print(path)
    if options.redrawn:
        require_extra(command)
        print(_redraw(selection, options.redrawn, command))
    if options.page:
        from privbench.report.writing import write

        print(write(selection, options.page, overlay))


def _redraw(selection: Selection, folder: Path, command: str) -> Path:
    """Write the redrawn figures as PNG files, and the page that shows them; return its path.

    Raises:
        UserError: where no published setting was measured.
    """
    from privbench.papers.he2020 import redrawn

    matched = match_published(panels(comparable(selection.records, selection.gaps), selection.gaps))
    drawn = list(redrawn.figures(matched, image_loader(selection.store)))
    if not drawn:
        raise UserError("no record has a setting of the paper: run one of sweeps=he2020/...")
    folder.mkdir(parents=True, exist_ok=True)
    earlier = {path.stem for path in folder.glob("*.png")}
    for figure in drawn:
        (folder / f"{figure.stem}.png").write_bytes(figure.files()[f"{figure.stem}.png"])
    (folder / "README.md").write_text(redrawn.page(drawn, command, earlier))
    return folder / "README.md"


if __name__ == "__main__":
    main()
