"""Chain models: networks of named layers, one after the other."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Self

from torch import Tensor, nn

from privbench.runtime.random import torch_seed_hidden
from privbench.victims.split_model import SplitModel


class FlattenLinear(nn.Linear):
    """Fully connected layer that flattens its input; features before it keep their shape."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, ...)`` to ``(N, out)``."""
        return super().forward(input.flatten(1))


class ChainModel(SplitModel):
    """A chain of layers, the first of which is named ``input``.

    ``split`` divides it in two after any layer but the last.

    Args:
        layers: Every layer by its name, from the images to the logits. No layer works in place:
            the adversary receives the features that are the next layer's input.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            self.layers.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` in [0, 1] to logits ``(N, classes)``."""
        logits: Tensor = self.layers(x)
        return logits

    @property
    def split_points(self) -> tuple[str, ...]:
        """Names of all layers but the last; at ``input`` the cloud computes the whole network."""
        return tuple(name for name, _ in self.layers.named_children())[:-1]

    def _halves(self, point: str) -> tuple[nn.Sequential, nn.Sequential]:
        layers = list(self.layers.named_children())
        cut = self.split_points.index(point) + 1
        return nn.Sequential(OrderedDict(layers[:cut])), nn.Sequential(OrderedDict(layers[cut:]))

    def rebuild(self, seed: int) -> Self:
        """Build the chain anew; layers that can reset their weights do so, from first to last.

        What else the constructor does to them, such as another initialisation, is the victim's:
        the adversary starts from torch's, as in all records so far.
        """
        model = super().rebuild(seed)
        with torch_seed_hidden(seed):
            for layer in model.modules():
                if reset := getattr(layer, "reset_parameters", None):
                    reset()
        return model
