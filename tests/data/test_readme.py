"""The guides to data sets and victims: their examples run as printed."""

import re
import sys

import pytest

from privbench.store import record as results
from tests.runs import record_files
from tests.support import ROOT

GUIDES = {"dataset": ("data", "stripes"), "victim": ("victims", "tiny")}


@pytest.mark.long
@pytest.mark.parametrize("group", GUIDES)
def test_the_example_of_a_guide_runs_as_printed(
    group, privbench, without_victim, brief_classifier, tmp_path, monkeypatch
):
    """Its class, its yaml and its command give a record that names it."""
    room, name = GUIDES[group]
    guide = (ROOT / "privbench" / room / "README.md").read_text().rpartition("\n## Add")[2]
    (source,), (config,) = (
        re.findall(rf"```{kind}\n(.*?)```", guide, re.DOTALL) for kind in ("python", "yaml")
    )
    command = re.search(r"python -m privbench (.*)", guide).group(1).split()
    folder = tmp_path / "my_conf" / group
    folder.mkdir(parents=True)
    (folder / f"{name}.yaml").write_text(config)
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    brief = [] if group == "victim" else ["victim.epochs=1", "victim.min_steps=40"]
    code, _, err = privbench(*command, *brief, "targets=4", f"output_dir={without_victim}")
    sys.modules.pop(name, None)
    assert code == 0, err
    (path,) = record_files(without_victim)
    record = results.read(path)
    assert record.sources[group if group == "dataset" else "victim.model"].startswith("sha256:")
    assert record.config[group]["name"] == name
    assert record.accuracy > 0.5
