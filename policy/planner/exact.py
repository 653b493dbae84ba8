"""The integer programme itself, for small problems and as the judge of the decomposition.

Variables are x[i, a], row by row. Rows of the programme, all <=:

    capacity   sum over window w of cost x <= capacity[w], divided by the row's largest cost
    total      sum of cost x <= total, likewise
    one arm    sum_a x[i, a] <= 1
    session    sum over a session <= per_session
    page       sum over a page of a session <= per_page
    gap        for each point i: sum over the points of its session with slot in
               [slot[i], slot[i] + min_gap) <= 1; any two requests too near share such a row

HiGHS solves it through MathOpt. The prices are the duals of the capacity and total rows of the
linear relaxation (GLOP): an integer programme has no duals of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from policy.planner.linear import LinearAnswer, Programme, solve_integer, solve_linear
from policy.planner.result import Prices, Solution, earned, relative_gap
from policy.planner.rounding import repair
from policy.problem import ROUND_OFF, Capacity, Demand, Limits, check_match
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["solve_exact"]

PROVED = "proved optimal"
TIME_LIMIT = "time limit"
TOLERANCE = "optimal within the solver's tolerance"

Groups = tuple[NDArray[np.int64], NDArray[np.int64], int]
"""Row and point of each entry of a 0/1 matrix, and its number of rows."""

NO_ROWS: Groups = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), 0)


def solve_exact(
    demand: Demand, capacity: Capacity, limits: Limits, *, time_limit: float = 60.0
) -> Solution:
    """Solve the integer programme; practical up to some 20,000 points.

    Parameters
    ----------
    demand, capacity, limits
        The problem.
    time_limit : float
        Seconds for the integer solver, > 0.

    Returns
    -------
    Solution
        `reason` is "proved optimal", or "time limit" with the best assignment found until then and
        the solver's own bound. `iterations` counts nodes of the search tree.

    Raises
    ------
    InputError
        Capacity for other windows than the demand's, or a time limit that is not above 0.
    RuntimeError
        A solver stops without an answer though the problem has one (no request at all is one).
    """
    check_match(demand, capacity)
    if not time_limit > 0:
        raise InputError(f"time_limit is {time_limit}, expected more than 0 seconds; 60 is usual.")
    unit = float(np.abs(demand.gain).max()) or 1.0
    programme, scale = _programme(demand, capacity, limits, unit)
    relaxed = solve_linear(programme)
    answer = solve_integer(programme, time_limit)
    prices = _prices(relaxed, capacity, unit / scale)
    # The solver may exceed a row by its tolerance; the repair does not.
    arm = repair(demand, capacity, limits, _arms(demand, answer.values), prices)
    gain, spend = earned(demand, arm)
    upper = max(gain, min(answer.bound, relaxed.bound) * unit)
    reason = _reason(answer.proved, relative_gap(upper, gain))
    return Solution(arm, gain, spend, prices.window, prices.total, upper, answer.nodes, reason)


def _reason(proved: bool, gap: float) -> str:
    if not proved:
        return TIME_LIMIT
    return PROVED if gap <= ROUND_OFF else TOLERANCE


def _programme(
    demand: Demand, capacity: Capacity, limits: Limits, unit: float
) -> tuple[Programme, FloatArray]:
    """Return the programme, gains in `unit`, and the scale of its first rows: windows, total."""
    n, arms = demand.gain.shape
    spending, room, scale = _capacity_rows(demand, capacity)
    groups = [_session_rows(demand, limits), _page_rows(demand, limits), _gap_rows(demand, limits)]
    matrices, most = [spending], [room]
    for (row, point, count), cap in [*groups, (_arm_rows(demand), 1)]:
        matrices.append(_per_point(row, point, (count, n), arms))
        most.append(np.full(count, float(cap)))
    matrix, upper = sparse.vstack(matrices, format="csr"), np.concatenate(most)
    objective = demand.gain.ravel().astype(np.float64) / unit
    zero, one = np.zeros(objective.size), np.ones(objective.size)
    lowest = np.full(upper.size, -np.inf)
    return Programme(objective, zero, one, matrix, lowest, upper, maximize=True), scale


def _capacity_rows(demand: Demand, capacity: Capacity) -> tuple[Any, FloatArray, FloatArray]:
    """Rows of the windows and of the total, each divided by its largest cost."""
    n, arms = demand.gain.shape
    cost = demand.cost.ravel()
    column = np.arange(n * arms)
    window = np.repeat(demand.window, arms).astype(np.int64)
    # Without a total its row has no upper bound.
    row = np.concatenate((window, np.full(n * arms, demand.n_windows)))
    largest = np.zeros(demand.n_windows + 1)
    np.maximum.at(largest, row, np.tile(cost, 2))
    scale = np.where(largest > 0, largest, 1.0)
    entries = (np.tile(cost, 2) / scale[row], (row, np.tile(column, 2)))
    matrix = sparse.csr_array(entries, shape=(demand.n_windows + 1, n * arms))
    total = np.inf if capacity.total is None else capacity.total
    return matrix, np.append(capacity.window, total) / scale, scale


def _per_point(
    row: NDArray[np.int64], point: NDArray[np.int64], shape: tuple[int, int], arms: int
) -> Any:
    """0/1 matrix (rows, points), each point's column repeated for its arms."""
    matrix = sparse.csr_array((np.ones(row.size), (row, point)), shape=shape)
    return sparse.kron(matrix, np.ones((1, arms)), format="csr")


