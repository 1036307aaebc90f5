"""Labeled Faces in the Wild: 13,233 colour photographs of 5,749 people (Huang et al., 2007)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from privbench.data.faces import FaceSource, to_8_bit
from privbench.data.image_data import ImageData
from privbench.runtime.validation import VALIDATED, expecting
from privbench.store.artifacts import Store

CENTRE = slice(61, 189)
"""Rows and columns of the central 128x128 pixels of the 250x250, which hold the face."""
TEST_SHARE = 5
"""A fifth of each person's images are test images."""


@dataclass(frozen=True, config=VALIDATED)
class LFW(FaceSource):
    """Funneled images of the people with the most images, a fifth of each person's for the test.

    Attributes, besides those of ``DownloadedSource``:
        min_faces: Smallest number of images of a person; 20 leaves 3,023 images of 62 people.
        size: Side of an image in pixels: 32, 64 or 128.
    """

    version: ClassVar[str] = "lfw-1"

    min_faces: Annotated[int, Field(ge=5, le=530), expecting("a whole number from 5 to 530")]
    size: Literal[32, 64, 128]

    def load(self, store: Store, *, show_progress: bool) -> ImageData:
        """Read scikit-learn's files; the decoded ones stay there in joblib's cache."""
        from sklearn.datasets import fetch_lfw_people

        faces = self.fetch(
            fetch_lfw_people,
            min_faces_per_person=self.min_faces,
            color=True,
            slice_=(CENTRE, CENTRE),
            resize=self.size / 128,
        )
        images = to_8_bit(faces.images).permute(0, 3, 1, 2).contiguous()
        names = [str(name) for name in faces.target_names]
        return self.divide(images, faces.target, names, len(images) // TEST_SHARE)
