"""Commands that tests of several rooms start, and what they leave in an outputs folder."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file, save

from privbench.store import record as results
from privbench.store.__main__ import main as store_command
from privbench.store.sweep_log import SweepLog

CHEAP = ["-m", "attack=blind", "targets=5"]
BRIEF = ["targets=5", "victim.epochs=1", "victim.min_steps=20", "device.threads=1"]
BRIEF_RMLE = ["attack=rmle", "attack.steps=12", *BRIEF]
LEVEL_YAML = "_target_: my_attack.Level\nlevel: 0.25\nfail: ''\n"
"""The configuration of ``tests.support.ATTACK`` as a user writes it."""


def cell_states(outputs: Path) -> dict[str, int]:
    """Return the number of cells in each state, in the only sweep of an outputs folder."""
    (folder,) = [path for path in (outputs / "sweeps").iterdir() if path.is_dir()]
    return {state: len(entries) for state, entries in SweepLog(folder).states().items()}


def scores_by_key(outputs: Path) -> dict[str, object]:
    """Return the numbers of each record, by its key."""
    found = {}
    for path in (outputs / "store" / "records").glob("*/record.json"):
        record = results.read(path)
        found[record.key] = (record.columns, record.accuracy, record.floor, record.converged)
    return found


def launch(*words: str, **settings) -> subprocess.Popen[str]:
    """Start a command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "privbench", *words, "tracker=none"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings,
    )  # fmt: skip


def record_files(outputs: Path) -> list[Path]:
    """Return the paths of all records."""
    return sorted((outputs / "store" / "records").glob("*/record.json"))


def read_records(outputs: Path) -> list[results.Record]:
    """Return all records."""
    return [results.read(path) for path in outputs.glob("store/records/*/record.json")]


def victim_files(outputs: Path) -> list[Path]:
    """Return the paths of all victims' weights."""
    return sorted(outputs.glob("store/victims/*.safetensors"))


def replace_victim(outputs: Path) -> None:
    """Put other weights under the same recipe, as another machine would train them."""
    (path,) = victim_files(outputs)
    data = save({name: tensor * 1.01 for name, tensor in load_file(path).items()})
    sidecar = json.loads(path.with_suffix(".json").read_text())
    path.write_bytes(data)
    sidecar["sha256"] = hashlib.sha256(data).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(sidecar))


def store_run(*words: object, capfd) -> tuple[int, str, str]:
    """Run ``python -m privbench.store`` here: exit code, standard output, standard error."""
    code = 0
    try:
        store_command([str(word) for word in words])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    shown = capfd.readouterr()
    return code, shown.out, shown.err
