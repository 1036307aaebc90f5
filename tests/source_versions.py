"""Which source each ``version`` stands for: ``python tests/source_versions.py [--same]``.

``tests/source_versions.json`` lists, for every class of the package whose version enters a key, the
modules that its numbers come from, and a hash of each module's syntax tree without docstrings,
comments and versions. Whoever changes such a module either raises the versions of the classes that
build on it, or states by ``--same`` that their numbers are the same. The file is that statement.
"""

import ast
import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".json")
VERSIONS = ("version", "VERSION")
SAME = "python tests/source_versions.py --same"

# where results are kept and shown, what is refused, who watches: none of it moves a number
INFRASTRUCTURE = {
    "privbench",
    "privbench.runtime.downloads",
    "privbench.runtime.errors",
    "privbench.runtime.code_identity",
    "privbench.store.sweep_log",
    "privbench.runtime.options",
    "privbench.runtime.paths",
    "privbench.runtime.validation",
    "privbench.store.recipes",
    "privbench.store.record",
    "privbench.store.artifacts",
    "privbench.tracking.base",
    "privbench.tracking.wandb",
}
EXPERIMENT = "privbench.experiment"
HARNESS = (
    "privbench.defenses.deployment",
    "privbench.evaluation.utility",
    "privbench.evaluation.statistics",
)
"""What ``privbench.store.recipes.SCHEMA`` is the version of, besides the fields of a record and the
modules of ``experiment``."""
WITHOUT_NUMBERS = {
    "privbench.experiment.evaluation_classifier": "has a version of its own, EvaluationClassifier's",
    "privbench.experiment.interface.options": "composes a configuration, which enters the key",
    "privbench.experiment.output": "writes files",
    "privbench.experiment.spec": "holds a configuration, which enters the key",
    "privbench.experiment.speed": "measures times of its own attack",
}
"""Modules of ``experiment`` that are no part of the harness, each with the reason."""


def path_of(module: str, root: Path = ROOT) -> Path | None:
    """Return the source of a module of the package, or nothing where it is no module."""
    base = root.joinpath(*module.split("."))
    choices = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in choices if path.is_file()), None)


def text_of(module: str, root: Path = ROOT) -> str:
    """Return the source of a module of the package."""
    path = path_of(module, root)
    assert path is not None, module
    return path.read_text()


@cache
def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a source; it must not be changed."""
    return ast.parse(text)


def imports(module: str, root: Path = ROOT) -> set[str]:
    """Return the package's modules that a module imports anywhere, packages on their way left out."""
    found = set()
    for whole, within in _imported(text_of(module, root)):
        found.add(within if within and path_of(within, root) else whole)
    return {name for name in found if path_of(name, root)}


@cache
def _imported(text: str) -> list[tuple[str, str]]:
    """Return the package's modules that a source imports, and what it imports from within each."""
    found = []
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            found += [(str(node.module), f"{node.module}.{alias.name}") for alias in node.names]
    return [names for names in found if names[0].partition(".")[0] == "privbench"]


def built_on(*modules: str, root: Path = ROOT) -> list[str]:
    """Return modules, and those of the package that they import, directly or not."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and not _is_infrastructure(module):
            found.add(module)
            waiting += imports(module, root)
    return sorted(found)


def _is_infrastructure(module: str) -> bool:
    return module in INFRASTRUCTURE or module.startswith("privbench.store.artifacts.")


class _Bare(ast.NodeTransformer):
    """Takes docstrings, other strings that stand alone, and versions out of a tree."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name in ("body", "orelse", "finalbody"):
            if isinstance(body := getattr(node, name, None), list):
                setattr(node, name, [item for item in body if not self._is_bare(item)])
        return super().generic_visit(node)

    @staticmethod
    def _is_bare(node: ast.AST) -> bool:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return isinstance(node.value.value, str)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        return any(isinstance(t, ast.Name) and t.id in VERSIONS for t in targets)


def digest(module: str, root: Path = ROOT) -> str:
    """Return the hash of what a module computes."""
    return _bare_digest(text_of(module, root))


@cache
def _bare_digest(text: str) -> str:
    return hashlib.sha256(ast.dump(_Bare().visit(ast.parse(text))).encode()).hexdigest()[:16]


