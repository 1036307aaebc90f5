"""Profiles of platforms, networks and clouds: constants of the cost model, each with its source."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from pydantic.dataclasses import dataclass

from privbench.runtime.validation import (
    VALIDATED,
    NonNegativeFloat,
    OptionalNonNegativeFloat,
    PositiveFloat,
    Text,
)

TYPED = "typed on the command line"
"""Source of a value that the user gave."""


@dataclass(frozen=True, config=VALIDATED)
class Processor:
    """Throughputs of the latency model of a network's layers.

    Seconds are ``FLOPs / gflops + weight bytes / weight_gbps + activation bytes / activation_gbps +
    layers * layer_us``, a multiplication and an addition being two FLOPs, GB and GFLOP being 1e9.

    Attributes:
        name: Name of the profile.
        gflops: GFLOP/s that the layers reach, convolutions by fast algorithms included.
        weight_gbps: GB/s at which weights are read.
        activation_gbps: GB/s at which outputs of convolutions and linear layers are written; null
            leaves the term out.
        layer_us: Microseconds of each convolution, linear layer and product of matrices.
        source: Origin of each number, by field.
    """

    name: Text
    gflops: PositiveFloat
    weight_gbps: PositiveFloat
    activation_gbps: PositiveFloat | None
    layer_us: NonNegativeFloat
    source: Mapping[str, str]


@dataclass(frozen=True, config=VALIDATED)
class Platform(Processor):
    """Device that computes the edge.

    Attributes, besides those of ``Processor``:
        active_w: Power in W while it computes; null where none is known: no energy is computed.
        idle_w: Power in W while it waits; null where none is known.
    """

    active_w: PositiveFloat | None
    idle_w: OptionalNonNegativeFloat


@dataclass(frozen=True, config=VALIDATED)
class Cloud(Processor):
    """Server that computes the rest."""


@dataclass(frozen=True, config=VALIDATED)
class Network:
    """Radio link, with the linear power model of Huang et al. (MobiSys 2012).

    The power of a transfer at ``t`` Mbit/s is ``slope * t + base_mw``.

    Attributes:
        name: Name of the profile.
        up_mbps: Uplink rate in Mbit/s.
        down_mbps: Downlink rate in Mbit/s.
        rtt_ms: Round-trip time in ms.
        up_mw_per_mbps: Slope of the power of the uplink.
        down_mw_per_mbps: Slope of the power of the downlink.
        base_mw: Power at rate 0 in mW.
        max_mbps: Rate above which the power is taken as constant.
        isolated_request_j: Energy in J of one isolated packet: promotion and tail of the radio.
        source: Origin of each number, by field.
    """

    name: Text
    up_mbps: PositiveFloat
    down_mbps: PositiveFloat
    rtt_ms: NonNegativeFloat
    up_mw_per_mbps: NonNegativeFloat
    down_mw_per_mbps: NonNegativeFloat
    base_mw: NonNegativeFloat
    max_mbps: PositiveFloat
    isolated_request_j: NonNegativeFloat
    source: Mapping[str, str]


Profile = TypeVar("Profile", Platform, Network, Cloud)


def numbers(profile: Any) -> dict[str, float]:
    """Return the numbers of a profile by field, without those that are not known."""
    values = {field.name: getattr(profile, field.name) for field in fields(profile)}
    return {k: v for k, v in values.items() if k not in {"name", "source"} and v is not None}


def with_typed(profile: Profile, group: str, overrides: list[str]) -> Profile:
    """Return a profile whose overridden fields name the command line as their source.

    Args:
        profile: Of the configuration, overrides applied.
        group: Its config group.
        overrides: Of the command line.
    """
    names = {word.lstrip("+").partition("=")[0] for word in overrides}
    typed = {name: TYPED for name in numbers(profile) if f"{group}.{name}" in names}
    return replace(profile, source={**profile.source, **typed}) if typed else profile
