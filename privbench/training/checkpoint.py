"""Checkpoints of a training: one that was killed goes on from its last one."""

import logging
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch

LOG = logging.getLogger(__name__)

NAME = "Checkpointing"
"""Name of the state of this package in Lightning's checkpoint."""


@dataclass
class Checkpoint:
    """State of a training between two epochs, in a file that a later process goes on from.

    The weights that a training ends with are the same whether it was interrupted or not, on the
    same machine with as many threads.

    Attributes:
        path: File of the state; there is none before the first is written.
        generator: Generator of batches and augmentation; torch's own streams are kept with it.
        precision: Lightning's ``precision``, which a training keeps to its end.
        seconds: Time that earlier processes trained up to the state this one goes on from.
    """

    path: Path
    generator: torch.Generator
    precision: str
    seconds: float = field(default=0.0, init=False)

    @property
    def made_by(self) -> dict[str, str]:
        """What another process must have in common to go on from a checkpoint of this one."""
        packages = {name: version(name) for name in ("torch", "torchvision", "pytorch-lightning")}
        return {**packages, "precision": self.precision}

    def found(self) -> Path | None:
        """Return the file, if there is one that this process can go on from.

        Raises:
            OSError: where there is one that cannot be read now.
        """
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            made_by = state["callbacks"][NAME]["made_by"]
        except FileNotFoundError:
            return None
        except (OSError, MemoryError):  # it may be whole all the same
            raise
        except Exception as error:
            LOG.warning("%s is damaged (%s): the training begins anew", self.path, error)
            return None
        for name, own in self.made_by.items():
            if made_by.get(name) != own:
                LOG.warning(
                    "%s was written with %s %s, and this process has %s: the training begins anew",
                    self.path, name, made_by.get(name), own,
                )  # fmt: skip
                return None
        return self.path