def versioned(root: Path = ROOT) -> dict[str, tuple[str, str]]:
    """Return every class or module that states a version: its module and that version, by name."""
    found = {}
    for module in modules_of("privbench", root):
        for name, version in _stated(module, parsed(text_of(module, root)).body):
            found[name] = (module, version)
    return found


def _stated(module: str, body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    places = [(module, "VERSION", body)]
    places += [
        (f"{module}.{n.name}", "version", n.body) for n in body if isinstance(n, ast.ClassDef)
    ]
    for name, wanted, statements in places:
        for node in statements:
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            )
            value = getattr(node, "value", None)
            named = any(isinstance(t, ast.Name) and t.id == wanted for t in targets)
            if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield name, value.value


def modules_of(package: str, root: Path = ROOT) -> list[str]:
    """Return the modules in a package's folder and in those within it."""
    paths = (root / package.replace(".", "/")).rglob("*.py")
    named = (".".join(path.relative_to(root).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in named)


def harness(root: Path = ROOT) -> list[str]:
    """Return the modules of the harness: of ``experiment`` all but those that compute nothing."""
    experiment = set(modules_of(EXPERIMENT, root)) - WITHOUT_NUMBERS.keys()
    return sorted({*HARNESS, *experiment, *built_on("privbench.defenses.deployment", root=root)})


def schema(root: Path = ROOT) -> str:
    """Return the version of the harness."""
    for node in parsed(text_of("privbench.store.recipes", root)).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SCHEMA":
            assert isinstance(node.value, ast.Constant)
            return f"schema-{node.value.value}"
    raise AssertionError("privbench.store.recipes states no SCHEMA")


def current(root: Path = ROOT) -> dict[str, Any]:
    """Return the list as it is for the source of now."""
    classes = {
        name: {"version": version, "modules": built_on(module, root=root)}
        for name, (module, version) in versioned(root).items()
    }
    stated = {"version": schema(root), "modules": harness(root)}
    classes["privbench.store.recipes.SCHEMA"] = stated
    modules = sorted({module for one in classes.values() for module in one["modules"]})
    return {
        "python": python(),
        "modules": {module: digest(module, root) for module in modules},
        "classes": dict(sorted(classes.items())),
    }


def python() -> str:
    """Return the version of Python whose syntax trees are compared."""
    return ".".join(platform.python_version_tuple()[:2])


def unstated(listed: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return classes whose modules changed while their version stayed, each with those modules."""
    found = {}
    for name, one in now["classes"].items():
        before = listed["classes"].get(name)
        if before is None or before["version"] != one["version"]:
            continue
        changed = [
            module
            for module in sorted({*before["modules"], *one["modules"]})
            if listed["modules"].get(module) != now["modules"].get(module)
            or (module in before["modules"]) != (module in one["modules"])
        ]
        if changed:
            found[name] = changed
    return found


def complaint(listed: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what is to be done about the list; empty where it is up to date."""
    if found := unstated(listed, now):
        lines = [
            f"  {name} ({now['classes'][name]['version']}): {', '.join(modules)}"
            for name, modules in found.items()
        ]
        return "\n".join(
            [
                "modules changed that these classes compute with:",
                *lines,
                "if numbers change, raise `version` of those classes (SCHEMA for the harness) and "
                "run: python tests/source_versions.py",
                f"if they stay the same, state it: {SAME}",
            ]
        )
    if listed != now:
        return "tests/source_versions.json is out of date: python tests/source_versions.py"
    return ""


def main() -> None:
    """Bring the list up to date, where every changed class is accounted for."""
    now = current()
    listed = json.loads(LIST.read_text()) if LIST.is_file() else now
    same = sys.argv[1:] == ["--same"]
    if sys.argv[1:] and not same:
        sys.exit(f"usage: {SAME}")
    if not same and listed["python"] == now["python"] and unstated(listed, now):
        sys.exit(complaint(listed, now))
    LIST.write_text(json.dumps(now, indent=1) + "\n")
    print(f"{LIST.name}: {len(now['classes'])} versions of {len(now['modules'])} modules")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
