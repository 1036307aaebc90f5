"""Command ``python -m privbench.plan``: where to split a network."""

import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from privbench.runtime.command_line import (
    config_folders,
    flags_first,
    quote_paths,
    require_readable,
)
from privbench.runtime.errors import UserError, print_error
from privbench.runtime.options import without_later_options
from privbench.runtime.paths import ROOT, register_hydra_plugins
from privbench.runtime.pipes import ends_with_its_reader

FORMATS = ("table", "markdown", "json", "csv", "page", "guideline")
FAILED: list[Exception] = []
"""The error that ended a plan."""


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="plan")
def _run(cfg: DictConfig) -> None:
    try:
        print(_planned(cfg))
    except Exception as error:  # Hydra would print a message of its own
        FAILED.append(UserError(str(error)) if isinstance(error, ValueError) else error)


def _planned(cfg: DictConfig) -> str:
    """Return the plan in the format that is asked for."""
    from privbench.plan.planner import Request, plan
    from privbench.runtime.validation import require_choice

    hydra_config = HydraConfig.get()
    # as cells have it, so that their records and victims are found
    config = without_later_options(OmegaConf.to_container(cfg, resolve=True))
    require_choice("format", config["format"], FORMATS)
    if config["calibrate"]:
        return _calibrated(Path(config["calibrate"]))
    choices = {group: str(choice) for group, choice in hydra_config.runtime.choices.items()}
    folders = config_folders(sys.argv[1:])
    made = plan(Request(config, choices, list(hydra_config.overrides.task), folders))
    from privbench.plan import output, terminal

    formats = {
        "table": terminal.to_text,
        "markdown": output.to_markdown,
        "json": output.to_json,
        "csv": output.to_csv,
        "page": _page,
        "guideline": _guideline,
    }
    return formats[config["format"]](made)


def _page(made: Any) -> str:
    """Write a plan's page and return its path."""
    from privbench.plan.page import write

    return str(write(made))


def _guideline(made: Any) -> str:
    """Return figure 2 and section IV-C of the paper for the plan's victim."""
    from privbench.plan.guideline import to_text

    return to_text(made)


def _calibrated(path: Path) -> str:
    """Return the yaml of a platform that the networks of a table were measured on."""
    from privbench.plan import calibrate

    return calibrate.platform_yaml(path.stem, calibrate.read(path), path.name).rstrip()


@ends_with_its_reader
def main() -> None:
    """Run the command; every error that a user can correct is one line."""
    FAILED.clear()
    register_hydra_plugins()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, not to Hydra's own printer
    try:
        if {"-m", "--multirun"} & set(sys.argv[1:]):
            raise UserError("privbench.plan takes no -m: it compares all splits in one run")
        sys.argv[1:] = quote_paths(flags_first(sys.argv[1:]))
        require_readable(sys.argv[1:], "privbench.plan takes one of each option")
        _run()
    except Exception as error:
        FAILED.append(error)
    if FAILED:
        print_error(FAILED[0], "the configuration does not compose: ")
        sys.exit(1)


if __name__ == "__main__":
    main()
