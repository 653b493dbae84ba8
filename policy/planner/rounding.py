"""Repair: from an assignment that respects the sessions to one that also respects the budget.

Three steps, none of which can break a session limit:

1. lift: where a window must get more, add the changes that lose least per unit of cost;
2. drop: where a row is exceeded, give up the requests with the least gain per unit of cost net of
   prices: first for the rows of one window, then for totals; never what a window must get;
3. fill: spend the room that is left on the changes with the most gain per unit of cost that the
   session limits allow: a new request, or a better arm for one that is already there.

At prices p, an assignment from the oracle loses against the bound exactly

    sum_r p[r] room[r] + sum of (gain - p cost) over what was dropped
                       + sum of (p cost - gain) over what was filled,

which is small when the prices are nearly right; so the repair need not search.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.capacity import ROUND_OFF
from policy.planner.columns import Caps, Columns
from policy.planner.result import earned
from policy.planner.rows import Rows
from policy.problem import Demand, Limits
from uplift.arrays import BoolArray, FloatArray

__all__ = ["repair"]

BANDS = (0.9, 0.0)
"""Shares of the price down to which changes are looked for: nearly always the first is enough."""

DROP_BANDS = (0.1, np.inf)
"""The same for requests to give up: up to such a share above the price."""


class Room(NamedTuple):
    """What the rows have left; kernels subtract what they spend in place.

    `left`, (R,): until the upper bound. `spare`, (R,): above the lower bound, infinite where there
    is none. Rows of place k are rows[first[k]:first[k + 1]]; `narrow`: rows of one window.
    """

    left: FloatArray
    spare: FloatArray
    narrow: BoolArray
    first: NDArray[np.int32]
    rows: NDArray[np.int32]
    lanes: int


def repair(
    demand: Demand, rows: Rows, limits: Limits, arm: NDArray[np.int8], price: FloatArray
) -> NDArray[np.int8] | None:
    """Return an assignment (n,) that violates no row; None where these steps find none.

    None is possible only where a window must get something.

    Parameters
    ----------
    demand, rows, limits
        The problem.
    arm : (n,) int8
        An assignment that respects the session limits; it is not changed.
    price : (R,) float64
        Prices at which `arm` was planned; they guide the search and never the feasibility.
    """
    arm = arm.copy()
    columns, caps = Columns.of(demand, rows.lane), Caps.of(limits)
    room, paid = _room(demand, rows, arm), rows.combined(price)
    if (room.spare < 0).any():
        _lift(demand, columns, caps, room, arm)
    for counted in (room.narrow, np.ones_like(room.narrow)):
        for band in DROP_BANDS:
            if (room.left[counted] < 0).any():
                _drop(columns, room, arm, paid, counted, band)
    for band in BANDS:
        _fill(demand, columns, caps, room, arm, band * paid)
        if not _any_left(rows, room):
            break
    return None if (room.left < 0).any() or (room.spare < 0).any() else arm


def _room(demand: Demand, rows: Rows, arm: NDArray[np.int8]) -> Room:
    _, spend = earned(demand, arm)
    total = rows.spend(spend)
    left = rows.upper * (1 + ROUND_OFF) - total
    spare = np.where(rows.lower > 0, total - rows.lower * (1 - ROUND_OFF), np.inf)
    return Room(left, spare, rows.narrow, *rows.of_place, rows.lanes)


def _any_left(rows: Rows, room: Room) -> bool:
    """Whether every row over some place has more room than rounding of sums explains."""
    used_up = rows.limited & (room.left <= 2 * ROUND_OFF * np.where(rows.limited, rows.upper, 0))
    blocked = rows.member.T @ used_up.astype(np.float64) > 0
    return bool(not blocked.all() and (rows.limited & ~used_up).any())


def _lift(demand: Demand, columns: Columns, caps: Caps, room: Room, arm: NDArray[np.int8]) -> None:
    """Add changes in windows that must get more, those that lose least first."""
    score = np.full(demand.n_points, -np.inf)
    choice = np.zeros(demand.n_points, dtype=np.int8)
    _score_lifts(columns, room, arm, score, choice)
    points = np.flatnonzero(score > -np.inf)
    points = points[np.argsort(-score[points], kind="stable")]
    _apply_lifts(points, _sessions_of(demand, points), columns, caps, room, arm, choice)


def _drop(
    columns: Columns,
    room: Room,
    arm: NDArray[np.int8],
    paid: FloatArray,
    counted: BoolArray,
    band: float,
) -> None:
    """Give up requests in the rows counted, the least net gain per unit of cost first."""
    exceeded = (counted & (room.left < 0)).astype(np.int8)
    over = np.add.reduceat(exceeded[room.rows], room.first[:-1]).reshape(paid.shape) > 0
    worth = np.empty(arm.size, dtype=np.float32)
    _score_requests(columns, over, arm, paid, band, worth)
    points = np.flatnonzero(worth < np.inf)
    points = points[np.argsort(worth[points], kind="stable")]
    _give_up(points, columns, room, arm, counted)


def _fill(
    demand: Demand,
    columns: Columns,
    caps: Caps,
    room: Room,
    arm: NDArray[np.int8],
    least: FloatArray,
) -> None:
    """Spend the room on changes that gain at least `least` (W, L) per unit of cost, best first."""
    score = np.empty(demand.n_points, dtype=np.float32)
    _score_changes(columns, caps, _available(room, least.shape), arm, least, score)
    points = np.flatnonzero(score > 0)
    points = points[np.argsort(-score[points], kind="stable")]
    _apply_changes(points, _sessions_of(demand, points), columns, caps, room, arm, least)


def _available(room: Room, shape: tuple[int, ...]) -> FloatArray:
    """Return the least room of the rows over each window and lane, (W, L)."""
    available: FloatArray = np.minimum.reduceat(room.left[room.rows], room.first[:-1])
    return available.reshape(shape)


def _sessions_of(demand: Demand, points: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(demand.session_start, points, side="right") - 1


@njit(nogil=True, cache=True)
def _place(point: int, choice: int, columns: Columns, room: Room) -> int:
    """Place (window and lane) that an arm of a point spends in."""
    return int(columns.window[point] * room.lanes + columns.lane[choice - 1])


@njit(nogil=True, cache=True)
def _cost(point: int, choice: int, columns: Columns) -> float:
    return columns.cost[point * columns.cost_step, choice - 1] if choice > 0 else 0.0


@njit(nogil=True, cache=True)
def _has(row: int, point: int, choice: int, columns: Columns, room: Room) -> bool:
    """Whether a row adds up what a choice of a point spends."""
    if choice > 0:
        place = _place(point, choice, columns, room)
        for k in range(room.first[place], room.first[place + 1]):
            if room.rows[k] == row:
                return True
    return False


@njit(nogil=True, cache=True)
def _is_possible(
    point: int, before: int, after: int, columns: Columns, room: Room, narrow_only: bool
) -> bool:
    """Whether the rows have room for a change of a point's arm and keep what they must get."""
    spent, freed = _cost(point, after, columns), _cost(point, before, columns)
    if after > 0:
        place = _place(point, after, columns, room)
        for k in range(room.first[place], room.first[place + 1]):
            row = room.rows[k]
            added = spent - (freed if _has(row, point, before, columns, room) else 0.0)
            if added > 0 and added > room.left[row] and (room.narrow[row] or not narrow_only):
                return False
            if added < 0 and -added > room.spare[row]:
                return False
    if before > 0:
        place = _place(point, before, columns, room)
        for k in range(room.first[place], room.first[place + 1]):
            row = room.rows[k]
            if freed > room.spare[row] and not _has(row, point, after, columns, room):
                return False
    return True


