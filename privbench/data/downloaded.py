"""Shared part of the data sets that a library downloads."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from privbench.data.image_data import Aux
from privbench.runtime.downloads import describe_failure
from privbench.runtime.validation import VALIDATED, OptionalPositiveInt, Text


@dataclass(frozen=True, config=VALIDATED)
class DownloadedSource:
    """A data set of a library, downloaded when it is absent.

    Attributes:
        name: Name as in ``conf/dataset/``.
        root: Folder of the library's files.
        aux: ``disjoint``, ``train`` or ``noise``.
        aux_images: Number of auxiliary images; null for a quarter of the training images.
    """

    name: Text
    root: Text
    aux: Aux
    aux_images: OptionalPositiveInt

    @property
    def folder(self) -> Path:
        """The root with ``~`` expanded."""
        return Path(self.root).expanduser()

    def unavailable(self, error: BaseException, contents: str) -> ValueError:
        """Return the error of files that are absent and cannot be downloaded.

        Args:
            error: Of the download.
            contents: Files that ``root`` would have to hold.
        """
        return ValueError(
            f"dataset={self.name} is not in {self.folder} and cannot be downloaded "
            f"({describe_failure(error)}): type dataset.root=FOLDER for a folder that holds "
            f"{contents}, or dataset=digits, which needs no download"
        )
