"""Numbers and tables as Markdown. An estimate is {"mean", "low", "high"} as fractions; pages show percent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

EARLIER = (
    "Measured in an earlier world, with more clean text, fewer steps of SFT and a weaker teacher (LOG.md); "
    "the claims that were measured again are under [The ladder](#the-ladder)."
)


def points(estimate: Mapping[str, Any]) -> str:
    """A difference in points with its 95% interval: "+2.9 [-2.4, +8.1]". An end that only rounding makes 0
    has one digit more: on which side of 0 it lies decides the verdict."""
    ends = [_signed(100 * estimate[key]) for key in ("low", "high")]
    for place, key in enumerate(("low", "high")):
        if ends[place] == "0.0" and abs(100 * estimate[key]) >= 0.005:
            ends[place] = f"{100 * estimate[key]:+.2f}"
    return f"{_signed(100 * estimate['mean'])} [{ends[0]}, {ends[1]}]"


def share(estimate: Mapping[str, Any], digits: int = 0, key: str = "mean") -> str:
    """A share in percent with its 95% interval: "42% [37, 47]". `key`: where the middle stands."""
    mean, low, high = (f"{100 * estimate[name]:.{digits}f}" for name in (key, "low", "high"))
    return f"{mean}% [{low}, {high}]"


def plain(estimate: Mapping[str, Any]) -> str:
    """A number that is no share with its 95% interval: "0.69 [0.66, 0.72]"."""
    return f"{estimate['mean']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"


def percent(value: float, digits: int = 0) -> str:
    """A plain share: "79%"."""
    return f"{100 * value:.{digits}f}%"


def p_value(value: float) -> str:
    """A p-value to two digits, without an exponent."""
    if value < 0.00005:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.01 else f"{value:.2g}"


def per_seed(estimate: Mapping[str, Any]) -> str:
    """The points of every seed: "-2.8, +5.8"."""
    return ", ".join(_signed(100 * value) for value in estimate["per_seed"].values())


def clock(seconds: float) -> str:
    """Minutes and seconds: "22:12"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""
    heads = list(heads)
    lines = ["| " + " | ".join(str(cell) for cell in line) + " |" for line in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text
