"""Helpers that tests of several rooms share."""

import dataclasses
import functools
import os
import re
import struct
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from torch import nn

from privbench.attacks.base import Attack
from privbench.experiment.spec import CellSpec
from privbench.runtime.conf_files import load_option
from privbench.runtime.device import DeviceConfig
from privbench.runtime.paths import register_hydra_plugins
from privbench.sweep.compose import Composer
from privbench.threat import AdversaryView, grant
from privbench.victims.lenet5 import LeNet5

ROOT = Path(__file__).parent.parent
PLAN_GROUPS = ("cloud", "network", "platform")
"""Groups of ``conf/plan.yaml`` alone, whose yamls name no other."""
MNIST = Path(os.environ.get("PRIVBENCH_DATA", "absent")) / "MNIST" / "raw"
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason="MNIST is not there: set PRIVBENCH_DATA to a folder that holds it"
)
BRIEF_TRAINING = {
    "images": None,
    "batch": 16,
    "adam_eps": 1e-8,
    "amsgrad": False,
    "weight_decay": 0.0,
    "schedule": "one_cycle",
    "patience": 700,
    "precision": "32-true",
}
"""Options of an attack's training but for its length and learning rate."""
ATTACK = """
from dataclasses import dataclass
import torch
from privbench.threat import Access


@dataclass(frozen=True)
class Level:
    level: float
    fail: str = ""

    @property
    def access(self):
        return Access.NONE

    def check(self, view):
        if self.fail == "check":
            raise ValueError(f"attack=mine cannot be fed features of shape {view.feature_shape}")

    def fit(self, view):
        if self.fail == "odd note":
            view.logger.note(loss=torch.nan, curve=torch.ones(2), thing=object())
        if self.fail == "global":
            return lambda v: torch.rand(len(v), *view.image_shape)
        value = {"burst": torch.nan, "infinite": torch.inf}
        value = value.get(self.fail.removeprefix("some "), self.level)
        def reconstruct(v):
            images = torch.full((len(v), *view.image_shape), value)
            images[0] = self.level if self.fail.startswith("some ") else value
            return images
        return reconstruct
"""


class RecordingLogger:
    """Hears an attack out and keeps its facts."""

    def __init__(self) -> None:
        self.facts: dict[str, object] = {}
        self.steps: list[int] = []

    def step(self, n, x_hat=None, **scalars) -> None:
        self.steps.append(n)

    def note(self, **facts) -> None:
        self.facts |= facts


CPU = DeviceConfig("cpu")


def granted(deployment, images, access, labels=None, **others) -> AdversaryView:
    """A view of a deployment under these rights; its journal is silent where none is handed in."""
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    usual = {
        "split": "x",
        "seed": 0,
        "secret": "",
        "device_config": CPU,
        "logger": RecordingLogger(),
    }
    return grant(deployment, images, labels, access, **{**usual, **others})


def hasty(attack):
    """The same attack and every attack within it, of few steps."""
    changes = {n: hasty(part) for n, part in vars(attack).items() if isinstance(part, Attack)}
    lengths = {"steps": 2, "rounds": 2, "levels": 4, "updates": 2, "inversion_steps": 2}
    changes |= {name: few for name, few in lengths.items() if name in vars(attack)}
    changes |= {"recurrences": 1} if "recurrences" in vars(attack) else {}
    return dataclasses.replace(attack, **changes)


def at_site(defense, site):
    """The same defense at another site; that of its channel, where it wraps one."""
    if hasattr(defense, "channel"):
        return dataclasses.replace(defense, channel=at_site(defense.channel, site))
    return dataclasses.replace(defense, site=site)


