"""Description of a metric: all that evaluation, records, tables and pages need to know of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""
CODE = ("compute", "over", "remarks", "requires")
"""Fields of a metric that no record holds."""
VACUOUS = 1e-4
"""Mean squared error, 40 dB, under which a bound says nothing of use."""
Place = Literal["run", "summary", "table", "curves"]
"""Where a metric is shown: at the end of a run, among the worst cases, in the tables of cells, and
in curves with the tables that compare defenses by them."""


def _any_shape(_shape: Shape) -> str:
    return ""


def requires_side(pixels: int, shape: Shape) -> str:
    """Return in words that images are smaller than a metric's window; empty where they are not."""
    if min(shape[1:]) >= pixels:
        return ""
    return f"needs images of {pixels} pixels or more, these have {shape[1]}x{shape[2]}"


def _not_here(*_: Any) -> Any:
    raise NotImplementedError("a metric that was read off a record cannot be computed")


def _no_remarks(_facts: Mapping[str, Any], _errors: Sequence[float]) -> list[str]:
    return []


@dataclass(frozen=True)
class Measured:
    """A deployment's number with facts that explain it, which the notes of a record keep.

    Attributes:
        value: Null where there is none.
        facts: What json can hold.
    """

    value: float | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score of reconstructions, or a number of a deployment.

    Attributes:
        name: Its name in records.
        label: Its name in tables and figures.
        unit: Written behind the value; empty without one.
        higher_leaks: True where a higher value means that more is recovered.
        interval: Of its mean over images: ``bca`` for values, ``wilson`` for shares of images; null
            for a number of a deployment, which needs no reconstruction.
        decimals: Decimal places that are shown.
        show: Where it is shown, besides records and trackers, which have every metric.
        failed_as: Score of a reconstruction that is not finite: the ``worst`` of the constant
            images, that of a ``black`` image, or 0, a ``miss``.
        costly: True keeps a deployment's number in the store, for all cells on that deployment.
        compute: Of reconstructions ``(N, C, H, W)`` and their ``Reference``: a tensor ``(N,)``. Of
            a deployment and images ``(N, C, H, W)``: a number, ``Measured``, or null where there is
            none.
        over: Images of a deployment's number: the ``targets``, or all ``test`` images; of these
            ``compute`` also gets how often each is sent.
        remarks: Returns sentences about a deployment's number, of its facts and of the mean squared
            error of each image of an attack on it.
        requires: Returns in words why a shape of images has no such score; empty where it has.
    """

    name: str
    label: str
    unit: str = ""
    higher_leaks: bool = True
    interval: Literal["bca", "wilson"] | None = "bca"
    decimals: int = 3
    show: tuple[Place, ...] = ("run", "summary", "table")
    failed_as: Literal["worst", "black", "miss"] = "worst"
    costly: bool = False
    compute: Callable[..., Any] = _not_here
    over: Literal["targets", "test"] = "targets"
    remarks: Callable[[Mapping[str, Any], Sequence[float]], list[str]] = _no_remarks
    requires: Callable[[Shape], str] = _any_shape

    def __post_init__(self) -> None:
        """Refuse a name that a record could not hold, and a number where curves have scores.

        Raises:
            ValueError: naming it.
        """
        if not self.name.isidentifier():
            raise ValueError(f"a metric cannot have the name {self.name!r}")
        if self.interval is None and "curves" in self.show:
            raise ValueError(
                f"the metric {self.name} is a number of a deployment, without images to draw: "
                "leave curves out of show"
            )

    @property
    def title(self) -> str:
        """Its label with the unit, such as ``PSNR [dB]``."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label

    def number(self, value: float | None) -> str:
        """Format a value without its unit; empty for a missing one.

        >>> Metric(name="psnr_db", label="PSNR", unit="dB", decimals=2).number(17.4821)
        '17.48'
        """
        if value is None:
            return ""
        return f"{value:.{self.decimals}f}" if self.decimals else f"{value:,.0f}"

    def signed(self, difference: float) -> str:
        """Format a difference of values with its sign."""
        return f"{difference:+.{self.decimals}f}"

    def with_unit(self, value: float) -> str:
        """Format a value with its unit or its label.

        >>> Metric(name="ssim", label="SSIM").with_unit(0.77412)
        'SSIM 0.774'
        """
        if self.interval == "wilson":
            return f"{value:.0%} {self.label}"
        if self.unit == "dB" and self.interval:  # of images: the unit says which score it is
            return f"{self.number(value)} dB"
        return f"{self.label} {self.number(value)}{f' {self.unit}' if self.unit else ''}"

    def leakage(self, value: float) -> float:
        """Return the value with the sign that makes more of it more leakage."""
        return value if self.higher_leaks else -value

    def describe(self) -> dict[str, Any]:
        """Return all but its code, as a record holds it."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in plain.items() if name not in CODE}

    @classmethod
    def of_description(cls, description: Mapping[str, Any]) -> "Metric":
        """Return the metric that ``describe`` gave the description of, without its code."""
        return cls(**{**description, "show": tuple(description["show"])})


def checked(found: Any) -> Measured:
    """Return what a deployment's metric computed: a number, a ``Measured`` or null.

    Raises:
        ValueError: for NaN or an infinity, which a record cannot hold.
    """
    measured = found if isinstance(found, Measured) else Measured(found, {})
    if measured.value is None:
        return measured
    number = float(measured.value)
    if not math.isfinite(number):
        raise ValueError(f"it is {number}")
    return Measured(number, measured.facts)
