"""Command ``python -m privbench.papers.attacks FOLDER``: attacks compared with earlier ones."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from privbench.papers.attacks.document import document
from privbench.report.analysis.selection import select
from privbench.runtime.errors import UserError
from privbench.runtime.files import write_atomically
from privbench.runtime.pipes import ends_with_its_reader

PROGRAM = "python -m privbench.papers.attacks"


@ends_with_its_reader
def main(arguments: Sequence[str] | None = None) -> None:
    """Write the document, or print it where no file is named."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(typed)
    try:
        text = document(select(options.folder, {}), f"{PROGRAM} {shlex.join(typed)}")
        if options.write:
            write_atomically(options.write, text.encode())
        print(options.write or text)
    except (OSError, ValueError, UserError) as error:
        sys.exit(f"privbench: {' '.join(str(error).split())}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare attacks with the best of rmle, rmle_adaptive and inverse, by setting.",
    )
    parser.add_argument("folder", type=Path, help="outputs, outputs/store or outputs/sweeps/NAME")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file to write")
    return parser


if __name__ == "__main__":
    main()
