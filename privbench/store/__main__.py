"""Move trained victims between machines: ``python -m privbench.store --help`` (no torch)."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from privbench.store.archive import StoredArtifact, export, restore, stored_artifacts

NAMES = {"victims": "victim", "judges": "evaluation classifier"}


def main(words: Sequence[str] | None = None) -> None:
    """Do what the words say; bad input is one line and exit code 1."""
    given = _parser().parse_args(words)
    store = given.outputs / "store"
    try:
        if given.command == "export-victims":
            print(f"{given.file}: {_counted(export(store, given.file))}")
        elif given.command == "import-victims":
            new, old = restore(given.file, store, replace=given.replace)
            print(f"{store}: {_counted(new)} imported, {_counted(old)} there already")
        else:
            print("\n".join(map(_line, stored_artifacts(store))))
    except (ValueError, OSError) as error:
        print(f"privbench: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m privbench.store",
        description="Move trained victims, and the classifiers that evaluate, to another machine: "
        "results compare only where the weights are the same.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    outputs, file = ("outputs", "OUTPUTS", "folder that output_dir names"), ("file", "FILE.tar", "")
    given = {
        "export-victims": ("write those of OUTPUTS to FILE.tar", (outputs, file)),
        "import-victims": ("put those of FILE.tar into OUTPUTS", (file, outputs)),
        "list": ("list those of OUTPUTS with their SHA-256", (outputs,)),
    }
    for name, (text, arguments) in given.items():
        command = commands.add_parser(name, help=text, description=text)
        for argument, shown, help_ in arguments:
            command.add_argument(argument, metavar=shown, type=Path, help=help_)
        if name == "import-victims":
            command.add_argument(
                "--replace", action="store_true", help="where OUTPUTS has other weights of a recipe"
            )
    return parser


def _counted(found: Sequence[StoredArtifact]) -> str:
    count = Counter(one.kind for one in found)
    return " and ".join(
        f"{count[kind]} {name}{'' if count[kind] == 1 else 's'}" for kind, name in NAMES.items()
    )


def _line(one: StoredArtifact) -> str:
    what = " ".join(str(one.facts[name]) for name in ("victim", "dataset") if name in one.facts)
    seed = f" seed {one.recipe['seed']}" if "seed" in one.recipe else ""
    return f"{one.name}  sha256 {one.sha256}  {what or NAMES[one.kind]}{seed}"


if __name__ == "__main__":
    main()
