"""Signal-to-noise ratio of the features."""

import math
from typing import TYPE_CHECKING

from privbench.evaluation.metrics.base import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from privbench.defenses.deployment import Deployment


def channel_snr_db(deployment: "Deployment", x: "Tensor") -> float | None:
    """Return the power of the features over that of the channel's error in them, in dB.

    Noise of one sigma protects less where the features are larger, as a trained edge may make them.
    A channel at the input is measured by what it does to the features, too. Null where the channel
    changes nothing.

    Args:
        deployment: Edge, channel and cloud.
        x: Targets ``(N, C, H, W)``.
    """
    ratio = deployment.signal_to_noise_db(x)
    return ratio if math.isfinite(ratio) else None


CHANNEL_SNR = Metric(
    name="channel_snr_db",
    label="SNR of the features",
    unit="dB",
    interval=None,
    decimals=1,
    show=("run", "table"),
    compute=channel_snr_db,
)
