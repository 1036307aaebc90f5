"""Move trained victims and records between machines: ``python -m privbench.store --help``."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from privbench.store.archive import StoredArtifact, export, restore, stored_artifacts
from privbench.store.record_archive import export_records, import_records, store_in

NAMES = {"victims": "victim", "judges": "evaluation classifier"}


def main(words: Sequence[str] | None = None) -> None:
    """Do what the words say; bad input is one line and exit code 1."""
    given = _parser().parse_args(words)
    try:
        COMMANDS[given.command](given)
    except (ValueError, OSError) as error:
        _complain(str(error))
        sys.exit(1)


def _export_victims(given: argparse.Namespace) -> None:
    print(f"{given.file}: {_counted(export(given.outputs / 'store', given.file))}")


def _import_victims(given: argparse.Namespace) -> None:
    store = given.outputs / "store"
    new, old = restore(given.file, store, replace=given.replace)
    print(f"{store}: {_counted(new)} imported, {_counted(old)} there already")


def _list(given: argparse.Namespace) -> None:
    print("\n".join(map(_line, stored_artifacts(given.outputs / "store"))))


def _export_records(given: argparse.Namespace) -> None:
    count, unreadable = export_records(given.folder, given.file)
    for line in unreadable:
        _complain(f"left out: {line}")
    print(f"{given.file}: {_records(count)}")


def _import_records(given: argparse.Namespace) -> None:
    """Import what the store lacks; exit code 1 where it has other numbers of a record."""
    store = store_in(given.folder)
    done = import_records(given.file, given.folder)
    print(f"{store}: {_records(len(done.new))} imported, {len(done.present)} there already")
    if done.other_victim:
        _complain(
            f"{_records(len(done.other_victim))} of victims with other weights than the store's "
            "(import-victims moves those): a sweep runs their cells again"
        )
    if done.different:
        _complain(
            f"{_records(len(done.different))} of {given.file} not imported, since the store has "
            f"them with other numbers: {', '.join(done.different)}"
        )
        sys.exit(1)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "export-victims": _export_victims,
    "import-victims": _import_victims,
    "list": _list,
    "export-records": _export_records,
    "import-records": _import_records,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m privbench.store",
        description="Move trained victims, and the classifiers that evaluate, to another machine: "
        "results compare only where the weights are the same. Move records, without their images.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    outputs, tar = ("outputs", "OUTPUTS", "folder that output_dir names"), ("file", "FILE.tar", "")
    file = ("file", "FILE", "JSON lines, compressed by xz: FILE.jsonl.xz")
    given = {
        "export-victims": ("write those of OUTPUTS to FILE.tar", (outputs, tar)),
        "import-victims": ("put those of FILE.tar into OUTPUTS", (tar, outputs)),
        "list": ("list those of OUTPUTS with their SHA-256", (outputs,)),
        "export-records": ("write whole records, without images, to FILE", (file,)),
        "import-records": ("put the records of FILE where sweeps and reports find them", (file,)),
    }
    made = {}
    for name, (text, arguments) in given.items():
        command = made[name] = commands.add_parser(name, help=text, description=text)
        for argument, shown, help_ in arguments:
            command.add_argument(argument, metavar=shown, type=Path, help=help_)
    made["import-victims"].add_argument(
        "--replace", action="store_true", help="where OUTPUTS has other weights of a recipe"
    )
    sources = "outputs, a store, or a sweep's folder for its records (default: outputs)"
    _add_folder(made["export-records"], "--from", sources)
    _add_folder(made["import-records"], "--into", "outputs or a store (default: outputs)")
    return parser


def _add_folder(command: argparse.ArgumentParser, option: str, text: str) -> None:
    default = Path("outputs")
    command.add_argument(
        option, dest="folder", metavar="FOLDER", type=Path, default=default, help=text
    )


def _complain(line: str) -> None:
    print(f"privbench: {' '.join(line.split())}", file=sys.stderr)


def _records(count: int) -> str:
    return f"{count} record{'' if count == 1 else 's'}"


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
