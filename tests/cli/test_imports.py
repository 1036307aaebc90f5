"""Answers that come at once, for they import nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torchvision", "pytorch_lightning", "torchmetrics", "wandb", "altair")


def _heavy_imports(commands: list[list[str]]) -> tuple[str, str]:
    """Return the heavy modules that a process has imported after these commands, and its errors."""
    code = (
        "import sys; from privbench.__main__ import main\n"
        f"for words in {commands!r}:\n"
        "    sys.argv[1:] = words\n"
        "    try: main()\n    except SystemExit: pass\n"
        f"print([m for m in {('torch', *HEAVY)} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1], done.stderr


def test_what_hydra_can_answer_needs_no_torch():
    """The help, the configuration, and words that are refused."""
    commands = [["--help"], ["--cfg", "job"], ["attack=foo"], ["targetz=1"]]
    imported, errors = _heavy_imports(commands)
    assert imported == "[]"
    assert "attack=foo is not known" in errors and "targetz" in errors


@pytest.mark.fault
def test_a_value_out_of_range_is_refused_without_lightning(tmp_path):
    """Of each kind of learned attack, and of the victim; torch alone was imported."""
    learned = "attack=inverse,inverse_adaptive,shadow"
    sweep = ["-m", learned, "attack.lr=-1", "tracker=none", f"output_dir={tmp_path}"]
    victim = ["victim.lr=-1", "tracker=none", f"output_dir={tmp_path}"]
    imported, errors = _heavy_imports([sweep, victim])
    assert "attack.lr=-1 is out of range" in errors
    assert "victim.lr=-1 is out of range" in errors
    assert imported == "['torch']"


def test_the_python_interface_is_imported_at_its_first_use():
    """``import privbench`` takes no time; records are loaded without torch."""
    code = (
        "import sys, privbench; known = {'attack', 'evaluate', 'load_records'} <= set(dir(privbench));"
        "print(known, 'pandas' in sys.modules, hasattr(privbench, 'attak'));"
        "privbench.load_records; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False", "False"]


def test_a_module_that_moved_says_where_it_is():
    """For attacks and defenses outside of the package."""
    with pytest.raises(ImportError, match=r"deployment is now privbench\.defenses\.deployment"):
        from privbench.deployment import Deployment  # noqa: F401
