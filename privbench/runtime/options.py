"""Options of the configuration, by what they affect: the one list of each kind."""

from collections.abc import Iterable, Mapping
from typing import Any

CONFIG_GROUPS = ("dataset", "victim", "defense", "attack", "device", "tracker")
"""Config groups of a cell; each is instantiated."""
PLACE_OPTIONS = ("output_dir", "device", "isolate", "metrics")
"""Where a cell is computed and stored, and what else is measured; a command that runs it again
repeats them."""
LAUNCH_OPTIONS = (
    "tracker", "workers", "sweeps", "battery", "budget", "preview", "force", "sweep", "hydra",
)  # fmt: skip
"""How cells are launched and reported; a command that runs one of them again does without."""
RUNTIME_OPTIONS = PLACE_OPTIONS + LAUNCH_OPTIONS
"""Options that change where and how cells run, and not which."""
SWEEP_ONLY_OPTIONS = ("workers", "sweeps", "battery", "budget", "preview")
"""Options of a sweep that no cell of it takes."""
CELL_OPTIONS = (
    "dataset", "victim", "split", "defense", "attack", "targets", "target_indices", "include",
    "transmissions", "accuracy_draws", "seed",
)  # fmt: skip
"""Options that numbers depend on."""
KNOWN_OPTIONS = frozenset(
    {*CELL_OPTIONS, *RUNTIME_OPTIONS} - {"sweeps", "battery", "budget", "preview", "hydra"}
)
"""Top-level names of a cell's configuration."""
DIGITS = ("digits", "mnist", "svhn")
"""Data sets of characters, which mirrored are others or none."""
EVERYWHERE: Mapping[str, Any] = {"eps_before_correction": False}
"""Later options that no class had before, so that those of users' classes are known by name."""
LEARNED: Mapping[str, Any] = {"keep": "best"}
"""Later options of attacks that train networks."""
TRAINED: Mapping[str, Any] = {"mirror": True, "interpolation": "bilinear"}
"""Later options of victims."""
LATER_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "privbench.attacks.diffusion.Diffusion": LEARNED,
    "privbench.attacks.inverse_adaptive.InverseAdaptive": {
        "amortised": False, "strengths": None, **LEARNED,
    },
    "privbench.attacks.inverse.Inverse": {"conditional": False, "pooled": False, **LEARNED},
    "privbench.attacks.rmle.RMLE": {"precision": "32-true"},
    "privbench.attacks.rmle_prior.RMLEPrior": LEARNED,
    "privbench.attacks.shadow.Shadow": LEARNED,
    "privbench.attacks.shadow_aligned.ShadowAligned": LEARNED,
    "privbench.victims.network.NetworkConfig": TRAINED,
    "privbench.victims.torchvision_models.TorchvisionConfig": TRAINED,
    "privbench.victims.training.VictimConfig": TRAINED,
}  # fmt: skip
"""Options that are newer than records of their class, with the values that leave its numbers as
they were: at those they are in no configuration, so that keys and groups of the records stay."""


def top_level(override: str) -> str:
    """Return the top-level name of an option, or of an override of it.

    >>> [top_level(word) for word in ("+attack@attack.inverter.lr=1", "~attack.clamp", "seed")]
    ['attack', 'attack', 'seed']
    """
    name = override.lstrip("+~").partition("=")[0]
    return name.partition(".")[0].partition("@")[0]


def typed_values(overrides: Iterable[str]) -> dict[str, str]:
    """Return the value of each override by its name, as both were typed.

    >>> typed_values(["attack=rmle", "+metrics=[a,b]", "~seed"])
    {'attack': 'rmle', '+metrics': '[a,b]', '~seed': ''}
    """
    return {name: value for name, _, value in (word.partition("=") for word in overrides)}


def count_of(options: Mapping[str, Any], name: str) -> int:
    """Return an option that is a whole number; 0 where it is none, as ``steps: auto`` of a user's.

    >>> count_of({"steps": 5}, "steps"), count_of({"steps": "auto"}, "steps"), count_of({}, "steps")
    (5, 0, 0)
    """
    value = options.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def flat_options(part: Mapping[str, Any]) -> dict[str, str]:
    """Return nested options as one level of dotted names, values as text."""
    return {name: str(value) for name, value in flat(part).items()}


def flat(fields: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested fields as one level of dotted names."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def with_values(options: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with other values, named as on a command line.

    >>> with_values({"steps": 5, "network": {"lr": 1, "depth": 2}}, {"network.lr": 3})
    {'steps': 5, 'network': {'lr': 3, 'depth': 2}}
    """
    found = dict(options)
    for name, value in values.items():
        part, _, rest = name.partition(".")
        found[part] = with_values(found[part], {rest: value}) if rest else value
    return found


def as_typed(value: Any) -> str:
    """Return a plain value as it is typed on a command line.

    >>> [as_typed(value) for value in (None, True, 0.1, [3, None], "relu2")]
    ['null', 'true', '0.1', '[3,null]', 'relu2']
    """
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_typed, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def without_later_options(config: Any) -> Any:
    """Return a configuration without ``LATER_OPTIONS`` that have their first values.

    Args:
        config: Plain containers.
    """
    if isinstance(config, list | tuple):
        return [without_later_options(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    later = _later_options(config)
    return {
        name: without_later_options(value)
        for name, value in config.items()
        if name not in later or value != later[name]
    }


def with_later_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of one class with its later options, at their first values."""
    return {**_later_options(config), **config}


def _later_options(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**EVERYWHERE, **LATER_OPTIONS.get(str(config.get("_target_")), {})}
