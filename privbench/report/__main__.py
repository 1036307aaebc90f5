"""``python -m privbench.report FOLDER``: pages, figures and tables of a sweep or a store."""

import argparse
import shlex
import sys
from pathlib import Path

from privbench.report.selection import FILTERS, select


def main() -> None:
    """Write the report and print where it lies; exit code 1 where there is nothing to report."""
    parser = argparse.ArgumentParser(
        prog="python -m privbench.report",
        description="Draws a sweep, or any selection of a store's records.",
    )
    parser.add_argument("folder", type=Path, help="outputs/sweeps/NAME, outputs/store or outputs")
    parser.add_argument(
        "--to",
        type=Path,
        help="where to write, --paper its pictures; the default is beside the records",
    )
    parser.add_argument(
        "--paper", type=Path, help="write the paper beside the records into this file instead"
    )
    for name in FILTERS:
        told = f"keep these alone, e.g. --{name} VALUE,VALUE"
        parser.add_argument(f"--{name}", default="", help=told)
    asked = parser.parse_args()
    filters = {name: [v for v in getattr(asked, name).split(",") if v] for name in FILTERS}
    try:
        selection = select(asked.folder, filters)
        if asked.paper:
            from privbench.papers.he2020.document import document, pictures

            how = f"python -m privbench.report {shlex.join(sys.argv[1:])}"
            text = document(selection.records, how, selection.gaps, selection.makers)
            asked.paper.write_text(text)
            print(asked.paper)
            if asked.to:
                print(*pictures(selection, asked.to), sep="\n")
            return
        place = asked.to or _place(asked.folder, selection.name)
        from privbench.report.writing import write

        page = write(selection, place)
    except (OSError, ValueError) as error:
        print(f"privbench: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    for line in selection.unreadable:
        print(f"privbench: skipped: {line}", file=sys.stderr)
    lacking = f", {len(selection.missing)} without a record" if selection.missing else ""
    print(f"{page} ({len(selection.records)} cells{lacking})")


def _place(folder: Path, name: str) -> Path:
    if (folder / "cells.jsonl").is_file():
        return folder / ("report" if name == folder.resolve().name else f"report-{name}")
    outputs = folder.parent if (folder / "records").is_dir() else folder
    return outputs / "reports" / name


if __name__ == "__main__":
    main()
