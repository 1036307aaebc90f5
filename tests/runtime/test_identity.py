"""Identities of code: versions within the package, hashes of sources outside of it."""

import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys

import pytest

from privbench.runtime import code_identity
from privbench.runtime.code_identity import described, identified, identities, identity
from privbench.runtime.conf_files import load_option
from tests import source_versions
from tests.support import ROOT

OUTSIDE = """
class Level:
    '''A doc.'''

    value = 1

    def fit(self, view):
        return view
"""


def targets() -> list[str]:
    """Every class that a yaml of a group with numbers names, and the code of the evaluation."""
    found = {
        "privbench.evaluation.metrics",
        "privbench.experiment.evaluation_classifier.EvaluationClassifier",
    }
    for group in ("attack", "defense", "victim", "dataset"):
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            nodes = [load_option(group, path.stem)]
            while nodes:
                node = nodes.pop()
                found |= {node["_target_"]} if "_target_" in node else set()
                nodes += [value for value in node.values() if isinstance(value, dict)]
    return sorted(found)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder of modules of a user's own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_level.py").write_text(OUTSIDE)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


def test_every_class_with_numbers_states_a_version_of_its_own():
    """No two share one, and each is on the committed list."""
    versions = {target: identity(target) for target in targets()}
    assert all(re.fullmatch(r"[a-z0-9_]+-\d+", version) for version in versions.values()), versions
    assert len(set(versions.values())) == len(versions)
    listed = json.loads(source_versions.LIST.read_text())["classes"]
    assert {name: listed[name]["version"] for name in versions} == versions


