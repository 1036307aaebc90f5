"""Adam with its epsilon where PyTorch added it before version 1.3."""

import math
from typing import Any

from torch.optim import Optimizer


def eps_after_correction(eps: float, step: int, beta2: float = 0.999) -> float:
    """Return the epsilon for present PyTorch that takes the step of PyTorch before 1.3.

    Before 1.3 (pull request 22628) PyTorch followed the end of section 2 of Kingma and Ba (2015):
    the step is ``lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)``. Since then ``v`` is
    corrected before epsilon is added. The same epsilon is so in effect smaller: 31.6 times at the
    first step, 1.6 times at step 500.

    Args:
        eps: Epsilon that is added before the correction, at least 0.
        step: Number of this step, from 1.
        beta2: Decay of the second moment.

    >>> [round(eps_after_correction(1e-3, step), 4) for step in (1, 100, 500, 5000)]
    [0.0316, 0.0032, 0.0016, 0.001]
    """
    return eps / math.sqrt(1 - beta2**step)


def add_eps_before_correction(optimizer: Optimizer) -> None:
    """Make an Adam of PyTorch add epsilon as before 1.3.

    Its state keeps the number of the step. Every parameter must have a gradient in every step.
    """
    for group in optimizer.param_groups:
        group.update(eps_before_correction=group["eps"], step_number=0)
    optimizer.register_step_pre_hook(_next_eps)


def _next_eps(optimizer: Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        group["step_number"] += 1
        eps, beta2 = group["eps_before_correction"], group["betas"][1]
        group["eps"] = eps_after_correction(eps, group["step_number"], beta2)