@njit(nogil=True, cache=True)
def _book(point: int, choice: int, sign: float, columns: Columns, room: Room) -> None:
    """Take what a choice of a point spends from the rows' room, or give it back."""
    if choice > 0:
        place, spent = _place(point, choice, columns, room), sign * _cost(point, choice, columns)
        for k in range(room.first[place], room.first[place + 1]):
            room.left[room.rows[k]] -= spent
            room.spare[room.rows[k]] += spent


@njit(nogil=True, cache=True)
def _change(point: int, after: int, columns: Columns, room: Room, arm: NDArray[np.int8]) -> None:
    """Give a point another arm and book what that spends and frees."""
    _book(point, arm[point], -1.0, columns, room)
    _book(point, after, 1.0, columns, room)
    arm[point] = after


@njit(nogil=True, cache=True)
def _score_requests(
    columns: Columns,
    over: BoolArray,
    arm: NDArray[np.int8],
    paid: FloatArray,
    band: float,
    worth: NDArray[np.float32],
) -> None:
    """worth[i]: net gain per unit of cost, up to a band above the price, where a row is over."""
    for point in range(arm.size):
        worth[point] = np.inf
        if arm[point] > 0:
            window, lane = columns.window[point], columns.lane[arm[point] - 1]
            cost, price = _cost(point, arm[point], columns), paid[window, lane]
            if over[window, lane] and cost > 0:
                net = columns.gain[point, arm[point] - 1] / cost - price
                if not net > band * abs(price):
                    worth[point] = net


