"""Ridge regression from queried features to images: the sanity check that costs seconds."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.learning import held_out, require_images
from privbench.runtime.code_identity import identity_of
from privbench.runtime.validation import VALIDATED, OptionalAtLeastTwo
from privbench.threat import Access, AdversaryView

MOST = 4000
"""Images used at most, where ``images`` is null: the cost grows with the cube of their number, or
of the number of features where that is smaller."""
PENALTIES = tuple(10.0**power for power in range(-8, 3, 2))
"""Penalties tried, as shares of the features' mean variance."""


@dataclass(frozen=True, config=VALIDATED)
class Ridge:
    """Query the edge with auxiliary images, and fit a linear map back (Hoerl and Kennard, 1970).

    x = mean(x) + (v - mean(v)) W with W = (VᵀV + n a I)⁻¹ VᵀX, of centred features V and images X.
    The penalty a is the one with the lowest error on held-out images. Every image is sent as often
    as a target, and v is the mean of its transmissions. For Gaussian images behind a linear edge
    with Gaussian noise this is the posterior mean.

    Attributes:
        images: Auxiliary images used; null for all, at most 4,000.
    """

    version: ClassVar[str] = "ridge-2"

    images: OptionalAtLeastTwo

    @property
    def access(self) -> Access:
        """Rights: queries, and images to send."""
        return Access.EDGE_QUERIES | Access.AUX_IMAGES

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are.

        Raises:
            ValueError: naming the value and the choices.
        """
        require_images(self.images, view)

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Query, solve, and return the linear map."""
        inverse = LinearMap(view.feature_shape, view.image_shape, view.device)
        recipe = {"attack": "ridge", "code": identity_of(type(self)), "images": self.images}
        recipe |= {"transmissions": view.transmissions}
        view.fit_or_load(recipe, inverse, lambda: self._solve(inverse, view))

        @torch.no_grad()
        def reconstruct(v: Tensor) -> Tensor:
            x_hat: Tensor = inverse(v.mean(1)).clamp(0, 1)
            return x_hat

        return reconstruct

    def _solve(self, inverse: "LinearMap", view: AdversaryView) -> dict[str, Any]:
        x = view.images[: self.images or MOST]
        v = view.query(x)
        for _ in range(view.transmissions - 1):  # a stack of all would not fit into memory
            v += view.query(x)
        v /= view.transmissions
        last = len(x) - held_out(len(x))
        candidates = inverse.centre(v[:last], x[:last])
        errors = []
        for penalty in PENALTIES:
            inverse.matrix.copy_(candidates(penalty))
            errors.append(float((inverse(v[last:]).clamp(0, 1) - x[last:]).square().mean()))
        best = min(range(len(errors)), key=errors.__getitem__)
        inverse.matrix.copy_(candidates(PENALTIES[best]))
        return {"aux_images": len(x), "penalty": PENALTIES[best], "held_out_loss": errors[best]}


class LinearMap(nn.Module):
    """An affine map from features to images, in the shape that the store keeps.

    Args:
        feature_shape: Shape of one image's features.
        image_shape: ``(C, H, W)``.
        device: Where it computes.
    """

    features: Tensor
    image: Tensor
    matrix: Tensor

    def __init__(
        self, feature_shape: tuple[int, ...], image_shape: tuple[int, ...], device: torch.device
    ) -> None:
        super().__init__()
        features, image = (
            torch.zeros(shape, device=device) for shape in (feature_shape, image_shape)
        )
        self.register_buffer("features", features)
        self.register_buffer("image", image)
        matrix = torch.zeros(features.numel(), image.numel(), device=device)
        self.register_buffer("matrix", matrix)

    def forward(self, v: Tensor) -> Tensor:
        """Features ``(N, *feature_shape)`` to images ``(N, C, H, W)``, not clamped."""
        x = (v - self.features).flatten(1) @ self.matrix
        return self.image + x.view(-1, *self.image.shape)

    def centre(self, v: Tensor, x: Tensor) -> Callable[[float], Tensor]:
        """Set both means, and return the map's matrix as a function of the penalty.

        Of n pairs with m features each, the smaller of the two systems of equations is solved:
        VᵀV + n a I of size m, or VVᵀ + n a I of size n, which give the same matrix.

        Args:
            v: Features ``(n, *feature_shape)``.
            x: Images ``(n, C, H, W)``.
        """
        self.features.copy_(v.mean(0))
        self.image.copy_(x.mean(0))
        rows, wanted = (v - self.features).flatten(1), (x - self.image).flatten(1)
        wide = rows.shape[1] > rows.shape[0]
        gram = _products(rows if wide else rows.T)
        scale = gram.diagonal().sum() / rows.shape[1]

        def solved(penalty: float) -> Tensor:
            ridged = gram.clone()
            ridged.diagonal().add_((penalty * scale).clamp_min(1e-12))
            factor = torch.linalg.cholesky(ridged)
            right = (wanted if wide else rows.T @ wanted).double()
            solution = torch.cholesky_solve(right, factor).float()
            return rows.T @ solution if wide else solution

        return solved


def _products(rows: Tensor) -> Tensor:
    """Return the products of all pairs of rows, in double precision, a few columns at a time."""
    parts = (part.double() for part in rows.split(4096, dim=1))
    total = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    for part in parts:
        total.addmm_(part, part.T)
    return total
