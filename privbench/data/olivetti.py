"""Olivetti faces: 400 grey images of 40 people, 64x64 pixels (Samaria and Harter, 1994)."""

from typing import ClassVar

from privbench.data.faces import FaceSource, to_8_bit
from privbench.data.image_data import ImageData
from privbench.store.artifacts import Store

TEST_IMAGES = 120


class Olivetti(FaceSource):
    """Ten images of each person, three of which are test images."""

    version: ClassVar[str] = "olivetti-1"

    def layout(self) -> tuple[tuple[int, int, int], int]:
        """Return image shape ``(C, H, W)`` and number of classes, without reading images."""
        return (1, 64, 64), 40

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read scikit-learn's files."""
        from sklearn.datasets import fetch_olivetti_faces

        faces = self.fetch(fetch_olivetti_faces)
        names = [f"person {number}" for number in range(40)]
        return self.divide(to_8_bit(faces.images[:, None]), faces.target, names, TEST_IMAGES)
