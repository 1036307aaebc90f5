"""Utility of a classifier or a deployment: its accuracy, image by image."""

from collections.abc import Callable

import torch
from torch import Tensor

from privbench.defenses.deployment import Deployment, fast_batch_size, max_batch_size
from privbench.runtime.pixels import in_unit_range
from privbench.runtime.random import RandomStreams


def per_image_accuracy(
    classify: Callable[[Tensor, range], Tensor],
    images: Tensor,
    labels: Tensor,
    transmissions: int = 1,
) -> Tensor:
    """Compute the share of right answers for each image.

    Args:
        classify: Images ``(B, C, H, W)`` and their indices to logits ``(B, answers, classes)``.
        images: ``(N, C, H, W)``, in [0, 1] or 8-bit, which are converted batch by batch.
        labels: ``(N,)``.
        transmissions: Copies of an image that ``classify`` holds in memory; it is given the fewer
            images at once.

    Returns:
        ``(N,)`` in [0, 1]: the mean over the answers of an image.
    """
    shares = []
    batch = max(1, min(fast_batch_size(images), max_batch_size(images) // transmissions))
    for start in range(0, len(images), batch):
        rows = range(start, min(start + batch, len(images)))
        answers = classify(in_unit_range(images[start : rows.stop]), rows).argmax(2)
        shares.append((answers == labels[start : rows.stop, None]).double().mean(1))
    return torch.cat(shares)


def deployment_accuracy(
    deployment: Deployment,
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    device: torch.device,
    groups: int = 1,
    transmissions: int = 1,
) -> Tensor:
    """Compute the share of right answers of a deployment for each image.

    Of K transmissions of an image the cloud averages the logits, and answers with the largest mean.
    The share is over independent groups of K transmissions, group g with the draws numbered g K to
    g K + K - 1.

    Args:
        deployment: Edge, defense and cloud on ``device``.
        images: ``(N, C, H, W)``, 8-bit or in [0, 1].
        labels: ``(N,)``, on the device of ``images``.
        seed: Seed of the defense's draws.
        device: Device of the deployment.
        groups: Number of groups.
        transmissions: Transmissions in a group, K.

    Returns:
        ``(N,)`` in [0, 1], on the CPU.
    """

    def classify(batch: Tensor, rows: range) -> Tensor:
        streams = RandomStreams(seed, "accuracy", rows)
        v = deployment.transmit(batch.to(device), streams, groups * transmissions)
        logits: Tensor = deployment.predict(v).unflatten(1, (groups, transmissions))
        return logits.mean(2).cpu()

    return per_image_accuracy(classify, images, labels, groups * transmissions)
