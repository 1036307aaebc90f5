"""Adam with epsilon before the bias correction, as in the PyTorch that the paper ran."""

import math

import pytest
import torch
from torch import nn

from privbench.attacks.components.data_terms import SquaredError
from privbench.attacks.components.image_optimizer import ImageOptimizer, Problem
from privbench.attacks.components.objectives import Squared
from privbench.attacks.components.parametrizations import Pixels
from privbench.training.config import OptimizerConfig
from tests.support import RecordingLogger, instantiated

EPS = 1e-2


def earlier_adam(x, gradient, steps, lr, eps, amsgrad):
    """Return the iterate of Adam as in section 2 of its paper: epsilon in no correction."""
    x, m, v, largest = x.clone().double(), 0.0, 0.0, torch.tensor(0.0, dtype=torch.double)
    for t in range(1, steps + 1):
        g = gradient(x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        largest = torch.maximum(largest, v) if amsgrad else v
        rate = lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        x = x - rate * m / (largest.sqrt() + eps)
    return x.float()


def quadratic(x):
    """Return the gradient of a bowl whose curvatures lie around epsilon."""
    return torch.tensor([1e-3, 1e-2, 1.0], dtype=x.dtype) * x


def trained(steps, amsgrad, **options):
    """Return the parameter that a recipe's optimizer gives, with the optimizer."""
    recipe = OptimizerConfig(0.1, 0.0, EPS, amsgrad, schedule="constant", **options)
    parameter = nn.Parameter(torch.ones(3))
    optimizer = recipe.build([parameter], steps)
    step(optimizer, parameter, steps)
    return parameter.detach(), optimizer


def step(optimizer, parameter, steps):
    """Take steps down the quadratic."""
    for _ in range(steps):
        parameter.grad = quadratic(parameter.detach())
        optimizer.step()


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("steps", [1, 7, 60])
def test_a_training_takes_the_steps_of_the_earlier_adam(steps, amsgrad):
    """Without the option it takes others."""
    wanted = earlier_adam(torch.ones(3), quadratic, steps, 0.1, EPS, amsgrad)
    own, _ = trained(steps, amsgrad, eps_before_correction=True)
    torch.testing.assert_close(own, wanted, atol=1e-5, rtol=1e-5)
    present, _ = trained(steps, amsgrad)
    assert float((present - wanted).abs().max()) > 1e-2


def test_a_state_that_is_loaded_goes_on_with_its_step():
    """So a training from a checkpoint ends as one that was not interrupted."""
    whole, _ = trained(30, True, eps_before_correction=True)
    parameter, first = trained(12, True, eps_before_correction=True)
    _, second = trained(0, True, eps_before_correction=True)
    second.load_state_dict(first.state_dict())
    again = second.param_groups[0]["params"][0]
    again.data.copy_(parameter)
    step(second, again, 18)
    assert torch.equal(again.detach(), whole)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("eps_before_correction", [False, True])
def test_images_are_optimised_by_the_adam_that_is_asked_for(amsgrad, eps_before_correction):
    """The iterates of the option's Adam, and without it of torch's."""
    target, steps = torch.rand(2, 1, 2, 2), 40
    start, edge = torch.full_like(target, 0.5), nn.Flatten()

    def pose(rows):
        data_term = SquaredError(edge, target.flatten(1)[:, None][rows], relative=False)
        return Problem(data_term, Pixels(start[rows].clone(), clamp=False), data_term.unit)

    optimizer = ImageOptimizer(steps, 2e-3, EPS, amsgrad, "constant", eps_before_correction)
    images = optimizer.minimise(pose, Squared(), lambda _: 1.0, RecordingLogger())

    def gradient(x):
        return 2 * (x - target) / 4

    if eps_before_correction:
        wanted = earlier_adam(start, gradient, steps, 2e-3, EPS, amsgrad)
    else:
        wanted = start.clone().requires_grad_(True)
        adam = torch.optim.Adam([wanted], 2e-3, eps=EPS, amsgrad=amsgrad)
        for _ in range(steps):
            wanted.grad = gradient(wanted.detach())
            adam.step()
    torch.testing.assert_close(images, wanted.detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("asked", [False, True])
def test_attacks_hand_the_option_on(asked):
    """Those that optimise images, and those that train networks."""
    option = f"attack.eps_before_correction={asked}"
    assert instantiated("attack", "rmle", option)._optimizer.eps_before_correction is asked
    assert instantiated("attack", "inverse", option).optimizer.eps_before_correction is asked
