"""Plans without session limits: steps along points' upper hulls, the steepest first.

    max  sum gain x   s.t.  windows and a total;  at most one arm a point

Every point is on its own here, so the linear relaxation is solved by sorting (see `steps`). For its
prices y, and p = y[window] + y[total],

    sum_r upper[r] y[r] + sum_i max(0, max_a gain[i, a] - p cost[i, a])

is the bound, and points that take all steps steeper than p violate nothing; what the steps cut
short leave over is spent by `rounding`.
"""

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.capacity import Capacity
from policy.planner.columns import Columns
from policy.planner.decomposition import NOT_BINDING, PRICES_OPTIMAL, REACHED
from policy.planner.result import Prices, Solution, earned, relative_gap
from policy.planner.rounding import repair
from policy.planner.rows import Rows
from policy.planner.steps import Steps, last_steeper
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["NO_LIMITS", "applies", "check_applies", "solve_hull"]

NO_LIMITS = Limits()

SHARES = (0.9, 0.0)
"""Shares of the price down to which points are mended: nearly always the first is enough."""

NOTHING_LEFT = 1e300
"""A price above all; finite, so that an arm that costs nothing pays 0 and not NaN."""


def applies(demand: Demand, capacity: Capacity, limits: Limits = NO_LIMITS) -> bool:
    """Tell whether points are on their own, within windows and a total alone."""
    alone = limits == NO_LIMITS or demand.n_sessions == demand.n_points
    return alone and capacity.is_laminar


def solve_hull(
    demand: Demand,
    capacity: Capacity,
    limits: Limits = NO_LIMITS,
    *,
    gap: float = 1e-4,
    progress: Callable[[int, float, float], None] | None = None,
) -> Solution:
    """Plan points that are on their own, in one pass, at the prices of the linear relaxation.

    Parameters
    ----------
    demand, capacity, limits
        The problem: windows and a total alone; limits only where each session is one point.
    gap : float
        Relative gap from which on the assignment is not mended further. The prices are optimal
        in any case.
    progress : callable, optional
        Called once, with 1, the upper and the lower bound.

    Returns
    -------
    Solution
        `upper_bound` is the optimum of the linear relaxation, as the dual value of the prices.
        Nothing with a price of 0 is left out; ties at a price are broken by the rows' room.

    Raises
    ------
    InputError
        Limits of sessions, services or a least: those need `decomposition`. A gap below 0, or
        capacity for other windows than the demand's.
    """
    check_applies(demand, capacity, limits)
    if not gap >= 0:
        raise InputError(f"gap is {gap}, expected 0 or more; 1e-4 is usual.")
    rows = Rows.of(capacity, demand)
    _, price = Steps.within(demand, rows).take(rows)
    arm = np.zeros(demand.n_points, dtype=np.int8)
    surplus = _answer(Columns.of(demand, rows.lane), rows.combined(price)[:, 0], arm)
    upper = rows.value(price) + surplus
    if price.any():
        arm = _mended(demand, rows, arm, price, upper * (1 - gap))
    gain, spend = earned(demand, arm)
    # Where no row binds every point has its best arm.
    upper = max(upper, gain) if price.any() else gain
    reason = REACHED if relative_gap(upper, gain) <= gap else PRICES_OPTIMAL
    reason = reason if price.any() else NOT_BINDING
    if progress is not None:
        progress(1, upper, gain)
    prices, paid = Prices.of(price, rows.n_windows), rows.arm_price(price)
    return Solution(arm, gain, spend.sum(axis=1), prices, paid, upper, 1, reason)


def check_applies(demand: Demand, capacity: Capacity, limits: Limits) -> None:
    """Refuse what `applies` does not hold for, with the reason."""
    if not capacity.is_laminar:
        raise InputError(
            "The capacity has services or a least, expected windows and a total alone; "
            "use solve_decomposition."
        )
    if not applies(demand, capacity, limits):
        raise InputError(
            f"The sessions have {limits}, expected no limits; use solve_decomposition."
        )


def _mended(
    demand: Demand, rows: Rows, arm: NDArray[np.int8], price: FloatArray, enough: float
) -> NDArray[np.int8]:
    """Spend what is left over; look further down for it while the gain is not enough."""
    best, most = np.zeros_like(arm), 0.0
    for share in SHARES:
        filled = _filled(demand, rows, arm, price, share)
        gain, _ = earned(demand, filled)
        best, most = (filled, gain) if gain > most else (best, most)
        if most >= enough:
            break
    return best


def _filled(
    demand: Demand, rows: Rows, arm: NDArray[np.int8], price: FloatArray, share: float
) -> NDArray[np.int8]:
    """Repair the points worth a share of the price, where there is a price.

    Where there is none, all that gains anything is taken already, and the total is not short: it
    bears these windows beside the others at their capacity.
    """
    paid = rows.combined(price)[:, 0]
    columns, near = Columns.of(demand, rows.lane), np.zeros(demand.n_points, dtype=np.bool_)
    _mark(columns, np.where(paid > 0, share * paid, NOTHING_LEFT), near)
    point, filled = np.flatnonzero(near), arm.copy()
    if len(point):
        repaired = repair(demand.take(point), rows, NO_LIMITS, arm[point], price)
        filled[point] = arm[point] if repaired is None else repaired
    return filled


@njit(nogil=True, cache=True)
def _answer(columns: Columns, paid: FloatArray, arm: NDArray[np.int8]) -> float:
    """Take all steps steeper than what their window pays; return what points gain above it."""
    surplus = 0.0
    for point in range(arm.size):
        price, best = paid[columns.window[point]], 0.0
        for a in range(columns.gain.shape[1]):
            cost = columns.cost[point * columns.cost_step, a]
            best = max(best, columns.gain[point, a] - price * cost)
        surplus += best
        if best > 0:
            arm[point] = last_steeper(point, price, columns)
    return surplus


@njit(nogil=True, cache=True)
def _mark(columns: Columns, paid: FloatArray, near: NDArray[np.bool_]) -> None:
    """Mark the points with an arm that gains more than what its window pays."""
    for point in range(near.size):
        price = paid[columns.window[point]]
        for a in range(columns.gain.shape[1]):
            cost = columns.cost[point * columns.cost_step, a]
            near[point] |= columns.gain[point, a] > price * cost
