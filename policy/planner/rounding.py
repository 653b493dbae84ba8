"""Repair: from an assignment that respects the sessions to one that also respects the capacity.

Two steps, neither of which can break a session limit:

1. drop: where a row is exceeded, give up the requests with the least gain per unit of cost;
2. fill: spend the room that is left on the changes with the most gain per unit of cost that the
   session limits allow: a new request, or a better arm for one that is already there.

At prices p, an assignment from the oracle loses against the bound exactly

    sum_w p[w] room[w] + sum of (gain - p cost) over what was dropped
                       + sum of (p cost - gain) over what was filled,

which is small when the prices are nearly right; so the repair need not search.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.planner.columns import Caps, Columns
from policy.planner.result import Prices, earned
from policy.problem import ROUND_OFF, Capacity, Demand, Limits
from uplift.arrays import FloatArray

__all__ = ["repair"]

BANDS = (0.9, 0.0)
"""Shares of the price down to which changes are looked for: nearly always the first is enough."""


def repair(
    demand: Demand, capacity: Capacity, limits: Limits, arm: NDArray[np.int8], prices: Prices
) -> NDArray[np.int8]:
    """Return an assignment (n,) that violates no row.

    Parameters
    ----------
    demand, capacity, limits
        The problem.
    arm : (n,) int8
        An assignment that respects the session limits; it is not changed.
    prices : Prices
        Prices at which `arm` was planned; they guide the search and never the feasibility.
    """
    arm = arm.copy()
    columns, rooms = Columns.of(demand), _Rooms(demand, capacity, arm)
    _drop_windows(demand, columns, rooms, arm)
    _drop_total(demand, columns, rooms, arm, prices)
    for band in BANDS:
        _fill(demand, columns, Caps.of(limits), rooms, arm, band * prices.combined)
        if not rooms.any_left():
            break
    return arm


class _Rooms:
    """Room left in each window (`window`, (W,)) and in the total (`total`, (1,)).

    Kernels subtract what they spend in place.
    """

    def __init__(self, demand: Demand, capacity: Capacity, arm: NDArray[np.int8]) -> None:
        _, spend = earned(demand, arm)
        total = np.inf if capacity.total is None else capacity.total
        self.window: FloatArray = capacity.window * (1 + ROUND_OFF) - spend
        self.total: FloatArray = np.array([total * (1 + ROUND_OFF) - spend.sum()])
        self._nothing = (2 * ROUND_OFF * capacity.window, 2 * ROUND_OFF * total)

    def any_left(self) -> bool:
        """Whether a row with a limit has more room than rounding of sums explains."""
        windows = np.isfinite(self.window) & (self.window > self._nothing[0])
        if np.isfinite(self.total[0]):
            windows |= np.isinf(self.window)
            return bool(self.total[0] > self._nothing[1] and windows.any())
        return bool(windows.any())


def _drop_windows(demand: Demand, columns: Columns, rooms: _Rooms, arm: NDArray[np.int8]) -> None:
    over = rooms.window < 0
    if over.any():
        rows = np.flatnonzero((arm > 0) & over[demand.window])
        rows = rows[np.argsort(_ratio(demand, rows, arm), kind="stable")]
        _give_up(rows, columns, arm, rooms.window, rooms.total, False)


def _drop_total(
    demand: Demand, columns: Columns, rooms: _Rooms, arm: NDArray[np.int8], prices: Prices
) -> None:
    if rooms.total[0] < 0:
        rows = np.flatnonzero(arm)
        worth = _ratio(demand, rows, arm) - prices.window[demand.window[rows]]
        rows = rows[np.argsort(worth, kind="stable")]
        _give_up(rows, columns, arm, rooms.window, rooms.total, True)


def _ratio(demand: Demand, rows: NDArray[np.int64], arm: NDArray[np.int8]) -> FloatArray:
    """Gain per unit of cost of the chosen arms; infinite where the arm costs nothing."""
    column = arm[rows] - 1
    cost, ratio = demand.cost[rows, column], np.full(rows.size, np.inf)
    np.divide(demand.gain[rows, column], cost, out=ratio, where=cost > 0)
    return ratio


def _fill(
    demand: Demand,
    columns: Columns,
    caps: Caps,
    rooms: _Rooms,
    arm: NDArray[np.int8],
    least: FloatArray,
) -> None:
    """Spend the room on changes that gain at least `least[w]` per unit of cost, best first."""
    score = np.empty(demand.n_points, dtype=np.float32)
    _score_changes(columns, caps, arm, rooms.window, rooms.total, least, score)
    rows = np.flatnonzero(score > 0)
    rows = rows[np.argsort(-score[rows], kind="stable")]
    sessions = np.searchsorted(demand.session_start, rows, side="right") - 1
    _apply_changes(rows, sessions, columns, caps, arm, rooms.window, rooms.total, least)


@njit(nogil=True, cache=True)
def _give_up(
    rows: NDArray[np.int64],
    columns: Columns,
    arm: NDArray[np.int8],
    room: FloatArray,
    total: FloatArray,
    for_total: bool,
) -> None:
    """Drop requests in the given order where their window, or the total, is exceeded."""
    for row in rows:
        window = columns.window[row]
        cost = columns.cost[row * columns.cost_step, arm[row] - 1]
        exceeded = total[0] < 0 if for_total else room[window] < 0
        if exceeded and cost > 0:
            arm[row] = 0
            room[window] += cost
            total[0] += cost


@njit(nogil=True, cache=True, inline="always")
def _best_change(
    row: int, columns: Columns, chosen: int, room: float, least: float
) -> tuple[float, int]:
    """Best arm to change to: most gain per unit of added cost. Score 0 where there is none."""
    best, choice = 0.0, 0
    base_gain, base_cost = 0.0, 0.0
    if chosen > 0:
        base_gain = float(columns.gain[row, chosen - 1])
        base_cost = columns.cost[row * columns.cost_step, chosen - 1]
    for a in range(columns.gain.shape[1]):
        gain = columns.gain[row, a] - base_gain
        cost = columns.cost[row * columns.cost_step, a] - base_cost
        if gain > 0 and (cost <= 0 or (cost <= room and gain >= least * cost)):
            score = gain / cost if cost > 0 else np.inf
            if score > best:
                best, choice = score, a + 1
    return best, choice


@njit(nogil=True, cache=True)
def _fits(
    row: int, begin: int, end: int, columns: Columns, caps: Caps, arm: NDArray[np.int8]
) -> bool:
    """Whether a request at `row` keeps the session's limits (a better arm always does)."""
    if arm[row] > 0:
        return True
    in_session, on_page = 0, 0
    for other in range(begin, end):
        if arm[other] > 0:
            in_session += 1
            on_page += columns.page[other] == columns.page[row]
            if abs(columns.slot[other] - columns.slot[row]) < caps.gap:
                return False
    if caps.session > 0 and in_session >= caps.session:
        return False
    return caps.page == 0 or on_page < caps.page


