"""Command ``python -m privbench.papers.defenses [FOLDER ...]``: the table of all defenses."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from privbench.papers.defenses.commands import other_options
from privbench.papers.defenses.document import document
from privbench.papers.defenses.rows import merged, read, rows_of, write
from privbench.report.analysis.selection import select
from privbench.runtime.errors import UserError
from privbench.runtime.files import write_atomically
from privbench.runtime.pipes import ends_with_its_reader

PROGRAM = "python -m privbench.papers.defenses"
RECORDS = Path("sweeps/defenses/records.csv")
RESULTS = "RESULTS.md"


@ends_with_its_reader
def main(arguments: Sequence[str] | None = None) -> None:
    """Add records to the file of rows, and write the document next to it."""
    options = _parser().parse_args(arguments)
    try:
        _write(options.folders, options.records)
    except (OSError, ValueError, UserError) as error:
        sys.exit(f"privbench: {' '.join(str(error).split())}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Add records to the table of all defenses, and write it."
    )
    text = "sweep, store or outputs folder whose records are added; none writes the table again"
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help=text)
    text = f"file of rows; {RESULTS} is written next to it (default: {RECORDS})"
    parser.add_argument("--records", type=Path, metavar="FILE", default=RECORDS, help=text)
    return parser


def _write(folders: Sequence[Path], file: Path) -> None:
    held = read(file)
    found = [row for folder in folders for row in rows_of(select(folder, {}).records)]
    other = {row.key: other_options(row) for row in found}
    added = [row for row in found if not other[row.key]]
    rows = merged([*held, *added])
    if folders:
        write(file, rows)
    results = file.with_name(RESULTS)
    write_atomically(results, document(rows, PROGRAM).encode())
    known = {row.key for row in held}
    new = sum(row.key not in known for row in rows)
    print(f"{file}: {len(rows)} rows, {new} of them new\n{results}")
    if len(added) < len(found):
        words = sorted({word for typed in other.values() for word in typed})
        print(f"left out, of options that the sweep does not set: {', '.join(words)}")


if __name__ == "__main__":
    main()
