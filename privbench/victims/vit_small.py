"""A small vision transformer, Dosovitskiy et al. (ICLR 2021), for small images.

The classifier reads the mean over tokens, as in Beyer et al., "Better plain ViT baselines for
ImageNet-1k" (2022): there is no class token.
"""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from privbench.victims.traced import TracedModel


class ViTSmall(TracedModel):
    """Patches, learnt position embeddings, blocks of attention and MLP, the mean over tokens.

    Its features are tokens ``(N, T, D)``, in the patches' order.

    Args:
        shape: Image shape ``(C, H, W)``, whose sides the patch divides.
        classes: Number of classes.
        patch: Side of a patch in pixels.
        width: Entries of a token, D; a multiple of ``heads``.
        depth: Number of blocks, from 3.
        heads: Attention heads.

    Raises:
        ValueError: for images that no whole number of patches covers.
    """

    version: ClassVar[str] = "vit_small-1"

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        patch: int = 4,
        width: int = 96,
        depth: int = 6,
        heads: int = 3,
    ) -> None:
        channels, height, width_px = shape
        if height % patch or width_px % patch:
            raise ValueError(
                f"victim.model.patch={patch} does not divide images of {height}x{width_px} "
                "pixels: choose a divisor of both, or other images (dataset.shape, dataset.size)"
            )
        if width % heads or depth < 3:
            raise ValueError(
                f"victim.model: width={width} must be a multiple of heads={heads}, and "
                f"depth={depth} at least 3"
            )
        grid = (channels, height // patch, width_px // patch)
        build = partial(_Network, grid, classes, patch, width, depth, heads)
        half = (0.5,) * channels
        middle, late = f"blocks.{depth // 2 - 1}", f"blocks.{depth - 1}"
        depths = {"early": "embedding", "middle": middle, "late": late}
        super().__init__(build, shape, classes, half, half, depths)


class _Network(nn.Module):
    """The transformer without its normalisation of images."""

    def __init__(
        self,
        sides: tuple[int, int, int],
        classes: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        channels, rows, columns = sides
        self.embedding = Embedding(channels, rows * columns, patch, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map standardised images ``(N, C, H, W)`` to logits ``(N, classes)``."""
        tokens = self.blocks(self.embedding(x))
        logits: Tensor = self.head(self.norm(tokens).mean(1))
        return logits


class Embedding(nn.Module):
    """Patches as tokens, plus an embedding of each position."""

    def __init__(self, channels: int, tokens: int, patch: int, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, T, D)``."""
        tokens: Tensor = self.patches(x).flatten(2).transpose(1, 2)
        return tokens + self.positions


class Block(nn.Module):
    """Attention and an MLP, each normalised before it and parallel to a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``(N, T, D)`` to the same shape."""
        query = self.norm1(tokens)
        tokens = tokens + self.attention(query, query, query, need_weights=False)[0]
        mixed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed
