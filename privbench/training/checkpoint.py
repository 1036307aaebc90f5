"""Checkpoints of a training: one that was killed goes on from its last one."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

LOG = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """State of a training between two epochs, in a file that a later process goes on from.

    The weights that a training ends with are the same whether it was interrupted or not, on a
    machine that computes the same.

    Attributes:
        path: File of the state; there is none before the first is written.
        generator: Generator of batches and augmentation; torch's own streams are kept with it.
        seconds: Time that earlier processes trained up to the state this one goes on from.
    """

    path: Path
    generator: torch.Generator
    seconds: float = 0.0

    def found(self) -> Path | None:
        """Return the file, if there is one that can be read."""
        try:
            torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:
            LOG.warning("%s is damaged (%s): the training begins anew", self.path, error)
            return None
        return self.path
