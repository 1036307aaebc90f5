"""Command ``python -m privbench.report FOLDER``: page, figures and tables of a sweep or a store."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from privbench.report.analysis.selection import FILTERS, select
from privbench.runtime.errors import UserError
from privbench.runtime.pipes import ends_with_its_reader


@ends_with_its_reader
def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report and print its path; exit code 1 where there is nothing to report."""
    options = _parser().parse_args(arguments)
    if options.paper is not None:
        sys.exit(
            "privbench: --paper is now a command: "
            "python -m privbench.papers.he2020 FOLDER --write FILE"
        )
    filters = {name: [v for v in getattr(options, name).split(",") if v] for name in FILTERS}
    try:
        selection = select(options.folder, filters)
        folder = options.to or _default_folder(options.folder, selection.name)
        from privbench.report.writing import write

        page = write(selection, folder)
    except (OSError, ValueError, UserError) as error:
        sys.exit(f"privbench: {' '.join(str(error).split())}")
    for line in selection.unreadable:
        print(f"privbench: left out: {line}", file=sys.stderr)
    missing = f", {len(selection.missing)} without a record" if selection.missing else ""
    print(f"{page} ({len(selection.records)} cells{missing})")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m privbench.report",
        description="Report a sweep, or any selection of a store's records.",
    )
    parser.add_argument("folder", type=Path, help="outputs/sweeps/NAME, outputs/store or outputs")
    parser.add_argument(
        "--to", type=Path, help="folder to write into; by default one next to the records"
    )
    parser.add_argument("--paper", nargs="?", const="", help=argparse.SUPPRESS)
    for name in FILTERS:
        parser.add_argument(f"--{name}", default="", help=f"keep only --{name} VALUE,VALUE")
    return parser


def _default_folder(folder: Path, name: str) -> Path:
    if (folder / "cells.jsonl").is_file():
        return folder / ("report" if name == folder.resolve().name else f"report-{name}")
    outputs = folder.parent if (folder / "records").is_dir() else folder
    return outputs / "reports" / name


if __name__ == "__main__":
    main()
