"""Cost model: seconds and joules of an inference at a split, of counts and profiles (no torch).

As Neurosurgeon (Kang et al., ASPLOS 2017) and JointDNN (arXiv 1801.08618): latency is the sum of
edge, transfer and cloud; energy is the device's alone.
"""

from dataclasses import dataclass, replace

from privbench.plan.profiles import Cloud, Network, Platform, Processor

BITS = {"fp32": 32, "fp16": 16, "int8": 8}
"""Bits of a number that is sent, by format; scale and offset of int8 are fixed in advance."""


@dataclass(frozen=True)
class Work:
    """Work of some layers for one image.

    Attributes:
        flops: Of convolutions, products of matrices and attention, two per multiplication.
        weight_bytes: Of parameters and buffers.
        activation_bytes: Of outputs of convolutions and linear layers, fp32.
        layers: Number of such operations.
    """

    flops: float = 0.0
    weight_bytes: float = 0.0
    activation_bytes: float = 0.0
    layers: int = 0

    def times(self, count: int) -> "Work":
        """Return the work for several images in one batch: the weights are read once."""
        return replace(
            self, flops=self.flops * count, activation_bytes=self.activation_bytes * count
        )


@dataclass(frozen=True)
class Counts:
    """Exact numbers of a split, for one image.

    Attributes:
        edge: Work of the edge.
        cloud: Work of the cloud.
        parameters: Trained values of the edge.
        memory_bytes: Parameters and buffers of the edge, and the largest sum of tensors that are
            in use at once while it computes, the image among them until it is last read.
        payload_bits: Bits that one transmission takes, by format.
        result_bits: Bits of the cloud's answer, fp32 logits; 0 where it has none.
    """

    edge: Work
    cloud: Work
    parameters: int
    memory_bytes: float
    payload_bits: dict[str, float]
    result_bits: float


@dataclass(frozen=True)
class Setup:
    """What the model computes with.

    Attributes:
        platform: Device.
        network: Link.
        cloud: Server.
        payload: Format of features: ``fp32``, ``fp16`` or ``int8``.
        idle: Whether the device's idle power counts while it waits for the cloud.
    """

    platform: Platform
    network: Network
    cloud: Cloud
    payload: str
    idle: bool

    def at_uplink(self, mbps: float) -> "Setup":
        """Return the setup at another uplink rate."""
        return replace(self, network=replace(self.network, up_mbps=mbps))


@dataclass(frozen=True)
class Cost:
    """Modelled cost of an inference.

    Attributes:
        edge_s: Seconds of the edge.
        network_s: Seconds of round trip, uplink and downlink.
        cloud_s: Seconds of the cloud.
        energy_j: Joules of the device for computing and transfer; null where its power is unknown.
        energy_isolated_j: The same with promotion and tail of the radio, for one isolated request.
    """

    edge_s: float
    network_s: float
    cloud_s: float
    energy_j: float | None
    energy_isolated_j: float | None

    @property
    def latency_s(self) -> float:
        """Seconds from the image to the answer."""
        return self.edge_s + self.network_s + self.cloud_s

    @property
    def throughput_hz(self) -> float:
        """Images a second where edge, network and cloud work at the same time on different ones."""
        return 1 / max(self.edge_s, self.network_s, self.cloud_s)


def seconds(work: Work, processor: Processor) -> float:
    """Return the seconds that layers take on a processor."""
    moved = work.activation_bytes / processor.activation_gbps if processor.activation_gbps else 0.0
    giga = work.flops / processor.gflops + work.weight_bytes / processor.weight_gbps + moved
    return giga / 1e9 + work.layers * processor.layer_us / 1e6


def transfer_w(rate: float, slope: float, network: Network) -> float:
    """Return the power in W of a transfer, constant above the largest rate of the model."""
    return (slope * min(rate, network.max_mbps) + network.base_mw) / 1e3


def cost_of(counts: Counts, setup: Setup, transmissions: int = 1) -> Cost:
    """Return the modelled cost of a split.

    Args:
        counts: Of the split.
        setup: Profiles and format.
        transmissions: How often each image is sent; the cloud computes each transmission.
    """
    network, platform = setup.network, setup.platform
    bits = counts.payload_bits[setup.payload] * transmissions
    up_s, down_s = bits / network.up_mbps / 1e6, counts.result_bits / network.down_mbps / 1e6
    wait_s = network.rtt_ms / 1e3 if bits else 0.0
    edge_s = seconds(counts.edge, platform)
    cloud_s = seconds(counts.cloud.times(transmissions), setup.cloud)
    if platform.active_w is None:
        return Cost(edge_s, up_s + down_s + wait_s, cloud_s, None, None)
    energy = platform.active_w * edge_s
    energy += transfer_w(network.up_mbps, network.up_mw_per_mbps, network) * up_s
    energy += transfer_w(network.down_mbps, network.down_mw_per_mbps, network) * down_s
    if setup.idle and platform.idle_w is not None:
        energy += platform.idle_w * (wait_s + cloud_s)
    isolated = energy + (network.isolated_request_j if bits else 0.0)
    return Cost(edge_s, up_s + down_s + wait_s, cloud_s, energy, isolated)