def test_identities_are_read_without_importing_what_they_name(outside):
    """Neither the package's classes nor outside ones are imported, nor is torch."""
    (outside / "my_level.py").write_text("raise SystemExit('imported')\n" + OUTSIDE)
    code = (
        "import sys; from privbench.runtime.code_identity import identity\n"
        "print(identity('privbench.attacks.rmle.RMLE'), identity('my_level.Level'))\n"
        "print([m for m in ('torch', 'hydra', 'my_level', 'privbench.attacks') if m in sys.modules])"
    )
    env = {"PYTHONPATH": f"{ROOT}:{outside}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"rmle-\d+ sha256:[0-9a-f]{12}", first)
    assert second == "[]"


def test_code_from_elsewhere_is_named_by_the_hash_of_its_source(outside):
    """A class, a method of it, and after an edit another hash."""
    text = (outside / "my_level.py").read_bytes()
    expected = f"sha256:{hashlib.sha256(text).hexdigest()[:12]}"
    assert identity("my_level.Level") == identity("my_level.Level.fit") == expected
    (outside / "my_level.py").write_bytes(text.replace(b"value = 1", b"value = 2"))
    assert identity("my_level.Level") != expected


@pytest.mark.parametrize("statement", ["import my_parts", "from my_parts import SIZE"])
def test_what_outside_code_imports_from_files_beside_it_is_part_of_its_source(outside, statement):
    """Packages of files too, with relative imports; installed libraries are not."""
    (outside / "my_package").mkdir()
    (outside / "my_package" / "__init__.py").write_text("from .level import Level\n")
    (outside / "my_package" / "level.py").write_text(f"import torch\n{statement}\n{OUTSIDE}")
    (outside / "my_parts.py").write_text("SIZE = 1\n")
    first = identity("my_package.Level")
    (outside / "my_parts.py").write_text("SIZE = 20\n")
    second = identity("my_package.Level")
    (outside / "my_package" / "level.py").write_text(f"import torch\n{statement}\n\n{OUTSIDE}")
    third = identity("my_package.Level")
    assert len({first, second, third}) == 3
    (outside / "my_other.py").write_text("SIZE = 3\n")
    assert identity("my_package.Level") == third


def test_an_installed_plug_in_is_named_by_all_of_its_own_files(outside, monkeypatch):
    """But neither by those of other installed libraries nor by files that it does not import."""
    installed = (*code_identity.INSTALLED, outside.resolve())
    monkeypatch.setattr(code_identity, "INSTALLED", installed)
    parts = {name: outside / name / "inner" / "parts.py" for name in ("my_plug", "my_library")}
    for path in parts.values():  # their folder has no __init__.py
        path.parent.mkdir(parents=True)
        path.write_text("SIZE = 1\n")
        path.parent.with_name("__init__.py").touch()
    text = "import torch\nimport my_library.inner.parts\nfrom .inner.parts import SIZE\n" + OUTSIDE
    (outside / "my_plug" / "level.py").write_text(text)
    first = identity("my_plug.level.Level")
    parts["my_library"].write_text("SIZE = 2\n")
    parts["my_plug"].with_name("other.py").write_text("SIZE = 2\n")
    assert identity("my_plug.level.Level") == first
    parts["my_plug"].write_text("SIZE = 2\n")
    assert identity("my_plug.level.Level") != first


@pytest.mark.parametrize(
    "statement",
    [
        "from privbench.attacks.rmle import RMLE",
        "from privbench.attacks import rmle",
        "import privbench.attacks.rmle as descent",
        "from privbench.attacks.rmle import *",
        "from my_parts import Base",
    ],
)
def test_the_versions_of_the_package_that_outside_code_imports_are_part_of_it(
    outside, monkeypatch, statement
):
    """Of a base class, of a module, by way of another file; other classes' versions are not."""
    (outside / "my_parts.py").write_text("from privbench.attacks.rmle import RMLE as Base\n")
    (outside / "my_level.py").write_text(f"{statement}\n{OUTSIDE}")
    first, read = identity("my_level.Level"), code_identity._versions_in

    def raise_version(of: str) -> None:
        def versions(path):
            stated = read(path)
            return {n: v + "9" * (n == of) for n, v in stated.items()}

        monkeypatch.setattr(code_identity, "_versions_in", versions)

    raise_version("Inverse")
    assert identity("my_level.Level") == first
    raise_version("RMLE")
    assert identity("my_level.Level") != first


def test_a_process_that_imported_a_module_keeps_the_identity_of_what_it_runs(outside):
    """An edit amid a sweep must not put old numbers under the new source."""
    importlib.import_module("my_level")
    before = identity("my_level.Level")
    (outside / "my_level.py").write_text(OUTSIDE + "\nOTHER = 1\n")
    assert identity("my_level.Level") == before
    del sys.modules["my_level"]
    assert identity("my_level.Level") != before


@pytest.mark.parametrize("target", ["nowhere.Level", "builtins.dict", "my_level_not.x.y"])
def test_code_without_a_source_is_refused_in_one_line(target):
    """It names the place in the configuration and the target."""
    with pytest.raises(ValueError, match=f"^attack.inner: no source file of {target} ") as caught:
        identities({"attack": {"inner": {"_target_": target}}})
    assert "\n" not in str(caught.value)


def test_identities_are_found_in_every_place_of_a_configuration(outside):
    """In lists, in parts of parts, and where Hydra fetches a class by its path."""
    config = {
        "attack": {
            "_target_": "privbench.attacks.tuned.Tuned",
            "inner": {"_target_": "privbench.attacks.rmle.RMLE", "steps": 3},
            "others": [{"_target_": "my_level.Level"}],
            "kind": {"_target_": "hydra.utils.get_class", "path": "my_level.Level"},
        }
    }
    found = identities(config)
    assert found["attack"] == identity("privbench.attacks.tuned.Tuned")
    assert found["attack.inner"] == identity("privbench.attacks.rmle.RMLE")
    assert found["attack.others.0"] == found["attack.kind"] == identity("my_level.Level")
    kept = identified(config["attack"], found, "attack")
    assert kept["inner"] == {"_target_": found["attack.inner"], "steps": 3}
    assert kept["others"][0]["_target_"] == f"my_level.Level {identity('my_level.Level')}"
    assert "privbench." not in json.dumps(kept), "a class that moves keeps its key"


def test_a_part_of_an_attack_is_described_by_its_code_and_its_settings(outside):
    """Not by the place of its class."""
    from functools import partial

    from privbench.defenses.dropout import Dropout

    module = importlib.import_module("my_level")
    assert described([Dropout(rate=0.3), "large", None]) == [
        {"code": identity("privbench.defenses.dropout.Dropout"), "site": "features", "rate": 0.3},
        "large",
        None,
    ]
    assert described(partial(module.Level, 3)) == {
        "code": identity("my_level.Level"),
        "args": [3],
        "keywords": {},
    }


# the committed list -------------------------------------------------------------------------------

LISTED = json.loads(source_versions.LIST.read_text())
same_python = pytest.mark.skipif(
    LISTED["python"] != source_versions.python(),
    reason=f"syntax trees are listed for Python {LISTED['python']}",
)


@pytest.fixture(scope="module")
def now():
    """The identities of the sources as they are."""
    return source_versions.current()


@same_python
def test_every_change_of_numeric_code_is_accounted_for(now):
    """By a raised version, or by the statement that the numbers are the same."""
    complaint = source_versions.complaint(LISTED, now)
    assert not complaint, complaint


@pytest.fixture
def changed(tmp_path, now):
    """Change a copy of the package's sources, and return the complaint."""
    sources = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "privbench", tmp_path / "privbench", ignore=sources)

    def change(*edits: tuple[str, str, str]) -> str:
        for module, old, new in edits:
            path = source_versions.path_of(module, tmp_path)
            text = path.read_text()
            assert text.count(old) == 1
            path.write_text(text.replace(old, new))
        return source_versions.complaint(now, source_versions.current(tmp_path))

    return change


