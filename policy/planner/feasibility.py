"""Whether every window can get what it must, and a plan that shows it.

With all gains 0, at a price of -1 in the windows that must get something and of 1 elsewhere, a
session's best plan is one that spends most in these windows.
"""

import numpy as np
from numpy.typing import NDArray

from policy.planner.exact import find_any
from policy.planner.oracle import Pass, SessionOracle
from policy.planner.rounding import repair
from policy.planner.rows import Rows
from policy.problem import Demand, Limits
from uplift.arrays import BoolArray
from uplift.errors import InputError

__all__ = ["check_least", "largest_subsidy", "plan_for_least"]

#: Up to so many points and arms a search for any plan at all is worth an integer programme.
MOST_EXACT = 20_000


def check_least(demand: Demand, rows: Rows, limits: Limits) -> None:
    """Refuse what a window must get where it can be shown that it cannot.

    Raises
    ------
    InputError
        Names the window, what it must get and what it can get.
    """
    least = rows.lower[: rows.n_windows]
    together = _spend_most(demand, rows, limits, least > 0).spend().sum(axis=1)
    for window in np.flatnonzero(together < least):
        alone = np.arange(rows.n_windows) == window
        reached = _spend_most(demand, rows, limits, alone).spend().sum(axis=1)[window]
        if reached < least[window]:
            raise InputError(
                f"Window {window} must get {least[window]:g} requests, but its sessions can make "
                f"at most {reached:g} within their limits; lower least."
            )


def plan_for_least(demand: Demand, rows: Rows, limits: Limits) -> NDArray[np.int8]:
    """Return an assignment that violates nothing, for want of a better one.

    Raises
    ------
    InputError
        None was found; on a small problem there is none.
    """
    must = rows.lower[: rows.n_windows] > 0
    planned = _spend_most(demand, rows, limits, must).arm
    assert planned is not None  # it was asked for
    arm = repair(demand, rows, limits, planned, np.zeros(rows.count))
    if arm is None and demand.n_points * demand.n_arms <= MOST_EXACT:
        arm = find_any(demand, rows, limits)
    if arm is None:
        raise InputError(
            f"No plan was found that gives windows {np.flatnonzero(must)[:10].tolist()} what they "
            "must get within the budget and the sessions' limits; lower least or raise the budget."
        )
    return arm


def largest_subsidy(demand: Demand) -> float:
    """Return a subsidy per unit of cost that outweighs all other gains of a session."""
    known = np.where(np.isfinite(demand.gain), demand.gain, 0.0)
    largest = float(np.abs(known).max())
    cost = demand.cost[demand.cost > 0]
    longest = int(np.diff(demand.session_start).max())
    return 2.0 * longest * (largest or 1.0) / (float(cost.min()) if cost.size else 1.0)


def _spend_most(demand: Demand, rows: Rows, limits: Limits, windows: BoolArray) -> Pass:
    """Return what sessions do that spend all they can in some windows."""
    nothing = np.where(np.isfinite(demand.gain), np.float32(0.0), -np.float32(np.inf))
    others = (demand.window, demand.n_windows, demand.session_start, demand.page, demand.slot)
    oracle = SessionOracle(Demand(nothing, demand.cost, *others), limits, rows)
    price = np.where(windows, -1.0, 1.0)
    return oracle.best_plans(np.repeat(price[:, None], rows.lanes, axis=1), assign=True)
