"""What all attacks by a shadow share: an edge of the adversary's own, and the attack on it."""

from typing import Literal

import torch
from pydantic import SkipValidation
from pydantic.dataclasses import dataclass
from torch import nn

from privbench.attacks.base import Attack, Reconstruct
from privbench.attacks.components.learning import TrainingConfig
from privbench.attacks.components.surrogates import surrogate_edge
from privbench.defenses.deployment import Deployment
from privbench.runtime.errors import UnsuitableAttackError
from privbench.runtime.validation import VALIDATED
from privbench.threat import Access, AdversaryView


@dataclass(frozen=True, config=VALIDATED)
class ShadowConfig(TrainingConfig):
    """Hyper-parameters of an attack that trains a shadow of the edge and inverts it.

    Attributes, besides those of ``TrainingConfig``:
        inverter: The white-box attack on the shadow.
        structure: ``other``: layers guessed from shapes; ``same``: the edge's layers, newly
            initialised.
    """

    inverter: SkipValidation[Attack]
    structure: Literal["other", "same"]

    def __post_init__(self) -> None:
        """Refuse an inverter that needs rights which the adversary lacks."""
        _require_inverter(self.inverter, self.shadow_access)

    @property
    def shadow_access(self) -> Access:
        """Rights that training the shadow needs."""
        raise NotImplementedError

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
        if Access.DEFENSE in view.access and view.defense.site == "input":
            self._require_place(view)
        if check := getattr(self.inverter, "check", None):
            check(view.with_edge(self.edge(view)).restricted_to(self.inverter.access))

    def _require_place(self, view: AdversaryView) -> None:
        """Refuse a defense on an input of other channels than the shadow's input has."""
        deployment = Deployment(self.edge(view), view.defense, nn.Sequential())
        image = torch.zeros(1, *view.image_shape, device=view.device)
        try:
            deployment.send(image, view.streams("place", [0]))
        except RuntimeError as error:
            raise UnsuitableAttackError(
                "the defense acts on the input of the network, and that of a shadow has the shape "
                f"of the images, {view.image_shape} ({str(error).splitlines()[0]}): choose "
                "attack.structure=same, or an inverter that does not know the defense"
            ) from error

    def edge(self, view: AdversaryView) -> nn.Sequential:
        """Return an untrained shadow."""
        if self.structure == "same":
            return view.fresh_edge().to(view.device)
        with view.torch_seed("shadow"):
            edge = surrogate_edge(view.image_shape, view.feature_shape, view.cloud)
        return edge.to(view.device)

    def invert(self, view: AdversaryView, edge: nn.Sequential) -> Reconstruct:
        """Fit the inverter to a trained shadow, and return its reconstructor."""
        return self.inverter.fit(view.with_edge(edge).restricted_to(self.inverter.access))


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
