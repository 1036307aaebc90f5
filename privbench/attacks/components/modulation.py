"""A decoder whose channels are scaled and shifted by what else the adversary knows of an image."""

from torch import Tensor, nn

from privbench.attacks.components.decoders import MultiTransmissionDecoder, Residual, Shape

HIDDEN = 64
"""Width of the layer between what is given and the scales that follow from it."""


class ModulatedDecoder(nn.Module):
    """A decoder of K transmissions ``(N, K, *feature_shape)`` that is given a vector of each image.

    The vector scales and shifts the channels in front of each block (FiLM, Perez et al., AAAI
    2018), from no change at the start of the training.

    Args:
        feature_shape: ``(C, h, w)``, ``(T, D)`` or ``(n,)``.
        image_shape: ``(C, H, W)``.
        inputs: Entries of the vector.
    """

    def __init__(
        self, feature_shape: Shape, image_shape: tuple[int, int, int], inputs: int
    ) -> None:
        super().__init__()
        whole = MultiTransmissionDecoder(feature_shape, image_shape)
        self.decoder, self.statistics = whole.decoder, whole.statistics
        widths = {name: _width(layer) for name, layer in self.layers.named_children()}
        self.modulations = nn.ModuleDict({n: Modulation(inputs, w) for n, w in widths.items() if w})

    @property
    def layers(self) -> nn.Sequential:
        """Layers between the stem and the image."""
        return self.decoder.layers

    def forward(self, v: Tensor, given: Tensor) -> Tensor:
        """Return images ``(N, C, H, W)``, about [0, 1].

        Args:
            v: Transmissions ``(N, K, *feature_shape)``.
            given: Vector of each image ``(N, inputs)``.
        """
        t = self.decoder.begin(*self.statistics(v))
        for name, layer in self.layers.named_children():
            if name in self.modulations:
                t = self.modulations[name](t, given)
            t = layer(t)
        return self.decoder.finish(t)


def _width(layer: nn.Module) -> int:
    """Return the channels of a layer in front of which the vector acts; 0 for none."""
    if isinstance(layer, Residual):
        return _width(layer.layers[0])
    return layer.num_features if isinstance(layer, nn.BatchNorm2d) else 0


class Modulation(nn.Module):
    """Scale and shift of each channel, which follow from a vector."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        last = nn.Linear(HIDDEN, 2 * width)
        self.layers = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.SiLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, t: Tensor, given: Tensor) -> Tensor:
        """``(N, width, h, w)`` and vectors ``(N, inputs)`` to the same shape as the first."""
        scale, shift = self.layers(given.to(t))[..., None, None].chunk(2, 1)
        modulated: Tensor = t + t * scale + shift
        return modulated
