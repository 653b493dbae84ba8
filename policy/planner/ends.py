"""The other ends of the same dual: least requests for a gain, and all requests worth a price.

Least requests for a gain G:

    min  sum cost x    s.t.  sum gain x >= G, and the problem's other rows

For any prices y of the other rows and any price p > 0 of a request, with D(y, p) the dual value of
`decomposition` without its total's term, every assignment that gains G spends at least

    (G - D(y, p)) / p

The prices that are best for a total T give the bound that is the next T (Dinkelbach's iteration):
it rises to the least total, since the value of a total is concave in it.

Source: Dinkelbach 1967 (fractional programming).
"""

from dataclasses import dataclass, replace

import numpy as np

from policy.capacity import Capacity
from policy.planner.result import Prices, Solution
from policy.planner.solve import solve
from policy.problem import Demand, Limits
from uplift.errors import InputError

__all__ = ["LeastRequests", "least_requests", "worth_a_price"]

MOST_SOLVES = 30
#: So many times what is still missing is tried for: an assignment gains less than its bound.
STEP = 1.5


@dataclass(frozen=True)
class LeastRequests:
    """An assignment that gains what was wanted, and the fewest requests that any such one spends.

    Parameters
    ----------
    solution : Solution
        The assignment; its `upper_bound` is the most that its own total can gain.
    lower_bound : float
        No assignment that gains as much spends fewer requests.
    solves : int
        Totals that were tried.
    """

    solution: Solution
    lower_bound: float
    solves: int

    @property
    def requests(self) -> float:
        """Requests that the assignment spends."""
        return self.solution.total_spend

    @property
    def gap(self) -> float:
        """Certified relative gap, (requests - lower_bound) / requests."""
        return max(0.0, self.requests - self.lower_bound) / max(self.requests, 1e-300)


def least_requests(
    demand: Demand, capacity: Capacity, limits: Limits, gain: float, *, gap: float = 1e-3
) -> LeastRequests:
    """Spend as few requests as possible on a given gain (equal effect).

    Parameters
    ----------
    demand, capacity, limits
        The problem; the capacity's own total still holds.
    gain : float
        What must be gained, > 0.
    gap : float
        Relative gap in requests at which to stop.

    Raises
    ------
    InputError
        The gain is not a number above 0, or more than the budget can bring.
    """
    if not 0 < gain < np.inf:
        raise InputError(f"the gain to reach is {gain}; expected a number above 0.")
    most = solve(demand, capacity, limits, gap=gap / 10)
    if most.gain < gain:
        raise InputError(
            f"the gain to reach is {gain:g}, but the budget brings at most {most.upper_bound:g} "
            f"(found: {most.gain:g}); lower it, or raise the budget."
        )
    return _Descent(demand, capacity, limits, gain, gap, most).run()


class _Descent:
    """Totals tried: bounds from below by prices, assignments that gain enough from above."""

    def __init__(
        self,
        demand: Demand,
        capacity: Capacity,
        limits: Limits,
        wanted: float,
        gap: float,
        most: Solution,
    ) -> None:
        self._problem, self._wanted, self._gap = (demand, limits), wanted, gap
        self._capacity, self._best, self._prices = capacity, most, most.prices
        self._lower, self._solves = 0.0, 1
        self._least_cost = float(demand.cost[demand.cost > 0].min(initial=np.inf))

    def run(self) -> LeastRequests:
        """Raise the total from the bound until an assignment gains enough."""
        total = self._best.total_spend * self._wanted / max(self._best.upper_bound, 1e-300)
        while self._solves < MOST_SOLVES and not self._found().gap <= self._gap:
            solution = self._solve(max(total, self._lower))
            missing = self._wanted - solution.gain
            if missing <= 0 and solution.total_spend < self._best.total_spend:
                self._best = solution
            total = self._next_total(total, solution, missing)
        return self._found()

    def _next_total(self, total: float, solution: Solution, missing: float) -> float:
        """Return the bound where it has risen, else a total that may be enough."""
        price, before = solution.total_price, self._lower
        if price > 0:
            bound = solution.total_spend + (self._wanted - solution.upper_bound) / price
            self._lower = max(before, bound)
        if self._lower > before * (1 + self._gap / 10):
            return self._lower
        more = STEP * missing / price if price > 0 else 0.0
        return total + max(more, self._least_cost) if missing > 0 else (total + self._lower) / 2

    def _found(self) -> LeastRequests:
        return LeastRequests(self._best, self._lower, self._solves)

    def _solve(self, total: float) -> Solution:
        demand, limits = self._problem
        own = self._capacity.total
        capacity = self._capacity.with_total(total if own is None else min(total, own))
        self._solves += 1
        solution = solve(demand, capacity, limits, gap=self._gap / 10, start=self._prices)
        self._prices = solution.prices
        return solution


def worth_a_price(
    demand: Demand, capacity: Capacity, limits: Limits, price: float, *, gap: float = 1e-4
) -> Solution:
    """Make all requests that are worth more than a price, within the budget.

    ``max  sum (gain - price cost) x``

    Parameters
    ----------
    demand, capacity, limits
        The problem; capacities of infinity leave the price alone to decide.
    price : float
        Gain that a unit of cost must bring, >= 0.

    Returns
    -------
    Solution
        `gain` is the gain itself; `upper_bound` what no assignment exceeds that spends no more;
        the price is part of `total_price`.

    Raises
    ------
    InputError
        The price is below 0 or not finite.
    """
    if not 0 <= price < np.inf:
        raise InputError(f"the price is {price}; expected a finite price, 0 or more.")
    others = (demand.window, demand.n_windows, demand.session_start, demand.page, demand.slot)
    net = Demand(demand.gain - price * demand.cost, demand.cost, *others)
    found = solve(net, capacity, limits, gap=gap)
    paid = price * found.total_spend
    return replace(
        found,
        gain=found.gain + paid,
        upper_bound=found.upper_bound + paid,
        prices=Prices(found.prices.window, found.prices.total + price, found.prices.service),
        arm_price=found.arm_price + price,
    )
