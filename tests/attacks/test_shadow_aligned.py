"""Aligned shadows: the discrepancy that they lower, and the features of others that they align to."""

import dataclasses

import pytest
import torch
from torch import nn

from privbench.attacks.shadow_aligned import AlignmentTask, mk_mmd
from privbench.defenses.deployment import Deployment, SplitVictim
from privbench.defenses.gaussian import Gaussian
from privbench.experiment.plan import MOST_TRAFFIC, plan, traffic_indices, view_of
from privbench.runtime.random import RandomStreams
from privbench.threat import Access, AccessDeniedError
from privbench.threat.view import NullLogger
from privbench.victims.lenet5 import LeNet5
from tests.support import granted, instantiated


def test_the_discrepancy_is_zero_of_equal_sets_and_grows_with_their_distance():
    """Against the definition, pair by pair; the bandwidth gets no gradient from a shift alone."""
    one, other = torch.randn(2, 12, 3, 2, 2)
    assert float(mk_mmd(one, one)) == pytest.approx(0, abs=1e-6)
    values = [float(mk_mmd(one, other + shift)) for shift in (0.0, 1.0, 3.0)]
    assert 0 < values[0] < values[1] < values[2]
    both = torch.cat([one, other]).flatten(1)
    pairs = torch.cdist(both, both).square()
    width = pairs.sum() / (24 * 23)
    kernel = sum((-pairs / (width * 2.0**k)).exp() for k in range(-3, 2)) / 5
    a, b, ab = kernel[:12, :12].mean(), kernel[12:, 12:].mean(), kernel[:12, 12:].mean()
    assert values[0] == pytest.approx(float(a + b - 2 * ab), abs=1e-5)


@pytest.fixture(scope="module")
def digits():
    """Images of digits, their labels, and a deployment with noise behind a random edge."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images / 16).float()[:, None]
    images = nn.functional.interpolate(images, size=28)
    torch.manual_seed(1)
    edge, cloud = LeNet5((1, 28, 28), 10).eval().requires_grad_(False).split("relu2")
    return (
        images,
        torch.tensor(data.target),
        Deployment(edge, Gaussian(sigma=0.05, site="features"), cloud),
    )


@pytest.mark.long
def test_alignment_lowers_the_discrepancy_to_the_received_features(digits):
    """On digits, of a shadow that never met the edge; the decoder takes its features."""
    images, labels, deployment = digits
    received = deployment.transmit(images[600:900], RandomStreams(9, "r", range(300)))[:, 0]
    found = {}
    for weight in (0.0, 1.0):
        attack = instantiated("attack", "shadow_aligned", "attack.steps=30", "attack.batch=32")
        attack = dataclasses.replace(attack, mmd_weight=weight, critic_weight=0.02 * weight)
        attack = dataclasses.replace(attack, inverter=Edge())
        view = granted(deployment, images[:200], attack.access, labels[:200],
                       traffic=images[200:600])  # fmt: skip
        edge = attack.fit(view)
        with torch.no_grad():
            found[weight] = float(mk_mmd(edge(images[:200]), received))
    assert found[1.0] < 0.6 * found[0.0]


@pytest.fixture
def task(digits):
    """Losses of a shadow by all three terms, the defense on its features."""
    images, labels, deployment = digits
    attack = dataclasses.replace(
        instantiated("attack", "shadow_aligned"), inverter=Edge(), mmd_weight=0.5, critic_weight=0.3
    )
    access = attack.access | Access.DEFENSE
    view = granted(deployment, images[:64], access, labels[:64], traffic=images[600:700])
    torch.manual_seed(2)
    edge = LeNet5((1, 28, 28), 10).split("relu2")[0]
    return AlignmentTask(edge, view, attack), view


def test_a_shadow_learns_by_the_cloud_on_defended_features_and_by_the_discrepancy(task):
    """Outside of training: cross-entropy plus the weighted discrepancy, term by term."""
    made, view = task
    made.network.eval()
    rows = torch.arange(16)
    found = made.losses((rows,))
    clean = made.network(view.images[:16])
    draws = view.streams("alignment 0", range(16))
    v = clean + 0.05 * draws.normal(clean)
    entropy = nn.functional.cross_entropy(view.cloud(v), view.labels[:16])
    wanted = float((entropy + 0.5 * mk_mmd(v, view.traffic[:16])).detach())
    assert float(found["loss"].detach()) == pytest.approx(wanted, rel=1e-5)


def test_the_critic_scores_received_features_above_the_shadows_and_the_shadow_gains_by_it(task):
    """In training its term is the loss of being taken for a shadow's."""
    made, view = task
    rows = torch.arange(32)
    made.network.train()
    for _ in range(60):
        made.critic_optimizer.param_groups[0]["lr"] = 1e-2
        with torch.no_grad():
            v = made.network(view.images[:32])
        made._teach(v, view.traffic[:32])
    mine, theirs = (float(made.critic(v).mean().detach()) for v in (v, view.traffic[:32]))
    assert theirs > 1 > -1 > mine
    made.critic_optimizer.param_groups[0]["lr"] = 0.0
    whole = made.losses((rows,))
    (slope,) = torch.autograd.grad(whole["loss"], made.network[1].weight)
    made.attack = dataclasses.replace(made.attack, critic_weight=0.0)
    made.drawn -= 1
    made.order = view.generator("traffic")
    without = made.losses((rows,))
    term = float((whole["loss"] - without["loss"]).detach())
    assert term > 0.3, "the term of a shadow that the critic recognises"
    (plain,) = torch.autograd.grad(without["loss"], made.network[1].weight)
    assert float((slope - plain).abs().max()) > 0


