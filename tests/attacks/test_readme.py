"""The example of the attacks' README, as printed."""

import pytest
import torch
from torch import nn

from privbench.attacks.base import Attack
from privbench.defenses.deployment import Deployment
from privbench.defenses.gaussian import Gaussian
from privbench.evaluation import metrics
from privbench.runtime.random import RandomStreams
from privbench.threat import Access, AccessDeniedError
from tests.support import granted, readme_example, scenes

README = "privbench/attacks/README.md"


def test_the_example_inverts_a_noisy_linear_edge(tmp_path, monkeypatch):
    """Far better than the mean image, within the rights that it declares."""
    attack = readme_example(README, "my_attack", tmp_path, monkeypatch)
    assert isinstance(attack, Attack)
    x = scenes(200)[..., ::4, ::4]
    torch.manual_seed(0)
    edge = nn.Sequential(nn.Flatten(), nn.Linear(49, 49))
    deployment = Deployment(edge, Gaussian(sigma=0.01), nn.Sequential(nn.Identity()))
    v = deployment.transmit(x[:20], RandomStreams(0, "transmission", range(20)), 2)
    x_hat = attack.fit(granted(deployment, x[20:], attack.access))(v)
    mean = x[20:].mean(0).expand_as(x_hat)
    gain = metrics.psnr_db(x_hat, x[:20]).mean() - metrics.psnr_db(mean, x[:20]).mean()
    assert x_hat.shape == x[:20].shape and float(gain) > 3
    with pytest.raises(AccessDeniedError, match="EDGE_QUERIES"):
        attack.fit(granted(deployment, x, Access.AUX_IMAGES))
