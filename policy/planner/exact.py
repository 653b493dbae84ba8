"""The integer programme itself, for small problems and as the judge of the decomposition.

Variables are x[i, a], row by row. Rows, all <=, and >= where something must be spent:

    budget     each row of `rows`, divided by its largest cost: windows, total, services
    one arm    sum_a x[i, a] <= 1
    session    sum over a session <= per_session
    page       sum over a page of a session <= per_page
    gap        for each point i: sum over the points of its session with slot in
               [slot[i], slot[i] + min_gap) <= 1; any two requests too near share such a row

HiGHS solves it through MathOpt. The prices are the duals of the budget's rows of the linear
relaxation (GLOP): an integer programme has no duals of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from policy.capacity import ROUND_OFF, Capacity
from policy.planner.linear import LinearAnswer, Programme, solve_integer, solve_linear
from policy.planner.result import Prices, Solution, earned, relative_gap
from policy.planner.rounding import repair
from policy.planner.rows import Rows
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["find_any", "solve_exact"]

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
    rows = Rows.of(capacity, demand)
    if not time_limit > 0:
        raise InputError(f"time_limit is {time_limit}, expected more than 0 seconds; 60 is usual.")
    unit = _unit(demand)
    programme, scale = _programme(demand, rows, limits, unit)
    answer = solve_integer(programme, time_limit)
    if answer.values is None and rows.lower.any():
        raise InputError(_nothing_found(answer.proved))
    relaxed = solve_linear(programme)
    price = _prices(relaxed, rows, unit / scale)
    # The solver may exceed a row by its tolerance; the repair does not.
    arm = repair(demand, rows, limits, _arms(demand, answer.values), price)
    if arm is None:
        raise InputError(_nothing_found(answer.proved))
    gain, spend = earned(demand, arm)
    upper = max(gain, min(answer.bound, relaxed.bound) * unit)
    reason = _reason(answer.proved, relative_gap(upper, gain))
    prices = Prices.of(price, rows.n_windows)
    paid = rows.arm_price(price)
    return Solution(arm, gain, spend.sum(axis=1), prices, paid, upper, answer.nodes, reason)


def find_any(demand: Demand, rows: Rows, limits: Limits) -> NDArray[np.int8] | None:
    """Return an assignment that violates nothing, or None where there is none."""
    programme, _ = _programme(demand, rows, limits, _unit(demand))
    answer = solve_integer(programme, time_limit=60.0)
    if answer.values is None:
        return None
    return repair(demand, rows, limits, _arms(demand, answer.values), np.zeros(rows.count))


def _unit(demand: Demand) -> float:
    return float(np.abs(_known(demand)).max()) or 1.0


def _known(demand: Demand) -> FloatArray:
    """Gains, 0 where the arm is forbidden."""
    known: FloatArray = np.where(np.isfinite(demand.gain), demand.gain, 0.0).astype(np.float64)
    return known


def _nothing_found(proved: bool) -> str:
    why = "there is none" if proved else "none was found in the time"
    return (
        f"No plan gives every window what it must get within the budget and the sessions' limits "
        f"({why}); lower least or raise the budget."
    )


def _reason(proved: bool, gap: float) -> str:
    if not proved:
        return TIME_LIMIT
    return PROVED if gap <= ROUND_OFF else TOLERANCE


def _programme(
    demand: Demand, budget: Rows, limits: Limits, unit: float
) -> tuple[Programme, FloatArray]:
    """Return the programme, gains in `unit`, and the scale of the budget's rows."""
    n, arms = demand.gain.shape
    spending, scale = _budget_rows(demand, budget)
    groups = [_session_rows(demand, limits), _page_rows(demand, limits), _gap_rows(demand, limits)]
    matrices, most = [spending], [budget.upper / scale]
    for (row, point, count), cap in [*groups, (_arm_rows(demand), 1)]:
        matrices.append(_per_point(row, point, (count, n), arms))
        most.append(np.full(count, float(cap)))
    matrix, upper = sparse.vstack(matrices, format="csr"), np.concatenate(most)
    lowest = np.full(upper.size, -np.inf)
    must = np.flatnonzero(budget.lower > 0)
    lowest[must] = budget.lower[must] / scale[must]
    objective = _known(demand).ravel() / unit
    allowed = np.isfinite(demand.gain).ravel().astype(np.float64)
    zero = np.zeros(objective.size)
    return Programme(objective, zero, allowed, matrix, lowest, upper, maximize=True), scale


def _budget_rows(demand: Demand, budget: Rows) -> tuple[Any, FloatArray]:
    """Rows of the budget over the variables, each divided by its largest cost."""
    place = demand.window.astype(np.int64)[:, None] * budget.lanes + budget.lane
    rows = budget.member.T.tocsr()[place.ravel()].multiply(demand.cost.reshape(-1, 1)).T.tocsr()
    largest = rows.max(axis=1).toarray().ravel() if rows.nnz else np.zeros(budget.count)
    scale = np.where(largest > 0, largest, 1.0)
    return sparse.diags_array(1 / scale) @ rows, scale


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


def _prices(relaxed: LinearAnswer, rows: Rows, unit: FloatArray) -> FloatArray:
    """Duals of the budget's rows, gain per request; below 0 only where something must be spent."""
    duals = relaxed.duals[: rows.count] * unit
    duals = np.where(rows.limited | (rows.lower > 0), duals, 0.0)
    return np.where(rows.lower > 0, duals, np.maximum(duals, 0.0))
