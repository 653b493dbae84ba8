"""What every total budget is worth, at once: the steps of points' hulls, the steepest first.

    gain(T) = max sum gain x   s.t.  windows;  sum cost x <= T;  at most one arm a point

of the linear relaxation, without session limits: concave, from nothing to everything worth a
request.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policy.capacity import ROUND_OFF, Capacity
from policy.planner.hull import NO_LIMITS, check_applies
from policy.planner.rows import Rows
from policy.planner.steps import Steps
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray
from uplift.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BudgetCurve", "budget_curve"]

MOST_BREAKPOINTS = 1000


@dataclass(frozen=True, eq=False)
class BudgetCurve:
    """What a total budget is worth: gain(requests), concave, a straight line between breakpoints.

    Parameters
    ----------
    requests : (K,) float64
        Rises from 0 to everything worth a request that the windows can serve.
    gain : (K,) float64
        Outcomes gained; at 0 requests that of the arms that cost nothing.
    price : (K,) float64
        Gain per request from this breakpoint to the next; 0 at the last.
    """

    requests: FloatArray
    gain: FloatArray
    price: FloatArray

    def at(self, requests: ArrayLike) -> FloatArray:
        """Return the gain of total budgets, in outcomes; beyond the end no more than there."""
        gain: FloatArray = np.interp(_budgets(requests), self.requests, self.gain)
        return gain

    def marginal(self, requests: ArrayLike) -> FloatArray:
        """Return the gain of one more request on top of total budgets, in outcomes per request."""
        segment = np.searchsorted(self.requests, _budgets(requests), side="right") - 1
        price: FloatArray = self.price[segment]
        return price

    def to_frame(self) -> "pd.DataFrame":
        """Return one row a breakpoint: requests, gain, price."""
        import pandas as pd

        columns = {"requests": self.requests, "gain": self.gain, "price": self.price}
        return pd.DataFrame(columns)


def budget_curve(demand: Demand, capacity: Capacity, limits: Limits = NO_LIMITS) -> BudgetCurve:
    """Return what every total budget is worth at once, within the windows' capacities.

    Parameters
    ----------
    demand, capacity, limits
        The problem as `solve_hull` takes it; the capacity's own total is left aside.

    Returns
    -------
    BudgetCurve
        All breakpoints, or where there are more, 1,000 of them: in between the curve is then a
        little below the optimum.

    Raises
    ------
    InputError
        As `solve_hull`.
    """
    check_applies(demand, capacity, limits)
    rows = Rows.of(capacity.with_total(None), demand)
    steps = Steps.within(demand, rows)
    # Without the tolerance: a step that it would add has next to no requests and spoils a slope.
    taken, _ = steps.take(rows, tolerance=0.0)
    used = np.flatnonzero(taken > ROUND_OFF * steps.cost)
    slope, taken = steps.slope[used], taken[used]
    requests = np.append(0.0, np.cumsum(taken))
    gain = steps.free + np.append(0.0, np.cumsum(slope * taken))
    kept = _breakpoints(slope, requests, gain)
    requests, gain = requests[kept], gain[kept]
    # Slopes of what lies between two breakpoints; differences of sums alone may rise by rounding.
    between = np.diff(gain) / np.diff(requests)
    price = np.clip(between, slope[kept[1:] - 1], slope[kept[:-1]])
    return BudgetCurve(requests, gain, np.append(price, 0.0))


def _budgets(requests: ArrayLike) -> FloatArray:
    budgets = np.asarray(requests, dtype=np.float64)
    if not (budgets >= 0).all():
        raise InputError("A budget is below 0 or missing, expected 0 or more requests.")
    return budgets


def _breakpoints(slope: FloatArray, requests: FloatArray, gain: FloatArray) -> NDArray[np.int64]:
    """Return where the slope changes and both ends; of many places those that tell most.

    They are then spread evenly along requests, gain, and the logarithm of requests together.
    """
    kept = np.concatenate(([0], np.flatnonzero(np.diff(slope) < 0) + 1, [slope.size]))
    if kept.size <= MOST_BREAKPOINTS:
        return np.unique(kept)
    requests, gain = requests[kept], gain[kept] - gain[0]
    octaves = np.log1p(requests / requests[1])
    along = sum(measure / measure[-1] for measure in (requests, gain, octaves))
    places = np.searchsorted(along, np.linspace(0.0, along[-1], MOST_BREAKPOINTS))
    return kept[np.unique(places)]
