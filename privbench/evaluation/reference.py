"""True images and all else that metrics of reconstructions need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from privbench.evaluation.identification import Candidates, identified
from privbench.runtime.pixels import in_unit_range


@dataclass(frozen=True)
class Reference:
    """True images, and everything else that reconstructions are scored with.

    Attributes:
        x: Targets ``(N, C, H, W)``.
        target_indices: Indices of the targets within the gallery.
        pixels: All test images, the gallery ``(M, C, H, W)``, 8-bit or in [0, 1].
        labels: Labels of the gallery ``(M,)``.
        evaluator: Evaluation classifier: images ``(N, C, H, W)`` to logits ``(N, classes)``.
        evaluator_accuracy: Accuracy of the evaluation classifier on the gallery.
        fingerprint: Hash of all of the above; empty where it was not computed.
    """

    x: Tensor
    target_indices: Sequence[int]
    pixels: Tensor
    labels: Tensor
    evaluator: Callable[[Tensor], Tensor]
    evaluator_accuracy: float = 1.0
    fingerprint: str = ""
    _last: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)

    @property
    def gallery(self) -> Tensor:
        """The gallery in [0, 1]; of 8-bit pixels a new tensor at each access."""
        return in_unit_range(self.pixels)

    @cached_property
    def candidates(self) -> Candidates:
        """The gallery, prepared for identification."""
        return Candidates.of(self.pixels)

    @cached_property
    def rows(self) -> Tensor:
        """Indices of the targets within the gallery, as a tensor ``(N,)`` on its device."""
        return torch.as_tensor(self.target_indices, device=self.labels.device)

    def identified(self, x_hat: Tensor) -> Tensor:
        """Return ``identification.identified``; of the last reconstructions it is kept."""
        if not (self._last and self._last[0][0] is x_hat):
            self._last[:] = [(x_hat, identified(x_hat, self.rows, self.candidates))]
        return self._last[0][1]
