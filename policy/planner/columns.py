"""The demand and the limits as numba takes them."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.problem import Demand, Limits
from uplift.arrays import FloatArray

__all__ = ["Caps", "Columns", "Runs"]


class Columns(NamedTuple):
    """The demand as numba takes it: cost of point i is row i * cost_step of `cost`.

    `lane` tells which column of a price each arm pays: see `policy.planner.rows`.
    """

    gain: Any
    cost: FloatArray
    cost_step: int
    window: NDArray[np.int32]
    page: NDArray[np.int32]
    slot: NDArray[np.int64]
    start: NDArray[np.int64]
    group: NDArray[np.int32]
    lane: NDArray[np.int64]

    @classmethod
    def of(cls, demand: Demand, lane: NDArray[np.int64]) -> "Columns":
        """View a demand; only the single row of a broadcast cost is copied."""
        one_row = demand.cost.strides[0] == 0
        cost = demand.cost[:1].copy() if one_row else demand.cost
        columns = (demand.window, demand.page, demand.slot, demand.session_start, demand.group)
        return cls(demand.gain, cost, 0 if one_row else 1, *columns, lane)


class Runs(NamedTuple):
    """Rows of one session and one window in a row: a window is then read once, not at each row.

    Run k is rows start[k] .. start[k + 1] - 1, in window[k]; session s has the runs
    of_session[s] .. of_session[s + 1] - 1.
    """

    start: NDArray[np.int64]
    window: NDArray[np.int32]
    of_session: NDArray[np.int64]

    @classmethod
    def of(cls, demand: Demand) -> "Runs":
        """Find the runs of a demand."""
        begins = np.empty(demand.n_points, dtype=np.bool_)
        of_session = np.zeros(demand.n_sessions + 1, dtype=np.int64)
        _find_runs(demand.window, demand.session_start, begins, of_session)
        start = np.flatnonzero(begins)
        return cls(np.append(start, demand.n_points), demand.window[start], of_session)


class Caps(NamedTuple):
    """Limits as whole numbers; 0 is no limit."""

    session: int
    page: int
    gap: int

    @classmethod
    def of(cls, limits: Limits) -> "Caps":
        """Drop a page cap that the session cap already implies."""
        session, page = limits.per_session or 0, limits.per_page or 0
        implied = 0 < session <= page
        return cls(session, 0 if implied else page, limits.min_gap)


@njit(nogil=True, cache=True)
def _find_runs(
    window: NDArray[np.int32],
    start: NDArray[np.int64],
    begins: NDArray[np.bool_],
    of_session: NDArray[np.int64],
) -> None:
    """Mark where runs begin, and count those before each session."""
    count = 0
    for session in range(start.size - 1):
        for row in range(start[session], start[session + 1]):
            begins[row] = row == start[session] or window[row] != window[row - 1]
            count += begins[row]
        of_session[session + 1] = count
