"""Aligned shadows, query-free: SDAR (Zhu et al. 2025) and FORA (Xu et al. 2024) for inference."""

import math
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from privbench.attacks.base import Reconstruct
from privbench.attacks.components.decoders import Shape, on_grid
from privbench.attacks.components.learning import held_out
from privbench.attacks.components.shadows import ShadowConfig
from privbench.defenses.deployment import Deployment
from privbench.defenses.none import NoDefense
from privbench.runtime.validation import VALIDATED, NonNegativeFloat, PositiveFloat
from privbench.threat import Access, AdversaryView
from privbench.training.task import TrainingTask

SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)
"""Bandwidths of the kernels, in units of the mean squared distance, as in FORA's code."""
CRITIC_WIDTH = 64
"""Channels of the critic's layers."""


@dataclass(frozen=True, config=VALIDATED)
class ShadowAligned(ShadowConfig):
    """Train a shadow whose features are distributed as the received ones, and invert it.

    The loss is the cross-entropy of the frozen cloud behind the shadow (He et al. Eq. (4), PCAT),
    the MK-MMD between the shadow's features and received features of other, unknown inputs (FORA),
    and a critic's term that makes both indistinguishable (SDAR). An inverter that knows the defense
    lets the shadow's features pass it too, so that defended features meet defended ones.

    Attributes, besides those of ``ShadowConfig``:
        mmd_weight: Of the MK-MMD.
        critic_weight: Of the critic's term.
        critic_lr: Learning rate of the critic, Adam.
    """

    version: ClassVar[str] = "shadow_aligned-1"

    mmd_weight: NonNegativeFloat
    critic_weight: NonNegativeFloat
    critic_lr: PositiveFloat

    @property
    def shadow_access(self) -> Access:
        """Rights that training the shadow needs."""
        known = self.inverter.access & Access.DEFENSE
        rights = Access.TRAFFIC | Access.AUX_IMAGES | Access.AUX_LABELS | known
        return rights | Access.EDGE_STRUCTURE if self.structure == "same" else rights

    def check(self, view: AdversaryView) -> None:
        """Refuse more images than there are, missing traffic, and what the inverter refuses.

        Raises:
            ValueError: naming the value and the choices.
        """
        super().check(view)
        if len(view.traffic) < 2:
            raise ValueError(
                "attack=shadow_aligned needs features of other inputs, and every test image is a "
                "target: choose fewer targets, or attack=shadow"
            )

    def fit(self, view: AdversaryView) -> Reconstruct:
        """Train the shadow, and fit the inverter to it."""
        restricted = view.restricted_to(self.shadow_access)
        edge = self.edge(restricted)
        self.fit_or_load(
            "shadow_aligned",
            edge,
            restricted,
            lambda: self._learn(edge, restricted),
            structure=self.structure,
            mmd_weight=self.mmd_weight,
            critic_weight=self.critic_weight,
            critic_lr=self.critic_lr,
        )
        return self.invert(view, edge)

    def _learn(self, edge: nn.Sequential, view: AdversaryView) -> dict[str, Any]:
        used = len(view.images[: self.images])
        trained = used - held_out(used)
        rows = torch.arange(used, device=view.device)
        learner = AlignmentTask(edge, view, self)
        facts = self.train(learner, (rows[:trained],), (rows[trained:],), view)
        renamed = {name.replace("held_out", "shadow"): fact for name, fact in facts.items()}
        return {"aux_images": used, "traffic": len(view.traffic), **renamed}


class AlignmentTask(TrainingTask):
    """Cross-entropy through the cloud, MK-MMD and a critic's term, over images by their indices.

    The critic learns a step with every training batch. Held-out losses leave its term out, which
    says nothing of one shadow against another.
    """

    name = "the aligned shadow"

    def __init__(self, edge: nn.Sequential, view: AdversaryView, attack: ShadowAligned) -> None:
        super().__init__(edge)
        known = Access.DEFENSE in view.access
        self.deployment = Deployment(edge, view.defense if known else NoDefense(), nn.Sequential())
        self.view, self.attack = view, attack
        self.order = view.generator("traffic")
        self.drawn = 0
        with view.torch_seed("critic"):
            self.critic = Critic(view.traffic[:2], view.image_shape).to(view.device)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), attack.critic_lr)

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the losses of images by their indices ``(B,)``."""
        (rows,) = batch
        training = self.network.training
        self.drawn += training
        step = self.drawn if training else 0
        draws = self.view.streams(f"alignment {step}", rows.tolist())
        v = self.deployment.send(self.view.images[rows], draws)
        received = self._received(len(rows), training=training)
        logits, labels = self.view.cloud(v), self.view.labels[rows]
        entropy, mmd = F.cross_entropy(logits, labels), mk_mmd(v, received)
        loss = entropy + self.attack.mmd_weight * mmd
        if training and self.attack.critic_weight:
            self._teach(v.detach(), received)
            loss = loss + self.attack.critic_weight * F.softplus(-self.critic(v)).mean()
        hits = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": loss, "accuracy": hits, "mmd": mmd.detach()}

    def _received(self, count: int, *, training: bool) -> Tensor:
        """Return received features, as many as given; outside of training the first ones."""
        traffic = self.view.traffic
        if not training:
            return traffic[:count]
        at = torch.randint(len(traffic), (count,), generator=self.order)
        return traffic[at.to(traffic.device)]

    def _teach(self, v: Tensor, received: Tensor) -> None:
        """Take a step of the critic: received features score above 0, the shadow's below."""
        with torch.enable_grad():
            loss = F.softplus(self.critic(v)).mean() + F.softplus(-self.critic(received)).mean()
            self.critic_optimizer.zero_grad()
            loss.backward()
            self.critic_optimizer.step()
        self.critic_optimizer.zero_grad()


class Critic(nn.Module):
    """Logit that features were received: two convolutions on a grid, else two linear layers.

    Args:
        example: Features ``(N, *feature_shape)``.
        image_shape: ``(C, H, W)``.
    """

    def __init__(self, example: Tensor, image_shape: Shape) -> None:
        super().__init__()
        self.image_shape = image_shape
        width, grid = CRITIC_WIDTH, on_grid(example, image_shape)
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(math.prod(example.shape[1:]), width)]
        if grid.dim() == 4:
            layers = [nn.Conv2d(grid.shape[1], width, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            layers += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.Flatten()]
            width *= math.prod(-(-side // 4) for side in grid.shape[2:])
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Linear(width, 1))

    def forward(self, v: Tensor) -> Tensor:
        """Features ``(N, *feature_shape)`` to logits ``(N, 1)``."""
        logits: Tensor = self.layers(on_grid(v, self.image_shape))
        return logits


def mk_mmd(one: Tensor, other: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy with five Gaussian kernels, averaged.

    Long et al. 2015; bandwidths are multiples of the mean squared distance of all pairs, which gets
    no gradient. The estimate is the biased one: at least 0, and 0 for equal sets.

    Args:
        one: Features ``(N, ...)``.
        other: Features ``(M, ...)``.
    """
    v = torch.cat([one.flatten(1), other.flatten(1)])
    norms = v.square().sum(1)
    distances = (norms[:, None] + norms - 2 * v @ v.T).clamp_min(0)
    count = len(v)
    width = distances.detach().sum() / (count * (count - 1)) + 1e-12
    kernel = torch.stack([(-distances / (scale * width)).exp() for scale in SCALES]).mean(0)
    n = len(one)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