def _arm_rows(demand: Demand) -> Groups:
    points = np.arange(demand.n_points)
    return points, points, demand.n_points


def _session_of(demand: Demand) -> NDArray[np.int64]:
    return np.repeat(np.arange(demand.n_sessions), np.diff(demand.session_start))


def _session_rows(demand: Demand, limits: Limits) -> tuple[Groups, int]:
    if limits.per_session is None:
        return NO_ROWS, 0
    return (_session_of(demand), np.arange(demand.n_points), demand.n_sessions), limits.per_session


def _page_rows(demand: Demand, limits: Limits) -> tuple[Groups, int]:
    if limits.per_page is None:
        return NO_ROWS, 0
    keys = np.column_stack((_session_of(demand), demand.page))
    pages = np.r_[0, np.cumsum((np.diff(keys, axis=0) != 0).any(axis=1))]
    return (pages, np.arange(demand.n_points), int(pages[-1]) + 1), limits.per_page


def _gap_rows(demand: Demand, limits: Limits) -> tuple[Groups, int]:
    """One row for each largest set of points whose slots lie within `min_gap`."""
    begin = np.arange(demand.n_points)
    end = _reach(demand, limits.min_gap)
    # A set that ends where the one before it ends lies inside that one.
    largest = (end - begin > 1) & (np.r_[0, end[:-1]] < end)
    begin, size = begin[largest], (end - begin)[largest]
    row = np.repeat(np.arange(size.size), size)
    inside = np.arange(row.size) - np.repeat(np.cumsum(size) - size, size)
    return (row, begin[row] + inside, int(size.size)), 1


def _reach(demand: Demand, min_gap: int) -> NDArray[np.int64]:
    """First row after each point, within its session, whose slot keeps the minimum gap."""
    starts = demand.session_start
    reach = [
        first + np.searchsorted(slots, slots + min_gap)
        for first, slots in zip(starts[:-1], np.split(demand.slot, starts[1:-1]), strict=True)
    ]
    return np.concatenate(reach)


def _arms(demand: Demand, values: FloatArray | None) -> NDArray[np.int8]:
    """Chosen arm of each point; no request anywhere when the solver found nothing."""
    if values is None:
        return np.zeros(demand.n_points, dtype=np.int8)
    chosen = np.rint(values).reshape(demand.gain.shape).astype(np.int8)
    return np.where(chosen.any(axis=1), chosen.argmax(axis=1) + 1, 0).astype(np.int8)


def _prices(relaxed: LinearAnswer, capacity: Capacity, unit: FloatArray) -> Prices:
    """Duals of the relaxation's first rows in gain per request; never below 0."""
    duals = relaxed.duals[: unit.size] * unit
    duals = np.where(np.isfinite(np.append(capacity.window, capacity.total or np.inf)), duals, 0.0)
    duals = np.maximum(duals, 0.0)
    return Prices(duals[:-1], float(duals[-1]))
