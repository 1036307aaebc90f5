"""The example of sweeps/README.md, run as it is printed."""

import re
import shlex

import pytest

from tests.support import ROOT


@pytest.mark.long
def test_the_example_of_the_guide_runs_as_printed(privbench, warm, monkeypatch):
    """Its file, saved where the text says, and its command: five cells of digits."""
    text = (ROOT / "sweeps" / "README.md").read_text()
    example = re.search(r"```yaml\n(# @package _global_\n.*?)```", text, re.DOTALL)
    path = re.search(r"Save it as `(\S+)`", text)
    command = re.search(r"^python -m privbench (--config-dir .*attack=blind)$", text, re.MULTILINE)
    monkeypatch.chdir(warm)
    file = warm / path[1]
    file.parent.mkdir(parents=True)
    file.write_text(example[1])
    code, out, err = privbench(*shlex.split(command[1]), f"output_dir={warm}")
    assert code == 0, err
    assert "worst case over 5 cells" in out
    assert (warm / "sweeps").is_dir()
