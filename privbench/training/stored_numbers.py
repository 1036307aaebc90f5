"""Numbers that were measured once, as a module that the store keeps."""

import torch
from torch import nn


class StoredNumbers(nn.Module):
    """Named numbers in double precision; 0 until they are set.

    Args:
        names: Of the numbers, by which the store finds them again.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def set(self, **values: float) -> None:
        """Set numbers by name."""
        for name, value in values.items():
            self.get_buffer(name).fill_(value)

    def __getitem__(self, name: str) -> float:
        return float(self.get_buffer(name))
