"""Classifiers of torchvision by name, with its weights if wanted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import URLError

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.runtime.downloads import describe_failure
from privbench.runtime.validation import VALIDATED, require_choice
from privbench.victims.network import SUFFIXES, Constants, NetworkConfig, _require_file

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of ImageNet, which torchvision's weights were trained with."""


@dataclass(frozen=True, config=VALIDATED)
class Architecture:
    """Builder of a classifier with random weights.

    Attributes:
        arch: Name, as ``torchvision.models`` has it.
    """

    version: ClassVar[str] = "torchvision_architecture-1"

    arch: str

    def __call__(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """Build it for images ``(C, H, W)``; grey ones reach it as three channels.

        Raises:
            ValueError: for an unknown name.
        """
        from torchvision import models

        require_choice("victim.arch", self.arch, models.list_models(module=models))
        options = {"image_size": shape[1]} if self.arch.startswith("vit_") else {}
        network: nn.Module = models.get_model(
            self.arch, weights=None, num_classes=classes, **options
        )
        return network


@dataclass(frozen=True, config=VALIDATED, kw_only=True)
class TorchvisionConfig(NetworkConfig):
    """A classifier of torchvision.

    Attributes, besides those of ``NetworkConfig``:
        arch: Its name, such as ``resnet18``.
        weights: One of torchvision's by name, such as ``IMAGENET1K_V1``, or a file of weights.
            Weights by name are for 1,000 classes; for other data the last layer stays random, and
            is trained.
        preprocess: Null for ImageNet's constants.
    """

    version: ClassVar[str] = "torchvision-3"

    arch: str

    def _constants(self) -> tuple[Constants, Constants]:
        mean, std = super()._constants()
        return (mean, std) if mean else (MEAN, STD)

    def _require_weights(self) -> None:
        if self.weights is None:
            return
        if Path(self.weights).suffix in SUFFIXES:
            _require_file(self.weights)
        elif self.weights not in (names := [entry.name for entry in self._known()]):
            raise ValueError(
                f"victim.weights={self.weights} is not known for {self.arch}: choose from "
                f"{', '.join(names)}, or type the path of a file"
            )

    def _known(self) -> Any:
        from torchvision import models

        require_choice("victim.arch", self.arch, models.list_models(module=models))
        return models.get_model_weights(self.arch)

    def _of_its_shapes(
        self, state: dict[str, Tensor], expected: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Leave the last layer of weights by name out, where it has other classes."""
        if self.weights is not None and Path(self.weights).suffix not in SUFFIXES:
            last = list(expected)[-2:]
            if any(state[name].shape != expected[name].shape for name in last):
                if self.epochs == 0:
                    raise ValueError(
                        f"victim.weights={self.weights} are for {len(state[last[-1]])} classes, "
                        f"these data have {len(expected[last[-1]])}: train the last layer by "
                        "victim.epochs=NUMBER"
                    )
                state = {name: tensor for name, tensor in state.items() if name not in last}
        return super()._of_its_shapes(state, expected)

    def _state(self) -> dict[str, Tensor]:
        assert self.weights is not None
        if Path(self.weights).suffix in SUFFIXES:
            return super()._state()
        entry = self._known()[self.weights]
        try:
            with torch.device("cpu"):
                state: dict[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
        except (URLError, OSError, RuntimeError) as error:
            file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
            raise ValueError(
                f"victim.weights={self.weights}: {entry.url} cannot be downloaded "
                f"({describe_failure(error)}): put that file at {file}"
            ) from error
        return state
