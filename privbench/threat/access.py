"""The rights that an adversary can declare.

White-box is EDGE_WEIGHTS; black-box EDGE_QUERIES | AUX_IMAGES; query-free AUX_IMAGES | AUX_LABELS
(He et al. section II-B). Every adversary holds the cloud half, for it runs the cloud.
"""

from collections.abc import Mapping
from enum import Flag, auto


class Access(Flag):
    """Rights of an adversary; a view holds what they name and nothing else."""

    NONE = 0
    EDGE_WEIGHTS = auto()
    """The edge's layers and weights."""
    EDGE_STRUCTURE = auto()
    """The edge's layers, newly initialised."""
    EDGE_QUERIES = auto()
    """Features of the edge as deployed, defense included, for images of the adversary's choice."""
    CLEAN_QUERIES = auto()
    """Features of the edge recorded before the defense was switched on."""
    AUX_IMAGES = auto()
    """Images of the same kind, none of them a target."""
    AUX_LABELS = auto()
    """Labels of the auxiliary images."""
    DEFENSE = auto()
    """Kind, site and strength of the defense; never a draw (Kerckhoffs)."""

    @property
    def names(self) -> list[str]:
        """Names of the rights, as a record lists them."""
        return [right.name for right in Access if right in self and right.name]


ADAPTIVE = Access.DEFENSE | Access.EDGE_QUERIES
"""Rights of which each makes an adversary adaptive: it has seen what the defense does."""

RIGHTS: Mapping[str, Access] = {
    "edge": Access.EDGE_WEIGHTS,
    "fresh_edge": Access.EDGE_STRUCTURE,
    "query": Access.EDGE_QUERIES,
    "clean_query": Access.CLEAN_QUERIES,
    "images": Access.AUX_IMAGES,
    "labels": Access.AUX_LABELS,
    "defense": Access.DEFENSE,
    "retrained": Access.DEFENSE,
}
"""The right that each attribute of a view needs."""
ALWAYS = {
    "cloud", "image_shape", "feature_shape", "split", "transmissions", "device_config", "device",
    "logger",
}  # fmt: skip
"""Attributes that every view has."""


class AccessDeniedError(RuntimeError):
    """Use of something that an attack's declared rights do not grant."""
