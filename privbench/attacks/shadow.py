"""Shadow models: query-free, He et al. section III-C, and by queries, He et al. 2019 section 7."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from privbench.attacks.base import Attack, Reconstruct
from privbench.attacks.components.learning import AttackModule, TrainingConfig, ask, held_out
from privbench.attacks.components.surrogates import stand_in
from privbench.runtime import checks
from privbench.threat.view import Access, AdversaryView

TEACHERS = ("cloud", "answers")
STRUCTURES = ("other", "same")


@dataclass(frozen=True)
class Shadow(TrainingConfig):
    """Trains an edge of its own, and inverts that one.

    Taught by the ``cloud`` it asks the edge nothing: the half that is the adversary's, which stays
    as it is, must classify well behind the shadow, Eq. (4). Taught by ``answers`` of the edge as
    deployed it is black-box, and fits those.

    Attributes, besides those of ``TrainingConfig``:
        inverter: The white-box attack on the shadow.
        teacher: ``cloud`` or ``answers``.
        structure: ``other``: an edge's layers guessed from shapes; ``same``: the edge's own layers,
            newly initialised.
        queries: Answers asked for in all; null for one an image; of no use to the cloud's pupil.
    """

    version: ClassVar[str] = "shadow-1"

    inverter: Attack
    teacher: str
    structure: str
    queries: int | None

    def __post_init__(self) -> None:
        """Refuse what is out of range, before any data is read."""
        super().__post_init__()
        checks.choice("attack.teacher", self.teacher, TEACHERS)
        checks.choice("attack.structure", self.structure, STRUCTURES)
        checks.whole_or_null("attack.queries", self.queries, 2)
        if self.teacher == "cloud" and self.queries is not None:
            raise ValueError(
                f"attack.queries={self.queries}: a shadow taught by the cloud asks nothing: "
                "choose null, or attack=shadow_queried"
            )
        _require_inverter(self.inverter, self.own_access)

    @property
    def own_access(self) -> Access:
        """Query-free or black-box, and the layers where those are known."""
        taught = Access.AUX_LABELS if self.teacher == "cloud" else Access.EDGE_QUERIES
        own = Access.AUX_IMAGES | taught
        return own | Access.EDGE_STRUCTURE if self.structure == "same" else own

    @property
    def access(self) -> Access:
        """Its own rights, and what the inverter needs besides the weights that it is given."""
        return self.own_access | (self.inverter.access & ~Access.EDGE_WEIGHTS)

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, and a split that the inverter refuses.

        Raises:
            ValueError: naming the value and the choices.
        """
        super().check(view)
        if check := getattr(self.inverter, "check", None):
            check(view.with_edge(self._edge(view)).only(self.inverter.access))

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train the shadow, and fit the inverter to it."""
        own = view.only(self.own_access)
        edge = self._edge(own)
        self.learnt(
            "shadow",
            edge,
            own,
            lambda: self._learn(edge, own),
            teacher=self.teacher,
            structure=self.structure,
            queries=self.queries,
        )
        return self.inverter.fit(view.with_edge(edge).only(self.inverter.access))

    def _edge(self, view: AdversaryView) -> nn.Sequential:
        if self.structure == "same":
            return view.fresh_edge().to(view.device)
        with view.torch_seed("shadow"):
            edge = stand_in(view.image_shape, view.feature_shape, view.cloud)
        return edge.to(view.device)

    def _learn(self, edge: nn.Sequential, view: AdversaryView) -> dict[str, Any]:
        images = view.images[: self.images]
        learner: AttackModule
        if self.teacher == "cloud":
            used = len(images)
            trained, labels = used - held_out(used), view.labels[:used]
            data, last = (
                (images[rows], labels[rows]) for rows in (slice(trained), slice(trained, used))
            )
            learner = ShadowClassificationTask(edge, view.cloud)
        else:
            data, last, trained, used = ask(view.query, images, self.queries)
            learner = FeatureMatchingTask(edge, images, scale=float(data[0].square().mean()))
        facts = self.train(learner, data, last, view, epoch=trained)
        # of images held out: through the cloud, or as a share of what the answers are
        own = {name.replace("held_out", "shadow"): fact for name, fact in facts.items()}
        return {"aux_images": used, **own}


def _require_inverter(inverter: Attack, own: Access) -> None:
    """Refuse an inverter that is no white-box attack, or that needs what its host must not have.

    Args:
        inverter: What is to invert a stand-in.
        own: The rights of the attack that trains the stand-in.

    Raises:
        ValueError: naming the right in question.
    """
    if not isinstance(inverter, Attack):
        raise ValueError(  # noqa: TRY004 - as all bad input
            f"attack.inverter={inverter} is no attack: type attack@attack.inverter=NAME"
        )
    if Access.EDGE_WEIGHTS not in inverter.access:
        raise ValueError(
            "attack.inverter inverts an edge by its weights, this one does not ask for them: "
            "choose a white-box attack, such as attack@attack.inverter=rmle"
        )
    # what a stand-in may rest on: a right to the real edge would make the attack another one
    foreign = inverter.access & ~(own | Access.EDGE_WEIGHTS | Access.DEFENSE | Access.AUX_IMAGES)
    if foreign:
        raise ValueError(
            f"attack.inverter needs {', '.join(foreign.names).lower()}, which this adversary has "
            "not: choose one that needs no more than edge_weights, aux_images and defense"
        )


class ShadowClassificationTask(AttackModule):
    """Eq. (4): cross-entropy of the frozen cloud's answers to the shadow's features."""

    name = "the shadow"

    def __init__(self, edge: nn.Sequential, cloud: nn.Sequential) -> None:
        super().__init__(edge)
        self.cloud = (cloud,)  # in a tuple, or Lightning would set it to training

    def figures(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Images ``(B, C, H, W)`` and labels ``(B,)``."""
        images, labels = batch
        logits = self.cloud[0](self.network(images))
        hits = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": F.cross_entropy(logits, labels), "accuracy": hits}


class FeatureMatchingTask(AttackModule):
    """The squared error of a shadow's features, as a share of the answers' mean square."""

    name = "the shadow"

    def __init__(self, edge: nn.Sequential, images: Tensor, scale: float) -> None:
        super().__init__(edge)
        self.images, self.scale = (images,), max(scale, 1e-12)

    def figures(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Features ``(B, *feature_shape)`` and the numbers of their images ``(B,)``."""
        v, rows = batch
        error = (self.network(self.images[0][rows]) - v).square().mean() / self.scale
        return {"loss": error}
