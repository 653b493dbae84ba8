"""The plan's rule for one decision point: the scalar twin of `policy.rule.PriceRule`."""

import json
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policy.problem import Limits
from policy.reserve import TIE_TOLERANCE, ReserveTable
from policy.session_state import SessionState

__all__ = ["Choice", "ServingRule"]

DAY_SECONDS = 86_400.0
LIMITED = frozenset(("session limit", "page limit", "too soon"))
"""Reasons that no price can change."""


class Choice(NamedTuple):
    """What the rule says of a decision point: the best arm, and the chance that it is given."""

    arm: int
    share: float
    price: float
    reserve: float
    reason: str


class ServingRule:
    """Prices, reserves and limits as plain lists.

    Parameters
    ----------
    price, tie_share : by window
    window_seconds : length of a window; infinite for one window
    cost : requests of each arm
    limits : what a session allows
    reserve : worth of keeping a request; absent where nothing is kept back
    shrinkage : share and means of the plan's shrinkage, absent where there is none
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
        self.price, self.limits = price, limits
        self._tie_share, self._seconds, self._cost = tie_share, window_seconds, cost
        self._reserve, self._shrinkage = reserve, shrinkage
        if reserve is not None:
            self._value: list[Any] = reserve.value.tolist()
            self._levels: list[float] = reserve.price.tolist()
            self._starts: list[int] = reserve.places.position.tolist()
            self._sizes: tuple[int, ...] = reserve.value.shape[2:]
            self._between = (float("nan"), *self._levels_around(0.0))  # of the last price

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

    def choose(
        self,
        uplift: list[float],
        window: int,
        page: int,
        position: int,
        state: SessionState,
        price: float | None = None,
    ) -> Choice:
        """Decide; `price` in place of the plan's where a pacer has corrected it."""
        paid = self.price[window] if price is None else price
        arm, net = self._best(uplift, paid)
        if arm == 0:
            return Choice(0, 0.0, paid, 0.0, "nothing gained")
        reserve = self._kept(paid, page, position, state)
        refusal = self.refusal(state)
        if refusal:
            return Choice(arm, 0.0, paid, reserve, refusal)
        worth = net - reserve
        if abs(worth) <= TIE_TOLERANCE * (paid * self._cost[arm - 1]):
            return Choice(arm, self._tie_share[window], paid, reserve, "tie")
        if worth > 0:
            return Choice(arm, 1.0, paid, reserve, "worth it")
        return Choice(arm, 0.0, paid, reserve, "below reserve" if net > 0 else "below price")

    def _best(self, uplift: list[float], price: float) -> tuple[int, float]:
        """Return the arm of most gain net of its price, and that; arm 0 where nothing is gained."""
        arm, most = 0, float("-inf")
        for k, gain in enumerate(uplift):
            if self._shrinkage is not None:
                share, mean = self._shrinkage
                gain = (1 - share) * gain + share * mean[k]
            if gain > 0 and gain - price * self._cost[k] > most:
                arm, most = k + 1, gain - price * self._cost[k]
        return arm, most

    def demand(self, uplift: list[float], choice: Choice) -> tuple[float, float]:
        """Return what the best arm gains per unit of cost, less its reserve, and its cost.

        It is what a pacer counts; 0 where no price would make a request. No arm is best at an
        infinite price, that of a closed window: there it is the one of most gain.
        """
        arm = choice.arm or self._best(uplift, 0.0)[0]
        cost = self._cost[arm - 1] if arm else 0.0
        if cost <= 0 or choice.reason in LIMITED:
            return 0.0, cost
        gain = uplift[arm - 1]
        if self._shrinkage is not None:
            share, mean = self._shrinkage
            gain = (1 - share) * gain + share * mean[arm - 1]
        return (gain - choice.reserve) / cost, cost

    def refusal(self, state: SessionState) -> str:
        """Say which limit forbids a request now, if any does."""
        limits = self.limits
        if limits.per_session is not None and state.requests >= limits.per_session:
            return "session limit"
        if limits.per_page is not None and state.on_page >= limits.per_page:
            return "page limit"
        return "too soon" if state.slots_since < limits.min_gap else ""

    def _kept(self, price: float, page: int, position: int, state: SessionState) -> float:
        """Return the worth of keeping the request for later, as `ReserveTable.at_price` has it."""
        if self._reserve is None:
            return 0.0
        bucket = max(bisect_right(self._starts, position) - 1, 0)
        place = min(page, self._reserve.places.pages - 1) * len(self._starts) + bucket
        k = _left(self.limits.per_session, state.requests, self._sizes[0])
        q = _left(self.limits.per_page, state.on_page, self._sizes[1])
        known, below, beyond, share = self._between
        if known != price:
            below, beyond, share = self._levels_around(price)
            self._between = price, below, beyond, share
        return float((1 - share) * below[place][k][q] + share * beyond[place][k][q])

    def _levels_around(self, price: float) -> tuple[Any, Any, float]:
        """Return the reserves at the levels below and above a price, and its share of the way."""
        levels, last = self._levels, len(self._levels) - 1
        above = min(max(bisect_left(levels, price), 1), max(last, 1))
        low, high = above - 1, min(above, last)
        width = levels[high] - levels[low] if high > low else 1.0
        share = min(max((price - levels[low]) / width, 0.0), 1.0)
        return self._value[low], self._value[high], share


def _left(cap: int | None, made: int, size: int) -> int:
    """Return the index of what a cap leaves, as `policy.reserve.left` does."""
    return 0 if cap is None or size == 1 else min(max(cap - made, 1), size) - 1
