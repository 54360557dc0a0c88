"""Numbers as text, and how two of them differ. Used by the other modules of this folder."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

MISSING = "–"
_NUMBER = r"([-+]?\d+(?:\.\d+)?)"
_ESTIMATE = re.compile(rf"{_NUMBER}% \[{_NUMBER}, {_NUMBER}\]")  # as an Estimate prints itself


class Difference(NamedTuple):
    """`text`: "+2.8 points", "same" or "differs"; `apart`: both are estimates whose intervals do not meet."""

    text: str
    apart: bool


def number(value: Any) -> str:
    """A value for reading: floats to three significant digits, whole numbers with commas, None as a dash."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return MISSING if value is None else str(value)


def setting(value: Any) -> str:
    """A parameter's value for reading: text without quotes, a list with commas, nothing as a dash."""
    if isinstance(value, list):
        return ", ".join(setting(item) for item in value) or MISSING
    if isinstance(value, str):
        return value or MISSING
    return json.dumps(value, default=str)


def split_interval(text: str) -> tuple[str, str]:
    """ "13.2% [10.2, 16.2]" -> ("13.2%", "[10.2%, 16.2%]"); ("the whole", "") where there is no interval."""
    found = _ESTIMATE.fullmatch(text)
    return (f"{found[1]}%", f"[{found[2]}%, {found[3]}%]") if found else (text, "")


def estimate(value: Any) -> tuple[float, float, float] | None:
    """(mean, low, high) in percent of "13.2% [10.2, 16.2]"; None where `value` is no such text."""
    found = _ESTIMATE.fullmatch(value) if isinstance(value, str) else None
    return tuple(float(part) for part in found.groups()) if found else None  # type: ignore[return-value]


def difference(first: Any, second: Any) -> Difference:
    """How `second` differs from `first`; an empty text where either is None."""
    if first is None or second is None:
        return Difference("", False)
    if first == second:
        return Difference("same", False)
    # Two estimates: the difference of their means, and whether chance alone could bridge it.
    one, two = estimate(first), estimate(second)
    if one and two:
        apart = one[2] < two[1] or two[2] < one[1]
        return Difference(f"{two[0] - one[0]:+.1f} points", apart)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in (first, second)):
        gap = second - first
        return Difference(f"{gap:+,}" if isinstance(gap, int) else f"{gap:+.3g}", False)
    return Difference("differs", False)