@dataclasses.dataclass(frozen=True)
class Edge:
    """An inverter that returns the shadow itself, in place of a reconstructor."""

    access = Access.EDGE_WEIGHTS

    def fit(self, view):
        return view.edge


def test_traffic_is_a_right_and_holds_no_target(cell):
    """Features of test images that are not attacked, other draws than any transmission's."""
    planned = plan(cell("attack=shadow_aligned", "defense=gaussian", "targets=20"))
    others = traffic_indices(planned)
    assert not set(others) & set(planned.indices)
    assert len(others) == len(planned.data.test) - 20 <= MOST_TRAFFIC
    torch.manual_seed(0)
    edge, cloud = LeNet5((1, 28, 28), 10).eval().split(planned.split)
    deployment = planned.cell.defense.build(SplitVictim(edge, cloud, (1, 28, 28)))

    def view(access):
        return view_of(planned, deployment, access, NullLogger(), torch.device("cpu"))

    traffic = view(Access.TRAFFIC).traffic
    clean = edge(planned.data.test.at(others)).detach()
    assert traffic.shape == clean.shape
    assert 0 < float((traffic - clean).std()) < 2 * planned.cell.defense.sigma
    sent = planned.seeds.streams("transmission", others)
    assert not torch.allclose(
        deployment.transmit(planned.data.test.at(others), sent)[:, 0] - clean, traffic - clean
    )
    with pytest.raises(AccessDeniedError, match="TRAFFIC"):
        _ = view(~Access.TRAFFIC).traffic


def test_where_every_image_is_a_target_there_is_no_traffic(refused):
    """One line says so, before anything is trained."""
    refused("attack=shadow_aligned targets=360", ["features of other inputs", "fewer targets"])
    refused("attack=shadow_aligned attack@attack.inverter=inverse", ["attack.inverter"])


@pytest.mark.parametrize(("inverter", "known"), [("inverse_adaptive", True), ("rmle", False)])
def test_a_shadow_knows_the_defense_where_its_inverter_does(inverter, known):
    """So the features that it learns on, and the decoder's, are defended by default."""
    attack = instantiated("attack", "shadow_aligned", f"attack@attack.inverter={inverter}")
    assert bool(attack.shadow_access & Access.DEFENSE) == known
    assert Access.TRAFFIC in attack.shadow_access
    assert bool(attack.access & Access.DEFENSE) == known


def test_a_defense_on_an_input_of_other_channels_than_the_images_is_refused(refused):
    """Grey images reach a victim of three channels as three, and a surrogate as one."""
    words = "victim=torchvision victim.arch=resnet18 split=layer1 defense=cloak"
    for attack in ("shadow", "shadow_aligned"):
        knows = f"attack={attack} attack@attack.inverter=inverse_adaptive"
        refused(f"{words} {knows}", ["that of a shadow has the shape of the images", "structure="])