class Orthogonal(nn.Module):
    """An edge that loses nothing: an orthogonal map of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        square = torch.randn(784, 784, generator=torch.Generator().manual_seed(0))
        self.matrix = nn.Parameter(torch.linalg.qr(square)[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.matrix


def scenes(count: int) -> torch.Tensor:
    """Smooth shapes on a dark ground: natural enough for a prior of edges."""
    rows = torch.arange(28.0).view(28, 1)
    columns = torch.arange(28.0).view(1, 28)
    centres = 9 + 10 * torch.rand(count, 2, generator=torch.Generator().manual_seed(1))
    distances = ((rows - c[0]) ** 2 + (columns - c[1]) ** 2 for c in centres)
    return torch.stack([torch.sigmoid(8 - d / 4) for d in distances])[:, None]


def lenet_edge(split: str) -> nn.Sequential:
    torch.manual_seed(3)
    return LeNet5((1, 28, 28), 10).eval().split(split)[0]


def options(group: str) -> list[str]:
    """Return the choices of a config group."""
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def sweep_files() -> list[str]:
    """Return the names of all sweeps as they are typed, such as ``he2020/fig9_mnist``."""
    folder = ROOT / "sweeps"
    paths = [path for path in folder.rglob("*.yaml") if path.parent.name != "wandb"]
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in paths)


def composed_config(*overrides: str) -> DictConfig:
    """Return the configuration of a cell that these overrides describe, as a sweep composes it."""
    cfg = shared_composer()(overrides)
    with read_write(cfg), open_dict(cfg):
        cfg.pop("hydra")
    return cfg


def cell_spec(outputs: Path, *overrides: str) -> CellSpec:
    """Return the specification of a cell, as a job gets it."""
    cfg = shared_composer()([f"output_dir={outputs}", "tracker=none", "device=cpu", *overrides])
    return CellSpec.of(cfg, cfg.hydra, str(outputs))


@functools.cache
def shared_composer() -> Composer:
    """Return the composer of all tests: what differs in values alone is composed once."""
    register_hydra_plugins()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    GlobalHydra.instance().clear()
    return Composer(loader, loader.load_configuration("config", [], RunMode.RUN))


def composed_sweep(name: str) -> DictConfig:
    """Return the configuration of a sweep's file, as the command that names it composes it."""
    loaded: DictConfig = shared_composer().loader.load_configuration(
        "config", [f"sweeps={name}"], RunMode.MULTIRUN
    )
    return loaded


def composed_node(group: str, name: str, *overrides: str) -> DictConfig:
    """Return the composed configuration of a group's choice, with its defaults list applied."""
    if group in PLAN_GROUPS:
        return OmegaConf.create(load_option(group, name))
    node: DictConfig = composed_config(f"{group}={name}", *overrides)[group]
    return node


def instantiated(group: str, name: str, *overrides: str) -> Any:
    """Return the object that a group's choice describes."""
    return instantiate(composed_node(group, name, *overrides), _convert_="all")


def parametrized(names: list[str], build: Callable[[str], Any]) -> Any:
    """Return a fixture for a contract's ``subject_under_test``, with a test for each name."""

    @pytest.fixture(params=names)
    def subject_under_test(self: object, request: pytest.FixtureRequest) -> Any:
        return build(request.param)

    return subject_under_test


def python_block(document: Path, name: str) -> Any:
    """Run the Python block of a document that defines a class, and return the class."""
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    (source,) = [block for block in blocks if f"class {name}" in block]
    module = types.ModuleType(f"example_{name}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(source, vars(module))
    return getattr(module, name)


BLOCK = 32768


def read_wandb(path: Path) -> list:
    """The records of an offline file: a LevelDB log behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        if at + 7 + size > len(data):
            break  # W&B's process is still writing it
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or its last part
            record = Record()
            record.ParseFromString(whole)
            records.append(record)
            whole = b""
    return records


def readme_example(readme: str, module: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The object that a README's Python and yaml blocks make, written to a folder as they stand."""
    text = (ROOT / readme).read_text()
    code, config = (
        re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "yaml")
    )
    (folder / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, module, raising=False)
    made = instantiate(OmegaConf.create(config))
    monkeypatch.delitem(sys.modules, module)
    return made


PAPER_IMAGES = "target_indices=[3,2,1,18,4,8,11,0,61,7]"
"""The images behind every published number, He et al. figures 3 to 8."""
PUBLISHED_WHITE_BOX = ["attack=rmle_paper", "split=relu2", "attack.steps=5000", "defense=none"]


def finished_run(path: Path) -> list:
    """Return the records of a run's file, once W&B's process has written the last one."""
    for _ in range(300):
        records = read_wandb(path)
        if any(record.HasField("exit") for record in records):
            return records
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")
