"""Shadow models: query-free, He et al. section III-C, and by queries, He et al. 2019 section 7."""

from typing import Any, ClassVar, Literal

from pydantic import SkipValidation
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.attacks.base import Attack, Reconstruct
from privbench.attacks.components.learning import TrainingConfig, held_out, query_edge
from privbench.attacks.components.surrogates import surrogate_edge
from privbench.runtime.validation import VALIDATED, OptionalAtLeastTwo
from privbench.threat import Access, AdversaryView
from privbench.training.task import TrainingTask


@dataclass(frozen=True, config=VALIDATED)
class Shadow(TrainingConfig):
    """Train a shadow of the edge, and invert the shadow.

    Supervised by ``labels`` it is query-free: the frozen cloud must classify the auxiliary images
    well behind the shadow, Eq. (4). Supervised by ``queries`` it is black-box: the shadow is fitted
    to features of the edge as deployed.

    Attributes, besides those of ``TrainingConfig``:
        inverter: The white-box attack on the shadow.
        supervision: ``labels`` or ``queries``.
        structure: ``other``: layers guessed from shapes; ``same``: the edge's layers, newly
            initialised.
        queries: Total number of queries; null for one per image; not for ``labels``.
    """

    version: ClassVar[str] = "shadow-1"

    inverter: SkipValidation[Attack]
    supervision: Literal["labels", "queries"]
    structure: Literal["other", "same"]
    queries: OptionalAtLeastTwo

    def __post_init__(self) -> None:
        """Refuse options that do not fit together."""
        if self.supervision == "labels" and self.queries is not None:
            raise ValueError(
                f"attack.queries={self.queries}: attack.supervision=labels makes no queries: "
                "choose null, or attack=shadow_queried"
            )
        _require_inverter(self.inverter, self.shadow_access)

    @property
    def shadow_access(self) -> Access:
        """Rights that training the shadow needs."""
        labels = self.supervision == "labels"
        rights = Access.AUX_IMAGES | (Access.AUX_LABELS if labels else Access.EDGE_QUERIES)
        return rights | Access.EDGE_STRUCTURE if self.structure == "same" else rights

    @property
    def access(self) -> Access:
        """Rights of the shadow, and of the inverter besides the weights, which it is given."""
        return self.shadow_access | (self.inverter.access & ~Access.EDGE_WEIGHTS)

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, and a split that the inverter refuses.

        Raises:
            ValueError: naming the value and the choices.
        """
        super().check(view)
        if check := getattr(self.inverter, "check", None):
            check(view.with_edge(self._edge(view)).restricted_to(self.inverter.access))

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train the shadow, and fit the inverter to it."""
        restricted = view.restricted_to(self.shadow_access)
        edge = self._edge(restricted)
        self.fit_or_load(
            "shadow",
            edge,
            restricted,
            lambda: self._learn(edge, restricted),
            supervision=self.supervision,
            structure=self.structure,
            queries=self.queries,
        )
        return self.inverter.fit(view.with_edge(edge).restricted_to(self.inverter.access))

    def _edge(self, view: AdversaryView) -> nn.Sequential:
        if self.structure == "same":
            return view.fresh_edge().to(view.device)
        with view.torch_seed("shadow"):
            edge = surrogate_edge(view.image_shape, view.feature_shape, view.cloud)
        return edge.to(view.device)

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


def _require_inverter(inverter: Attack, rights: Access) -> None:
    """Refuse an inverter that is not white-box, or needs rights that the adversary lacks.

    Args:
        inverter: Attack on the shadow.
        rights: Rights of the attack that trains the shadow.

    Raises:
        ValueError: naming the right in question.
    """
    if not isinstance(inverter, Attack):
        raise ValueError(  # noqa: TRY004 - as all bad input
            f"attack.inverter={inverter} is not an attack: type attack@attack.inverter=NAME"
        )
    if Access.EDGE_WEIGHTS not in inverter.access:
        raise ValueError(
            "attack.inverter must be a white-box attack, this one does not need edge_weights: "
            "choose a white-box attack, such as attack@attack.inverter=rmle"
        )
    # a right to the real edge would change the threat model of the attack
    excess = inverter.access & ~(rights | Access.EDGE_WEIGHTS | Access.DEFENSE | Access.AUX_IMAGES)
    if excess:
        raise ValueError(
            f"attack.inverter needs {', '.join(excess.names).lower()}, which this adversary "
            "lacks: choose one that needs no more than edge_weights, aux_images and defense"
        )


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
