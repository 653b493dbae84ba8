"""Numbers as people read them, in labels, tables and sentences."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from uplift.arrays import FloatArray

__all__ = [
    "PER",
    "Shown",
    "around_zero",
    "count",
    "error_bars",
    "numbers",
    "percent",
    "policy_name",
    "quantity",
    "shown",
    "shown_percent",
]

#: Values, gains and requests are shown per so many decision points.
PER = 1000.0

_UNKNOWN = "n/a"
_SPACE = "\N{NO-BREAK SPACE}"
_NAMES = {
    "plan": "Plan",
    "never": "Never",
    "always": "Always",
    "random": "Random, same rate",
    "fixed": "Fixed insertion",
    "purchase_probability": "Purchase probability",
}


class Shown(NamedTuple):
    """An estimate in words: its value, and its interval or nothing where it is exact."""

    value: str
    interval: str

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".strip()


def count(number: float) -> str:
    """Return a whole number with separators: ``1,234``."""
    return _signed(f"{number:,.0f}")


def quantity(number: float | None, scale: float = 1.0) -> str:
    """Return a number to three significant digits; whole numbers stay whole."""
    if number is None or not math.isfinite(number):
        return _UNKNOWN
    scaled = number * scale
    return count(scaled) if scaled == round(scaled) else _fixed(scaled, _decimals([scaled]))


def percent(share: float | None) -> str:
    """Return a share as percent: ``12.3 %``, and small shares as a bound."""
    if share is None or not math.isfinite(share):
        return _UNKNOWN
    if share == 0:
        return f"0{_SPACE}%"
    if abs(share) < 5e-4:
        return f"below 0.1{_SPACE}%" if abs(share) > 5e-5 else f"below 0.01{_SPACE}%"
    return f"{_fixed(100 * share, 1)}{_SPACE}%"


def shown(estimate: Mapping[str, Any], scale: float = 1.0) -> Shown:
    """Return an estimate and its interval with the same decimals.

    The largest of the three numbers gets three significant digits. An unbounded end is infinite;
    an estimate whose interval has no width is exact and goes without.
    """
    value, lower, upper = _triple(estimate, scale)
    if math.isnan(value):
        return Shown(_UNKNOWN, "")
    decimals = _decimals([value, lower, upper])
    exact = upper - lower <= 1e-9 * abs(value)
    interval = "" if exact else f"[{_fixed(lower, decimals)}, {_fixed(upper, decimals)}]"
    return Shown(quantity(value) if exact else _fixed(value, decimals), interval)


def shown_percent(estimate: Mapping[str, Any]) -> Shown:
    """Return an estimated share and its interval in percent."""
    value, lower, upper = _triple(estimate, 100.0)
    if math.isnan(value):
        return Shown(_UNKNOWN, "")
    return Shown(f"{_fixed(value, 1)}{_SPACE}%", f"[{_fixed(lower, 1)}, {_fixed(upper, 1)}]")


def around_zero(estimate: Mapping[str, Any]) -> bool:
    """Tell whether an interval contains 0, so that the sign is not known."""
    _, lower, upper = _triple(estimate, 1.0)
    return lower <= 0 <= upper


def policy_name(name: str) -> str:
    """Return a policy's name for people."""
    if name.startswith("always_"):
        return f"Always {name.removeprefix('always_')}"
    return _NAMES.get(name, name.replace("_", " "))


def numbers(values: Any, scale: float = 1.0) -> FloatArray:
    """Return a list of numbers as an array; what is absent is not a number."""
    array: FloatArray = np.array(list(values), dtype=np.float64) * scale
    return array


def error_bars(estimate: Mapping[str, Any], scale: float = 1.0) -> FloatArray:
    """Return the lengths of the bars below and above an estimate, (2, 1); unbounded ends have none.

    A bootstrap's ends may both lie on one side of the estimate; the bar on the other side is 0.
    """
    value, lower, upper = _triple(estimate, scale)
    lengths = np.array([[value - lower], [upper - value]])
    return np.where(np.isfinite(lengths), np.maximum(lengths, 0.0), 0.0)


def _triple(estimate: Mapping[str, Any], scale: float) -> tuple[float, float, float]:
    value, lower, upper = (estimate.get(key) for key in ("value", "lower", "upper"))
    return (
        math.nan if value is None else value * scale,
        -math.inf if lower is None else lower * scale,
        math.inf if upper is None else upper * scale,
    )


def _decimals(values: list[float]) -> int:
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return min(max(2 - math.floor(math.log10(largest)), 0), 6) if largest > 0 else 0


def _fixed(number: float, decimals: int) -> str:
    if math.isinf(number):
        return _signed("-∞" if number < 0 else "∞")
    return _signed(f"{number:,.{decimals}f}")


def _signed(text: str) -> str:
    """Write a real minus, and none before zero."""
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", "\N{MINUS SIGN}")
