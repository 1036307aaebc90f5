"""Networks of a user or of a library, with their own weights or trained here."""

import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.runtime.validation import VALIDATED, NonNegativeInt
from privbench.victims.split_model import SplitModel
from privbench.victims.traced import TracedModel
from privbench.victims.training import VictimConfig

SUFFIXES = (".safetensors", ".pt", ".pth")
Constants = list[float] | None


class NoBuilder(nn.Module):
    """Default of ``victim.model``, which every use of ``victim=module`` replaces.

    Raises:
        ValueError: naming the option.
    """

    version: ClassVar[str] = "no_builder-1"

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        raise ValueError(
            "victim=module needs a builder: type victim.model._target_=MODULE.FUNCTION"
        )


@dataclass(frozen=True, config=VALIDATED, kw_only=True)
class NetworkConfig(VictimConfig):
    """A network that torch.fx traces, or a ``SplitModel``, with weights of a file if wanted.

    Attributes, besides those of ``VictimConfig``:
        weights: File of a state dict, ``.safetensors``, ``.pt`` or ``.pth``; null for random ones.
        preprocess: ``mean`` and ``std`` of the channels of images in [0, 1]; null for none.
        epochs: Passes over the training images; 0 trains nothing.
    """

    version: ClassVar[str] = "network-3"

    weights: str | None
    preprocess: Mapping[str, Constants]
    epochs: NonNegativeInt

    def __post_init__(self) -> None:
        """Refuse constants that do not belong together, and a file that is not there."""
        mean, std = self.preprocess.get("mean"), self.preprocess.get("std")
        if unknown := set(self.preprocess) - {"mean", "std"}:
            raise ValueError(f"unknown option victim.preprocess.{min(unknown)}: has mean, std")
        if len(mean or []) != len(std or []) or 0 in (std or []):
            raise ValueError(
                f"victim.preprocess.mean={mean} and std={std}: type as many numbers for both, "
                "std not 0"
            )
        self._require_weights()

    def _require_weights(self) -> None:
        """Refuse a name that is no file of weights."""
        if self.weights is not None:
            _require_file(self.weights)

    def outline(self, shape: tuple[int, int, int], classes: int) -> SplitModel:
        """Build the network without its weights; a file's names and shapes must be the network's.

        Raises:
            ValueError: for a network that cannot be cut or trained, and weights of another one.
        """
        self._require_known_options()
        model = self._wrapped(shape, classes)
        self._require_trainable(model)
        self._fitting(model)
        if torch.get_default_device().type == "meta":  # only values show some faults
            with torch.device("cpu"), torch.random.fork_rng(devices=[]):
                self._wrapped(shape, classes)
        return model

    def build(self, shape: tuple[int, int, int], classes: int, seed: int) -> SplitModel:
        """Build the network, and load its weights; without a file they follow from the seed."""
        model = super().build(shape, classes, seed)
        if state := self._fitting(model):
            _network_of(model).load_state_dict(state, strict=False)
        return model

    def _wrapped(self, shape: tuple[int, int, int], classes: int) -> SplitModel:
        with torch.random.fork_rng(devices=[]):  # it is built again, from the same draws
            built = self.model(shape, classes)
        mean, std = self._constants()
        if isinstance(built, SplitModel):
            if mean:
                raise ValueError("victim.preprocess: a SplitModel has its own layer input")
            return self.model(shape, classes)  # type: ignore[return-value]
        if not isinstance(built, nn.Module):
            raise ValueError(  # noqa: TRY004 - as all bad input
                f"victim.model returns {type(built).__name__}, expected a torch.nn.Module"
            )
        if len(mean or [0]) not in {1, shape[0], 3 if shape[0] == 1 else shape[0]}:
            raise ValueError(
                f"victim.preprocess.mean={mean} does not fit images of {shape[0]} channels"
            )
        return TracedModel(partial(self.model, shape, classes), shape, classes, mean, std)

    def _constants(self) -> tuple[Constants, Constants]:
        return self.preprocess.get("mean"), self.preprocess.get("std")

    def _fitting(self, model: SplitModel) -> dict[str, Tensor]:
        """Return the weights of the file for a network, or nothing where there is no file.

        Raises:
            ValueError: in one line, for missing or unknown names, and for other shapes.
        """
        if self.weights is None:
            return {}
        state, network = self._state(), _network_of(model)
        known = model.known if isinstance(model, TracedModel) else network.state_dict().keys()
        expected = network.state_dict()
        missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - known)
        if missing or unknown:
            raise ValueError(
                f"victim.weights={self.weights} are of another network: "
                f"{len(missing)} weights missing ({_few(missing)}), "
                f"{len(unknown)} unknown ({_few(unknown)})"
            )
        return self._of_its_shapes({name: state[name] for name in expected}, expected)

    def _of_its_shapes(
        self, state: dict[str, Tensor], expected: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        for name, tensor in state.items():
            if tensor.shape != expected[name].shape:
                raise ValueError(
                    f"victim.weights={self.weights}: {name} has shape {tuple(tensor.shape)}, "
                    f"this network's has {tuple(expected[name].shape)}"
                )
        return state

    def _state(self) -> dict[str, Tensor]:
        assert self.weights is not None
        return read_state(Path(self.weights))


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict; a pickled file may hold tensors and plain containers only.

    Raises:
        ValueError: in one line, for a file that is damaged or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with torch.device("cpu"):
            if path.suffix == ".safetensors":
                state: Any = load_file(path)
            else:
                state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"victim.weights={path} cannot be read ({reason})") from error
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"victim.weights={path} is not a state dict: save model.state_dict()")
    return dict(state)


def _require_file(name: str) -> None:
    path = Path(name)
    if path.suffix not in SUFFIXES or not path.is_file():
        raise ValueError(
            f"victim.weights={name} is not a file of weights: type the path of one that ends in "
            f"{', '.join(SUFFIXES)}"
        )


def _network_of(model: SplitModel) -> nn.Module:
    """Return the module whose names a file of weights has."""
    return model.network if isinstance(model, TracedModel) else model


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") or "none"