@njit(nogil=True, cache=True)
def _give_up(
    points: NDArray[np.int64],
    columns: Columns,
    room: Room,
    arm: NDArray[np.int8],
    counted: BoolArray,
) -> None:
    """Drop requests in the given order where one of the rows counted is exceeded."""
    left, spare, first, rows = room.left, room.spare, room.first, room.rows
    window, lane, costs, step = columns.window, columns.lane, columns.cost, columns.cost_step
    for point in points:
        place = window[point] * room.lanes + lane[arm[point] - 1]
        cost = costs[point * step, arm[point] - 1]
        exceeded, needed = False, cost <= 0
        for k in range(first[place], first[place + 1]):
            exceeded = exceeded or (counted[rows[k]] and left[rows[k]] < 0)
            needed = needed or cost > spare[rows[k]]
        if exceeded and not needed:
            arm[point] = 0
            for k in range(first[place], first[place + 1]):
                left[rows[k]] += cost
                spare[rows[k]] -= cost


@njit(nogil=True, cache=True)
def _best_change(
    point: int,
    columns: Columns,
    room: Room,
    before: int,
    least: FloatArray,
) -> tuple[float, int]:
    """Best arm to change to: most gain per unit of added cost. Score 0 where there is none."""
    best, choice = 0.0, 0
    gained, freed, worth = 0.0, 0.0, 0.0
    window = columns.window[point]
    if before > 0:
        gained, freed = float(columns.gain[point, before - 1]), _cost(point, before, columns)
        worth = least[window, columns.lane[before - 1]] * freed
    for after in range(1, columns.gain.shape[1] + 1):
        gain = columns.gain[point, after - 1] - gained
        spent = _cost(point, after, columns)
        if gain > 0 and after != before:
            enough = gain >= least[window, columns.lane[after - 1]] * spent - worth
            score = gain / (spent - freed) if spent > freed else np.inf
            better = (enough or spent <= freed) and score > best
            if better and _is_possible(point, before, after, columns, room, False):
                best, choice = score, after
    return best, choice


@njit(nogil=True, cache=True)
def _fits(
    point: int, begin: int, end: int, columns: Columns, caps: Caps, arm: NDArray[np.int8]
) -> bool:
    """Whether a request at a point keeps the session's limits (a better arm always does)."""
    if arm[point] > 0:
        return True
    in_session, on_page = 0, 0
    for other in range(begin, end):
        if arm[other] > 0:
            in_session += 1
            on_page += columns.page[other] == columns.page[point]
            if abs(columns.slot[other] - columns.slot[point]) < caps.gap:
                return False
    if caps.session > 0 and in_session >= caps.session:
        return False
    return caps.page == 0 or on_page < caps.page