def test_a_changed_constant_names_the_classes_that_compute_with_it(changed):
    """Also of a module that they import by way of another, and what to type."""
    complaint = changed(("privbench.attacks.components.priors", "FLAT = 1e-8", "FLAT = 1e-7"))
    lines = complaint.splitlines()
    assert [line for line in lines if "priors" in line] == [
        line for line in lines if line.startswith("  ")
    ]
    assert any("privbench.attacks.rmle.RMLE (rmle-" in line for line in lines)
    assert "privbench.attacks.shadow" not in complaint
    assert source_versions.SAME in complaint


def test_comments_and_docstrings_may_change(changed):
    """They compute nothing."""
    old = "        # channels last halves the time of convolutions and pooling\n"
    assert not changed(("privbench.attacks.rmle", old, "        # other words\n"))
    old = '"""Add N(0, sigma²) to every entry.'
    assert not changed(("privbench.defenses.gaussian", old, '"""Noise.'))


def test_a_raised_version_asks_for_an_update_of_the_list_alone(changed):
    """Of the class that was raised; another one that builds on the change is still named."""
    old = 'version: ClassVar[str] = "dropout-'
    complaint = changed(("privbench.defenses.dropout", old, old + "9"))
    assert complaint.endswith("is out of date: python tests/source_versions.py")
    complaint = changed(("privbench.defenses.dropout", "(t) < self.rate", "(t) > self.rate"))
    assert complaint.endswith("is out of date: python tests/source_versions.py")
    complaint = changed(("privbench.defenses.base", "t if self", "t + 0 if self"))
    assert "privbench.defenses.laplace.Laplace" in complaint
    assert "privbench.defenses.dropout.Dropout" not in complaint


HARNESS_EDITS = [
    ("evaluation.statistics", "LEVEL = 0.95", "LEVEL = 0.5"),
    ("experiment.evaluate", "return max(LABEL_ONLY", "return min(LABEL_ONLY"),
    ("experiment.adversary", '.streams("transmission",', '.streams("transmission2",'),
    ("experiment.accuracy", "deployed, transmissions)", "deployed, 1)"),
    ("experiment.plan", "pixels = aux.pixels if", "pixels = aux.pixels[:100] if"),
    ("experiment.baselines", "blind.fit(view)(v)", "2 * blind.fit(view)(v)"),
]
"""Of intervals, baselines, draws, accuracies, and of what an adversary is granted."""


def test_a_change_of_the_harness_asks_for_another_schema(changed):
    """Every one of them, by name."""
    edits = [(f"privbench.{module}", old, new) for module, old, new in HARNESS_EDITS]
    (line,) = [line for line in changed(*edits).splitlines() if "recipes.SCHEMA (schema-" in line]
    assert line.partition(": ")[2].split(", ") == sorted(module for module, *_ in edits)


def test_every_module_of_the_experiment_is_in_the_harness_or_named_with_a_reason(now):
    """A new one and one that is split off are in the harness until someone states a reason."""
    named, without = source_versions.harness(), source_versions.WITHOUT_NUMBERS.keys()
    assert now["classes"]["privbench.store.recipes.SCHEMA"]["modules"] == named
    folder = ROOT / "privbench" / "experiment"
    names = (
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in folder.rglob("*.py")
    )
    modules = {name.removesuffix(".__init__") for name in names}
    assert not without & set(named)
    assert modules - without == {name for name in named if ".experiment" in name}
    assert without <= modules, "a reason for a module that is there no more"
    assert all(source_versions.path_of(name) for name in named)
