"""Shadow models: query-free, He et al. section III-C, and by queries, He et al. 2019 section 7."""

from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.learning import held_out, query_edge
from privbench.attacks.components.shadows import ShadowConfig
from privbench.runtime.validation import VALIDATED, OptionalAtLeastTwo
from privbench.threat import Access, AdversaryView
from privbench.training.task import TrainingTask


@dataclass(frozen=True, config=VALIDATED)
class Shadow(ShadowConfig):
    """Train a shadow of the edge, and invert the shadow.

    Supervised by ``labels`` it is query-free: the frozen cloud must classify the auxiliary images
    well behind the shadow, Eq. (4). Supervised by ``queries`` it is black-box: the shadow is fitted
    to features of the edge as deployed.

    Attributes, besides those of ``ShadowConfig``:
        supervision: ``labels`` or ``queries``.
        queries: Total number of queries; null for one per image; not for ``labels``.
    """

    version: ClassVar[str] = "shadow-1"

    supervision: Literal["labels", "queries"]
    queries: OptionalAtLeastTwo

    def __post_init__(self) -> None:
        """Refuse options that do not fit together."""
        if self.supervision == "labels" and self.queries is not None:
            raise ValueError(
                f"attack.queries={self.queries}: attack.supervision=labels makes no queries: "
                "choose null, or attack=shadow_queried"
            )
        super().__post_init__()

    @property
    def shadow_access(self) -> Access:
        """Rights that training the shadow needs."""
        labels = self.supervision == "labels"
        rights = Access.AUX_IMAGES | (Access.AUX_LABELS if labels else Access.EDGE_QUERIES)
        return rights | Access.EDGE_STRUCTURE if self.structure == "same" else rights

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train the shadow, and fit the inverter to it."""
        restricted = view.restricted_to(self.shadow_access)
        edge = self.edge(restricted)
        self.fit_or_load(
            "shadow",
            edge,
            restricted,
            lambda: self._learn(edge, restricted),
            supervision=self.supervision,
            structure=self.structure,
            queries=self.queries,
        )
        return self.invert(view, edge)

    def _learn(self, edge: nn.Sequential, view: AdversaryView) -> dict[str, Any]:
        images = view.images[: self.images]
        learner: TrainingTask
        if self.supervision == "labels":
            used = len(images)
            trained, labels = used - held_out(used), view.labels[:used]
            data, last = (
                (images[rows], labels[rows]) for rows in (slice(trained), slice(trained, used))
            )
            learner = ShadowClassificationTask(edge, view.cloud)
        else:
            data, last, trained, used = query_edge(view.query, images, self.queries)
            learner = FeatureMatchingTask(edge, images, scale=float(data[0].square().mean()))
        facts = self.train(learner, data, last, view, epoch=trained)
        # losses on held-out images: cross-entropy, or a share of the features' mean square
        renamed = {name.replace("held_out", "shadow"): fact for name, fact in facts.items()}
        return {"aux_images": used, **renamed}


class ShadowClassificationTask(TrainingTask):
    """Eq. (4): cross-entropy of the frozen cloud's logits for the shadow's features."""

    name = "the shadow"

    def __init__(self, edge: nn.Sequential, cloud: nn.Sequential) -> None:
        super().__init__(edge)
        self.cloud = cloud

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the losses of images ``(B, C, H, W)`` and labels ``(B,)``."""
        images, labels = batch
        logits = self.cloud(self.network(images))
        hits = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": F.cross_entropy(logits, labels), "accuracy": hits}


class FeatureMatchingTask(TrainingTask):
    """Squared error of the shadow's features, as a share of the queried ones' mean square."""

    name = "the shadow"

    def __init__(self, edge: nn.Sequential, images: Tensor, scale: float) -> None:
        super().__init__(edge)
        self.images, self.scale = images, max(scale, 1e-12)

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the losses of features ``(B, *feature_shape)`` and image indices ``(B,)``."""
        v, rows = batch
        error = (self.network(self.images[rows]) - v).square().mean() / self.scale
        return {"loss": error}
