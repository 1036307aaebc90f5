"""A benchmark of model-inversion attacks on split inference and of defenses against them."""

from pathlib import Path

__version__ = "0.1.0"
__path__.append(str(Path(__file__).parent / "runtime" / "renamed_commands"))
