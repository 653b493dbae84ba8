"""The budget as rows over windows and lanes, and the prices of the rows.

    lower <= member @ spend <= upper        spend[w, l] = sum of cost x in window w and lane l

A lane is the arms that always pay the same: all arms, or each arm by itself where a service limits
some of them. The rows are the W windows and the total, then the W windows and the total of each
service; a row without a limit has an infinite `upper` and price 0. A row with a `lower` above 0
may have a price below 0: then its requests are subsidised.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from policy.capacity import ROUND_OFF, Capacity
from policy.problem import Demand
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["Rows"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a budget.

    Parameters
    ----------
    n_windows : int
    lane : (A,) int64
        Lane of each arm.
    member : (R, W L) scipy.sparse.csr_array of 0 and 1
        Which windows and lanes, in C order, a row adds up.
    lower, upper : (R,) float64
    """

    n_windows: int
    lane: NDArray[np.int64]
    member: Any
    lower: FloatArray
    upper: FloatArray

    @classmethod
    def of(cls, capacity: Capacity, demand: Demand) -> "Rows":
        """Lay a budget out in rows; bounds of whole requests where every cost is whole.

        Raises
        ------
        InputError
            The budget is for other windows or arms than the demand's; or a window can serve fewer
            whole requests than it must get.
        """
        capacity.check_match(demand.n_windows, demand.n_arms)
        count, arms = demand.n_windows, demand.n_arms
        lane = np.arange(arms) if capacity.services else np.zeros(arms, dtype=np.int64)
        lanes = int(lane.max()) + 1
        served = [np.arange(lanes), *(np.array(s.arms) - 1 for s in capacity.services)]
        blocks = [_block(count, lanes, columns) for columns in served]
        limits = [_bounds(capacity.window, capacity.total, count)]
        limits += [_bounds(s.window, s.total, count) for s in capacity.services]
        upper = np.concatenate(limits)
        lower = np.zeros_like(upper)
        lower[:count] = 0.0 if capacity.least is None else capacity.least
        if _whole(demand):
            lower, upper = np.ceil(lower * (1 - ROUND_OFF)), np.floor(upper * (1 + ROUND_OFF))
            _check_bounds(lower[:count], upper[:count])
        return cls(count, lane, sparse.vstack(blocks, format="csr"), lower, upper)

    @property
    def lanes(self) -> int:
        """Number of lanes, L."""
        return int(self.lane.max()) + 1

    @property
    def count(self) -> int:
        """Number of rows, R."""
        return len(self.upper)

    @cached_property
    def limited(self) -> NDArray[np.bool_]:
        """Which rows have an upper bound, (R,)."""
        return np.isfinite(self.upper)

    @cached_property
    def narrow(self) -> NDArray[np.bool_]:
        """Which rows are of one window, (R,)."""
        place = np.arange(self.count) % (self.n_windows + 1)
        return place < self.n_windows

    @cached_property
    def of_place(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows of each window and lane: indices[indptr[k]:indptr[k + 1]] of place k = w L + l."""
        rows = self.member.T.tocsr()
        return rows.indptr.astype(np.int32), rows.indices.astype(np.int32)

    def combined(self, price: FloatArray) -> FloatArray:
        """Return what a unit of cost pays in each window and lane, (W, L), by row prices (R,)."""
        paid: FloatArray = (self.member.T @ price).reshape(self.n_windows, self.lanes)
        return paid

    def arm_price(self, price: FloatArray) -> FloatArray:
        """Return what each arm pays per unit of cost in each window, (W, A)."""
        return self.combined(price)[:, self.lane]

    def spend(self, spend: FloatArray) -> FloatArray:
        """Return what each row adds up of a spend by window and lane (W, L) or arm (W, A), (R,)."""
        if spend.shape[1] != self.lanes:
            spend = spend.sum(axis=1)
        total: FloatArray = self.member @ spend.ravel()
        return total

    def value(self, price: FloatArray) -> float:
        """Return what the rows' bounds cost at prices, (R,): the dual's term of the budget."""
        bound = np.where(price > 0, np.where(self.limited, self.upper, 0.0), self.lower)
        return float(bound @ price)

    def hold(self, spend: FloatArray) -> bool:
        """Tell whether a spend (W, L) breaks no row, but for rounding of sums."""
        total = self.spend(spend)
        above = total > self.upper * (1 + ROUND_OFF)
        return not (above | (total < self.lower * (1 - ROUND_OFF))).any()

    def share(self, share: float) -> "Rows":
        """Return the rows for a share of the sessions."""
        return Rows(self.n_windows, self.lane, self.member, share * self.lower, share * self.upper)


def _block(count: int, lanes: int, columns: NDArray[np.int64]) -> Any:
    """Rows of some lanes: one for each window, and one for all of them."""
    place = (np.arange(count)[:, None] * lanes + columns).ravel()
    window = np.repeat(np.arange(count), len(columns))
    row = np.concatenate((window, np.full(place.size, count)))
    entries = (np.ones(row.size), (row, np.tile(place, 2)))
    return sparse.csr_array(entries, shape=(count + 1, count * lanes))


def _bounds(window: FloatArray | None, total: float | None, count: int) -> FloatArray:
    windows = np.full(count, np.inf) if window is None else window
    return np.append(windows, np.inf if total is None else total)


def _whole(demand: Demand) -> bool:
    """Tell whether every cost is a whole number: fractions of a budget cannot be spent then."""
    cost = demand.cost[:1] if demand.cost.strides[0] == 0 else demand.cost
    return bool((cost == np.floor(cost)).all())


def _check_bounds(lower: FloatArray, upper: FloatArray) -> None:
    short = np.flatnonzero(lower > upper)[:10]
    if short.size:
        raise InputError(
            f"Windows {short.tolist()} must get {lower[short].tolist()} whole requests but can "
            f"serve {upper[short].tolist()}; lower least or raise the capacity."
        )
