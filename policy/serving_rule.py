"""The plan's rule for one decision point: the scalar twin of `policy.rule.PriceRule`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from policy.break_even import BreakEven
from policy.kernel import Rule
from policy.problem import Limits
from policy.reserve import TIE_TOLERANCE, ReserveTable

__all__ = ["ServingRule"]

DAY_SECONDS = 86_400.0
NO_CAP = -1


class ServingRule:
    """Prices, reserves and limits, as the kernel reads them.

    Parameters
    ----------
    price, tie_share : by window
    window_seconds : length of a window; infinite for one window
    cost : requests of each arm
    limits : what a session allows
    reserve : worth of keeping a request; absent where nothing is kept back
    shrinkage : share and means of the plan's shrinkage, absent where there is none

    Attributes
    ----------
    choose : (uplift, window, price, page, position, requests, on_page, slots_since) to the best
        arm, the chance that it is given, the price paid, the reserve, the reason, and whether a
        limit forbids any arm now; a price of None is the window's own
    break_even : up to which price a request is made
    """

    def __init__(
        self,
        price: list[float],
        tie_share: list[float],
        window_seconds: float,
        cost: list[float],
        limits: Limits,
        reserve: ReserveTable | None = None,
        shrinkage: tuple[float, list[float]] | None = None,
    ) -> None:
        self.price, self.limits, self._seconds = price, limits, window_seconds
        caps = [NO_CAP if cap is None else cap for cap in (limits.per_session, limits.per_page)]
        self.break_even = BreakEven(cost, limits, reserve, shrinkage)
        self.choose = Rule(
            _bytes(price),
            _bytes(tie_share),
            _bytes(cost),
            (caps[0], caps[1], limits.min_gap),
            None if shrinkage is None else (shrinkage[0], _bytes(shrinkage[1])),
            None if reserve is None else _laid(reserve),
            TIE_TOLERANCE,
        ).choose

    @classmethod
    def read(cls, path: Path, cost: list[float]) -> "ServingRule":
        """Read the rule of a plan's file."""
        table: dict[str, Any] = json.loads(path.read_text())
        price = [float(p) for p in table["price"]]
        seconds = table["window_seconds"]
        shrunk = table.get("shrinkage")
        return cls(
            price,
            [float(t) for t in table.get("tie_share", [0.0] * len(price))],
            float("inf") if seconds is None else float(seconds),
            cost,
            Limits(**table["limits"]),
            ReserveTable.from_dict(table["reserve"]) if "reserve" in table else None,
            None if shrunk is None else (float(shrunk["share"]), list(map(float, shrunk["mean"]))),
        )

    @property
    def about(self) -> dict[str, Any]:
        """Prices and limits, as plain values."""
        seconds = None if np.isinf(self._seconds) else self._seconds
        return {"price": self.price, "window_seconds": seconds, "limits": vars(self.limits)}

    def window(self, now: float) -> int:
        """Return the window that a moment, in seconds since 1970 UTC, falls into."""
        return int(now % DAY_SECONDS // self._seconds) if len(self.price) > 1 else 0


def _laid(reserve: ReserveTable) -> tuple[bytes, bytes, bytes, int, int, int]:
    """Lay out a table: its worths, its prices, where its places begin, and its axes."""
    starts = np.ascontiguousarray(reserve.places.position, dtype=np.int64).tobytes()
    on_session, on_page = reserve.value.shape[2:]
    sizes = reserve.places.pages, on_session, on_page
    return _bytes(reserve.value), _bytes(reserve.price), starts, *sizes


def _bytes(numbers: ArrayLike) -> bytes:
    return np.ascontiguousarray(numbers, dtype=np.float64).tobytes()