@njit(nogil=True, cache=True)
def _score_changes(
    columns: Columns,
    caps: Caps,
    arm: NDArray[np.int8],
    room: FloatArray,
    total: FloatArray,
    least: FloatArray,
    score: NDArray[np.float32],
) -> None:
    """score[i]: gain per unit of added cost of the best allowed change at point i, or 0."""
    for session in range(columns.start.size - 1):
        begin, end = columns.start[session], columns.start[session + 1]
        for row in range(begin, end):
            window = columns.window[row]
            left = min(room[window], total[0])
            best, _ = _best_change(row, columns, arm[row], left, least[window])
            worthwhile = best > 0 and _fits(row, begin, end, columns, caps, arm)
            score[row] = best if worthwhile else 0.0


@njit(nogil=True, cache=True)
def _apply_changes(
    rows: NDArray[np.int64],
    sessions: NDArray[np.int64],
    columns: Columns,
    caps: Caps,
    arm: NDArray[np.int8],
    room: FloatArray,
    total: FloatArray,
    least: FloatArray,
) -> None:
    """Make the changes in the given order as far as room and limits still allow."""
    for k in range(rows.size):
        row, session = rows[k], sessions[k]
        window = columns.window[row]
        left = min(room[window], total[0])
        best, choice = _best_change(row, columns, arm[row], left, least[window])
        begin, end = columns.start[session], columns.start[session + 1]
        if best > 0 and _fits(row, begin, end, columns, caps, arm):
            before = 0.0
            if arm[row] > 0:
                before = columns.cost[row * columns.cost_step, arm[row] - 1]
            added = columns.cost[row * columns.cost_step, choice - 1] - before
            room[window] -= added
            total[0] -= added
            arm[row] = choice
