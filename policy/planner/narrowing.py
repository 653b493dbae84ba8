"""Passes over the points that can matter: those whose gain exceeds a floor under the prices.

A point that is not worth its price is in no session's best plan. As long as all prices stay at or
above a floor, the points not worth the floor can be left out, and every bound is what it would be
with them. Prices rise from nothing, so the floor is raised after them; where a price falls below
it, all points are asked again.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policy.planner.oracle import Pass, SessionOracle
from policy.planner.rows import Rows
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray

__all__ = ["KNOWN_FLOOR", "MemorySource", "NarrowingOracle", "Part", "Source"]

FLOOR = 0.5
"""The floor, as a share of the prices it is laid under."""

KNOWN_FLOOR = 0.8
"""The same where the prices are nearly known and asking all points again is dear."""

NO_FLOOR = -1e300
"""Below all prices; finite, so that an arm that costs nothing pays 0 and not NaN."""

RAISE = 3.0
"""The floor is raised once the prices are together so many times above it."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the points: which, and what they are (nothing, where there are none)."""

    demand: Demand | None
    point: NDArray[np.int64]


class Source(Protocol):
    """All points of a problem, wherever they are."""

    @property
    def n_points(self) -> int:
        """Number of decision points."""

    def best_plans(self, price: FloatArray) -> Pass:
        """Return what all sessions do at prices (W, L)."""

    def worthwhile(self, price: FloatArray) -> Part:
        """Return the points that have an arm worth more than prices (W, L)."""

    def ceilings(self) -> FloatArray:
        """Return the price of each window from which on nothing is worth it, (W,)."""


class MemorySource:
    """A demand in memory."""

    def __init__(self, demand: Demand, limits: Limits, rows: Rows) -> None:
        self.demand, self.oracle = demand, SessionOracle(demand, limits, rows)

    @property
    def n_points(self) -> int:
        """Number of decision points."""
        return self.demand.n_points

    def best_plans(self, price: FloatArray) -> Pass:
        """Return what all sessions do at prices (W, L)."""
        return self.oracle.best_plans(price)

    def worthwhile(self, price: FloatArray) -> Part:
        """Return the points that have an arm worth more than prices (W, L)."""
        point = self.oracle.worthwhile(price)
        return Part(self.demand.take(point) if len(point) else None, point)

    def ceilings(self) -> FloatArray:
        """Return the price of each window from which on nothing is worth it, (W,)."""
        return self.oracle.ceilings()


class NarrowingOracle:
    """Best session plans, from the points above a floor that follows the prices.

    Parameters
    ----------
    source : Source
    limits : Limits
    rows : Rows
        Windows that must get something have no floor: their prices may fall below 0.
    share : float
        The floor, as a share of the prices it is laid under.
    """

    def __init__(self, source: Source, limits: Limits, rows: Rows, share: float = FLOOR) -> None:
        self._all, self._limits, self._rows, self._share = source, limits, rows, share
        self._open = np.repeat((rows.lower[: rows.n_windows] > 0)[:, None], rows.lanes, axis=1)
        self.leave()

    def begin(self, price: FloatArray) -> None:
        """Keep the points above a floor under `price` (W, L), before any pass."""
        if price.any():
            self._narrow(price)

    def leave(self) -> None:
        """Let go of what was kept; all points are asked next."""
        self._floor = np.full(self._open.shape, NO_FLOOR)
        self._near: MemorySource | None = None
        self._point = np.zeros(0, dtype=np.int64)

    def best_plans(self, price: FloatArray) -> Pass:
        """Plan every session at `price` (W, L)."""
        if (price < self._floor).any():
            self.leave()
        plans = (self._near or self._all).best_plans(price)
        closed = ~self._open
        if self._near is None or price[closed].sum() >= RAISE * self._floor[closed].sum():
            self._narrow(price)
        return plans

    def assign(self, price: FloatArray, *, thorough: bool = False) -> tuple[Part, NDArray[np.int8]]:
        """Return the points that matter at `price` (W, L), and their arms in the best plans.

        Those of a gain far below the price matter only to fill what is left of the budget:
        `thorough` asks for them too, of a demand in memory.
        """
        thorough = thorough and isinstance(self._all, MemorySource)
        if thorough or (price < self._floor).any():
            self.leave()
        if self._near is None:
            self._narrow(0 * price if thorough else price)
        if self._near is None:  # nothing is worth anything
            return Part(None, self._point), np.zeros(0, dtype=np.int8)
        arm = self._near.oracle.best_plans(price, assign=True).arm
        assert arm is not None
        return Part(self._near.demand, self._point), arm

    def _narrow(self, price: FloatArray) -> None:
        """Keep the points above a floor under the prices, if there are any."""
        floor = np.where(self._open, NO_FLOOR, self._share * price)
        part = (self._near or self._all).worthwhile(floor)
        if part.demand is not None:
            self._point = part.point if self._near is None else self._point[part.point]
            self._near = MemorySource(part.demand, self._limits, self._rows)
            self._floor = floor