@njit(nogil=True, cache=True)
def _score_changes(
    columns: Columns,
    caps: Caps,
    available: FloatArray,
    arm: NDArray[np.int8],
    least: FloatArray,
    score: NDArray[np.float32],
) -> None:
    """score[i]: gain per unit of added cost of the best change at point i, or 0.

    A change may turn out to be impossible when it is made; a request for which there is no room in
    its window and lane, `available`, is left out here already.
    """
    gains, costs, step, lane = columns.gain, columns.cost, columns.cost_step, columns.lane
    start, window = columns.start, columns.window
    for session in range(start.size - 1):
        begin, end = start[session], start[session + 1]
        for point in range(begin, end):
            best, before, there = 0.0, arm[point] - 1, window[point]
            gained, freed, worth = 0.0, 0.0, 0.0
            if before >= 0:
                gained, freed = float(gains[point, before]), costs[point * step, before]
                worth = least[there, lane[before]] * freed
            for a in range(gains.shape[1]):
                gain, spent = gains[point, a] - gained, costs[point * step, a]
                if gain <= 0 or a == before:
                    continue
                if spent <= freed:
                    best = np.inf
                elif before >= 0 or spent <= available[there, lane[a]]:
                    enough = gain >= least[there, lane[a]] * spent - worth
                    best = max(best, gain / (spent - freed) if enough else 0.0)
            if best > 0 and before < 0 and not _fits(point, begin, end, columns, caps, arm):
                best = 0.0
            score[point] = best


@njit(nogil=True, cache=True)
def _apply_changes(
    points: NDArray[np.int64],
    sessions: NDArray[np.int64],
    columns: Columns,
    caps: Caps,
    room: Room,
    arm: NDArray[np.int8],
    least: FloatArray,
) -> None:
    """Make the changes in the given order as far as room and limits still allow."""
    for k in range(points.size):
        point = points[k]
        best, choice = _best_change(point, columns, room, arm[point], least)
        begin, end = columns.start[sessions[k]], columns.start[sessions[k] + 1]
        if best > 0 and _fits(point, begin, end, columns, caps, arm):
            _change(point, choice, columns, room, arm)


@njit(nogil=True, cache=True)
def _score_lifts(
    columns: Columns,
    room: Room,
    arm: NDArray[np.int8],
    score: FloatArray,
    choice: NDArray[np.int8],
) -> None:
    """score[i], choice[i]: most gain (least loss) per unit of cost added in a window too low."""
    for point in range(columns.gain.shape[0]):
        window, before = columns.window[point], arm[point]
        if room.spare[window] >= 0:
            continue
        gained = float(columns.gain[point, before - 1]) if before > 0 else 0.0
        freed = _cost(point, before, columns)
        for after in range(1, columns.gain.shape[1] + 1):
            gain, added = columns.gain[point, after - 1], _cost(point, after, columns) - freed
            if added > 0 and gain > -np.inf and (gain - gained) / added > score[point]:
                score[point], choice[point] = (gain - gained) / added, after


@njit(nogil=True, cache=True)
def _apply_lifts(
    points: NDArray[np.int64],
    sessions: NDArray[np.int64],
    columns: Columns,
    caps: Caps,
    room: Room,
    arm: NDArray[np.int8],
    choice: NDArray[np.int8],
) -> None:
    """Make the changes in the given order until every window gets what it must.

    Totals may be exceeded here: the drop that follows takes from other windows.
    """
    for k in range(points.size):
        point = points[k]
        if room.spare[columns.window[point]] < 0:
            begin, end = columns.start[sessions[k]], columns.start[sessions[k] + 1]
            possible = _is_possible(point, arm[point], choice[point], columns, room, True)
            if possible and _fits(point, begin, end, columns, caps, arm):
                _change(point, choice[point], columns, room, arm)
