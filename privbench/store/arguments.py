"""Words of ``python -m privbench.store``."""

import argparse
from pathlib import Path

from privbench.store.inventory import FILTERS, KINDS

SOURCES = "outputs, a store, or a sweep's folder for its records (default: outputs)"
DESCRIPTION = """\
List, show and delete what a store holds, and write it for other programs or other machines. rm and
gc delete nothing without --yes. Results compare only where the victim's weights are the same:
export-victims takes them along.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    made = argparse.ArgumentParser(prog="python -m privbench.store", description=DESCRIPTION)
    commands = made.add_subparsers(dest="command", required=True)
    for add in (_list, _show, _rm, _gc, _export, _transfer):
        add(commands)
    return made


Commands = argparse._SubParsersAction  # argparse has no public name for it


def _command(
    commands: "Commands[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")


def _list(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "list kinds, victims and sweeps, or each item of a choice"
    command = _command(commands, "list", text)
    command.add_argument("listed", metavar="FOLDER", nargs="?", type=Path, help="as --from")
    _add_folder(command, "--from", SOURCES)
    _add_choice(command)


def _show(commands: "Commands[argparse.ArgumentParser]") -> None:
    command = _command(commands, "show", "show scores, recipe and users of one record or network")
    command.add_argument("keys", metavar="KEY", nargs="+", help="the beginning suffices")
    _add_folder(command, "--from", SOURCES)


def _rm(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "delete records or networks, or a sweep with the records that no other sweep lists"
    command = _command(commands, "rm", text)
    text = "the beginning of a key, or the folder of a sweep: outputs/sweeps/NAME"
    command.add_argument("keys", metavar="KEY", nargs="*", help=text)
    _add_folder(command, "--from", SOURCES)
    _add_choice(command)
    _add_yes(command)


def _gc(commands: "Commands[argparse.ArgumentParser]") -> None:
    command = _command(commands, "gc", "delete networks that no record uses, and broken files")
    _add_folder(command, "--from", "outputs or a store (default: outputs)")
    text = "least age of what is deleted, so that a new network stays (default: 1d)"
    command.add_argument("--older-than", default="1d", metavar="AGE", help=text)
    _add_yes(command)


def _export(commands: "Commands[argparse.ArgumentParser]") -> None:
    text = "write a table: a row a record, with intervals, baselines and commands"
    command = _command(commands, "export", text)
    command.add_argument("file", metavar="FILE", type=Path, help="is written, or replaced")
    _add_folder(command, "--from", SOURCES)
    command.add_argument(
        "--format", choices=("csv", "parquet"), help="default: by the name of FILE"
    )
    command.add_argument("--images", action="store_true", help="write a row an image")
    _add_filters(command)


def _transfer(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the commands that move victims and records to another machine."""
    outputs, tar = ("outputs", "OUTPUTS", "folder that output_dir names"), ("file", "FILE.tar", "")
    file = ("file", "FILE", "JSON lines, compressed by xz: FILE.jsonl.xz")
    given = {
        "export-victims": ("write the victims of OUTPUTS to FILE.tar", (outputs, tar)),
        "import-victims": ("put the victims of FILE.tar into OUTPUTS", (tar, outputs)),
        "export-records": ("write whole records, without images, to FILE", (file,)),
        "import-records": ("put the records of FILE where sweeps and reports find them", (file,)),
    }
    made = {}
    for name, (text, arguments) in given.items():
        made[name] = _command(commands, name, text)
        for argument, shown, help_ in arguments:
            made[name].add_argument(argument, metavar=shown, type=Path, help=help_)
    text = "where OUTPUTS has other weights of a recipe"
    made["import-victims"].add_argument("--replace", action="store_true", help=text)
    _add_folder(made["export-records"], "--from", SOURCES)
    _add_folder(made["import-records"], "--into", "outputs or a store (default: outputs)")


def _add_choice(command: argparse.ArgumentParser) -> None:
    kinds = f"only of these kinds: {', '.join(KINDS)}"
    command.add_argument("--kind", default="", metavar="KIND,KIND", help=kinds)
    command.add_argument("--older-than", default="", metavar="AGE", help="such as 12h, 30d or 2w")
    _add_filters(command)


def _add_filters(command: argparse.ArgumentParser) -> None:
    for name in FILTERS:
        text = f"only records of this {name}"
        command.add_argument(f"--{name}", default="", metavar="VALUE,VALUE", help=text)


def _add_yes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--yes", action="store_true", help="delete; without it, only say what")


def _add_folder(command: argparse.ArgumentParser, option: str, text: str) -> None:
    default = Path("outputs")
    command.add_argument(
        option, dest="folder", metavar="FOLDER", type=Path, default=default, help=text
    )
