"""Networks whose answer is where another attack starts: their rights, and what they believe."""

from typing import Any

from privbench.attacks.base import Attack
from privbench.defenses.none import NoDefense
from privbench.threat import Access, AdversaryView


def rights(*, adaptive: bool) -> Access:
    """Return the rights of an attack that starts from a network's answer."""
    naive = Access.EDGE_WEIGHTS | Access.AUX_IMAGES
    return naive | Access.DEFENSE if adaptive else naive


def require_start_network(network: Any) -> None:
    """Refuse a network that is not an attack, or one that needs further rights.

    Raises:
        ValueError: naming the choices.
    """
    if not isinstance(network, Attack):
        raise ValueError(  # noqa: TRY004 - as all bad input
            f"attack.network={network} is not an attack: type attack@attack.network=NAME"
        )
    excess = network.access & ~rights(adaptive=True)
    if excess or Access.AUX_IMAGES not in network.access:
        raise ValueError(
            "attack.network must learn from auxiliary images and need no more than "
            "edge_weights, aux_images and defense: choose attack@attack.network="
            "inverse_adaptive"
        )


def believed(view: AdversaryView, *, adaptive: bool) -> AdversaryView:
    """Return the view with the defense that the adversary believes in: none if not adaptive."""
    return view if adaptive else view.assuming(NoDefense())
