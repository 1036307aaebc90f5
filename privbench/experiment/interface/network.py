"""A network that a caller holds in memory, in the place of the victim."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from privbench.defenses.deployment import fast_batch_size
from privbench.runtime.pixels import in_unit_range
from privbench.victims.split_model import Normalize, SplitModel
from privbench.victims.traced import TracedModel


@dataclass(frozen=True, eq=False)
class GivenNetwork:
    """A trained network: nothing is trained, and the caller's object stays as it is.

    Attributes:
        network: A copy in evaluation mode, on the CPU.
        anew: Builds the network with other weights; null where no adversary needs that.
        mean: Mean of each channel of its input; null for none to subtract.
        std: Standard deviation of each channel; null for none to divide by.
    """

    version: ClassVar[str] = "given_network-1"
    epochs: ClassVar[int] = 0

    network: nn.Module
    anew: Callable[[], nn.Module] | None
    mean: Sequence[float] | None
    std: Sequence[float] | None

    @classmethod
    def of(
        cls,
        model: Any,
        anew: Callable[[], nn.Module] | None,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> "GivenNetwork":
        """Copy a network.

        Raises:
            ValueError: for another object, and for constants that do not belong together.
        """
        if not isinstance(model, nn.Module):
            kind = type(model).__name__
            raise ValueError(f"model must be a torch.nn.Module, got {kind}")  # noqa: TRY004 - as all bad input
        if len(mean or []) != len(std or []) or 0 in (std or []):
            raise ValueError(f"mean={mean} and std={std}: give as many numbers for both, std not 0")
        if mean and isinstance(model, SplitModel):
            raise ValueError("mean and std: a SplitModel has its own layer input")
        return cls(copy.deepcopy(model).cpu().eval().requires_grad_(False), anew, mean, std)

    @property
    def name(self) -> str:
        """Name of its class."""
        return type(self.network).__name__

    def outline(self, shape: tuple[int, int, int], classes: int) -> SplitModel:
        """Return what ``build`` does: it has its weights at hand."""
        return self.build(shape, classes, 0)

    def build(self, shape: tuple[int, int, int], classes: int, seed: int) -> SplitModel:
        """Return a copy that divides; a seed has nothing to draw.

        Raises:
            ValueError: for a network that cannot be cut, and where ``anew`` builds another one.
        """
        with torch.device("cpu"):
            if isinstance(self.network, SplitModel):
                return copy.deepcopy(self.network)
            build = self.anew or partial(copy.deepcopy, self.network)
            model = TracedModel(build, shape, classes, self.mean, self.std)
        self._load_into(model.network)
        return model

    def _load_into(self, traced: nn.Module) -> None:
        given, expected = self.network.state_dict(), traced.state_dict()
        other = [n for n, t in expected.items() if n not in given or given[n].shape != t.shape]
        if other:
            raise ValueError(f"build returns another network than model: {other[0]} differs")
        traced.load_state_dict({name: given[name] for name in expected})

    def logits(self, images: Tensor, device: torch.device) -> Tensor:
        """Return the logits of images ``(N, C, H, W)``, ``(N, classes)`` on the CPU.

        Raises:
            ValueError: where it takes no such images, or returns no logits.
        """
        preprocess = Normalize(tuple(self.mean or (0.0,)), tuple(self.std or (1.0,)))
        whole = nn.Sequential(preprocess, copy.deepcopy(self.network)).to(device)
        with torch.no_grad():
            parts = images.split(fast_batch_size(images))
            return torch.cat([_logits(whole, in_unit_range(part.to(device))) for part in parts])

    def described(self, shape: tuple[int, int, int], classes: int) -> dict[str, Any]:
        """Describe it for keys, as a yaml would."""
        constants = {"mean": self.mean and list(self.mean), "std": self.std and list(self.std)}
        return {
            "_target_": f"{__name__}.{type(self).__name__}",
            "name": self.name,
            "network": self.fingerprint(shape, classes),
            "preprocess": constants,
        }

    def fingerprint(self, shape: tuple[int, int, int], classes: int) -> str:
        """Hash its layers, the code of its graph, weights and buffers."""
        model = self.build(shape, classes, 0)
        inner = model.network if isinstance(model, TracedModel) else model
        digest = hashlib.sha256(f"{inner!r} {getattr(inner, 'code', '')}".encode())
        tensors = dict([*inner.named_parameters(), *inner.named_buffers()])
        for name in sorted(tensors):
            tensor = tensors[name].detach().cpu().contiguous()
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:20]


def _logits(network: nn.Sequential, x: Tensor) -> Tensor:
    name, shape = type(network[1]).__name__, tuple(x.shape[1:])
    try:
        logits = network(x)
    except Exception as error:  # whatever the network's layers raise
        reason = " ".join(str(error).split())
        raise ValueError(f"{name} takes no images of shape {shape}: {reason}") from error
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"{name} returns {got} for {len(x)} images, expected logits ({len(x)}, classes)"
        )
    return logits.cpu()
