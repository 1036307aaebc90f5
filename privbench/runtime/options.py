"""Top-level options of the configuration, by what they affect: the one list of each kind."""

CONFIG_GROUPS = ("dataset", "victim", "defense", "attack", "device", "tracker")
"""Config groups of a cell; each is instantiated."""
PLACE_OPTIONS = ("output_dir", "device", "isolate", "metrics")
"""Where a cell is computed and stored, and what else is measured; a command that runs it again
repeats them."""
LAUNCH_OPTIONS = ("tracker", "workers", "sweeps", "battery", "force", "sweep", "hydra")
"""How cells are launched and reported; a command that runs one of them again does without."""
RUNTIME_OPTIONS = PLACE_OPTIONS + LAUNCH_OPTIONS
"""Options that change where and how cells run, and not which."""
SWEEP_ONLY_OPTIONS = ("workers", "sweeps", "battery")
"""Options of a sweep that no cell of it takes."""
CELL_OPTIONS = (
    "dataset", "victim", "split", "defense", "attack", "targets", "target_indices", "include",
    "transmissions", "accuracy_draws", "seed",
)  # fmt: skip
"""Options that numbers depend on."""
KNOWN_OPTIONS = frozenset({*CELL_OPTIONS, *RUNTIME_OPTIONS} - {"sweeps", "battery", "hydra"})
"""Top-level names of a cell's configuration."""
