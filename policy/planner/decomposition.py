"""Decomposition: prices decide, sessions answer, cutting planes find the prices.

For any prices p = price + total_price >= 0,

    D(p) = sum_w capacity[w] price[w] + total * total_price
           + sum_s max over plans of s of sum (gain - p cost)

is at least the gain of every assignment within the budget. Each pass evaluates D with the session
oracle, which bounds from above, and repairs the sessions' answers to an assignment that violates
nothing, which bounds from below. The master (see `master`) minimises the cuts of all passes over a
box around the best prices so far, because far away from them the cuts know little.

Source: Kelley's cutting planes, disaggregated, with a trust region (Hiriart-Urruty and Lemarechal,
Convex Analysis and Minimization Algorithms II, chapter XV).
"""

from collections.abc import Callable

import numpy as np

from policy.planner.master import Master
from policy.planner.oracle import Pass, SessionOracle
from policy.planner.result import Prices, Solution, earned, relative_gap
from policy.planner.rounding import repair
from policy.problem import ROUND_OFF, Capacity, Demand, Limits, check_match
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["solve_decomposition"]

FIRST_RADIUS = 0.3
"""Half width of the first box, as a share of the average gain per request."""

WARM_RADIUS = 0.01
"""The same where the caller gave prices: they are near, and the box doubles when they are not."""

REPAIR_SHARE = 0.5
"""Share of the gap that better prices may close, above which a repair would be wasted."""

PRICE_SHARE = 0.05
"""Share of the gap that better prices may close, below which the search stops."""

NOT_BINDING = "the budget does not bind"
REACHED = "gap reached"
PRICES_OPTIMAL = "prices are optimal: what is left of the gap is due to whole requests"
ITERATION_LIMIT = "iteration limit"


def solve_decomposition(
    demand: Demand,
    capacity: Capacity,
    limits: Limits,
    *,
    gap: float = 1e-4,
    max_iterations: int = 100,
    start: Prices | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> Solution:
    """Plan any number of sessions; certify (upper_bound - gain) / upper_bound <= gap.

    Parameters
    ----------
    demand, capacity, limits
        The problem.
    gap : float
        Relative gap at which to stop. A few hundred requests cannot always be this near to the
        bound, since requests are whole; the solution then says so and certifies its own gap.
    max_iterations : int
        Most passes over the sessions, >= 1.
    start : Prices, optional
        Prices to begin with, such as yesterday's.
    progress : callable, optional
        Called after each pass with the number of the pass, the upper and the lower bound.

    Returns
    -------
    Solution
        Prices are the best ones found: they prove `upper_bound`.

    Raises
    ------
    InputError
        Capacity or prices for other windows than the demand's; a gap or an iteration limit that
        nothing can meet.
    """
    check_match(demand, capacity)
    _check_options(demand, gap, max_iterations, start)
    search = _Search(demand, _whole_requests(demand, capacity), limits)
    prices = search.admissible(start or Prices(np.zeros(demand.n_windows)))
    reason = None
    while reason is None:
        search.visit(prices)
        if progress is not None:
            progress(search.iterations, search.upper, search.lower)
        prices, reason = search.next_prices(gap, max_iterations)
    return search.solution(reason)


class _Search:
    """The bounds, the best prices, the best assignment, and how they move from pass to pass."""

    prices: Prices
    _master: Master
    _radius: float

    def __init__(self, demand: Demand, capacity: Capacity, limits: Limits) -> None:
        self._demand, self._capacity, self._limits = demand, capacity, limits
        self._oracle = SessionOracle(demand, limits)
        limited = np.isfinite(capacity.window)
        self._room = np.where(limited, capacity.window, 0.0)
        ceilings = self._oracle.ceilings()
        highest = 0.0 if capacity.total is None else float(ceilings.max())
        self._ceiling = Prices(np.where(limited, ceilings, 0.0), highest)
        self._widest = max(float(self._ceiling.window.max()), highest)
        self._fits_freely, self._repaired = False, False
        self._expected = np.inf
        self._arm = np.zeros(demand.n_points, dtype=np.int8)
        self.iterations, self.upper, self.lower = 0, np.inf, 0.0

    def admissible(self, prices: Prices) -> Prices:
        """Bring prices below the ceilings, which are 0 for rows without a limit."""
        window = np.minimum(prices.window, self._ceiling.window)
        return Prices(window, min(prices.total, self._ceiling.total))

    def visit(self, prices: Prices) -> None:
        """Evaluate the bounds at these prices and learn their cuts."""
        plans = self._oracle.best_plans(prices.combined)
        upper = self._dual_value(plans, prices)
        if self.iterations == 0:
            self._begin(plans, prices, upper)
        else:
            self._resize(upper)
        self.iterations += 1
        self._master.add(plans)
        if upper < self.upper:
            self.upper, self.prices, self._repaired = upper, prices, False
            if self._promised() <= REPAIR_SHARE * (upper - self.lower):
                self._repair(plans)

    def next_prices(self, gap: float, max_iterations: int) -> tuple[Prices, str | None]:
        """Return the prices to try next, or the reason to stop."""
        prices, reason = self._judge(gap, max_iterations)
        if reason in (ITERATION_LIMIT, PRICES_OPTIMAL) and not self._repaired:
            self._repair(self._oracle.best_plans(self.prices.combined))
            prices, reason = self._judge(gap, max_iterations)
        return prices, reason

    def _judge(self, gap: float, max_iterations: int) -> tuple[Prices, str | None]:
        if self._fits_freely:
            return self.prices, NOT_BINDING
        if relative_gap(self.upper, self.lower) <= gap:
            return self.prices, REACHED
        if self.iterations >= max_iterations:
            return self.prices, ITERATION_LIMIT
        least = PRICE_SHARE * (self.upper - self.lower)
        proposal = self._propose(self._radius)
        if self._promised() <= least:
            self._radius *= 2
            proposal = self._propose(self._widest)
        return proposal, PRICES_OPTIMAL if self._promised() <= least else None

    def solution(self, reason: str) -> Solution:
        """Sum gain and spend again from the assignment, and certify it."""
        gain, spend = earned(self._demand, self._arm)
        price, total = self.prices.window, self.prices.total
        upper = max(self.upper, gain)
        return Solution(self._arm, gain, spend, price, total, upper, self.iterations, reason)

    def _dual_value(self, plans: Pass, prices: Prices) -> float:
        cost = self._room @ prices.window + (self._capacity.total or 0.0) * prices.total
        return float(cost + plans.gain.sum() - prices.combined @ plans.spend())

    def _begin(self, plans: Pass, prices: Prices, upper: float) -> None:
        """Take the scales of the master and of the first box from the first pass."""
        spend = plans.spend()
        self._fits_freely = not prices.combined.any() and _within(self._capacity, spend)
        average = plans.gain.sum() / spend.sum() if spend.any() else prices.combined.max()
        scale = float(average) or 1.0
        self._master = Master(self._capacity, scale, upper / plans.gain.size or 1.0)
        self._radius = (WARM_RADIUS if prices.combined.any() else FIRST_RADIUS) * scale

    def _resize(self, upper: float) -> None:
        """Double the box after a step that kept its promise, halve it after one that did not."""
        kept = (self.upper - upper) / self._promised()
        if kept >= 0.5:
            self._radius *= 2
        elif kept < 0.1:
            self._radius /= 2

    def _repair(self, plans: Pass) -> None:
        """Repair the sessions' answer; keep it when it is the best assignment so far."""
        arm = repair(self._demand, self._capacity, self._limits, plans.arm, self.prices)
        gain, _ = earned(self._demand, arm)
        self._repaired = True
        if gain > self.lower:
            self._arm, self.lower = arm, gain

    def _propose(self, radius: float) -> Prices:
        """Best prices of the model, at most `radius` away from the best known ones."""
        centre = self.prices
        low = Prices(np.maximum(centre.window - radius, 0.0), max(centre.total - radius, 0.0))
        high = self.admissible(Prices(centre.window + radius, centre.total + radius))
        prices, self._expected = self._master.propose(low, high)
        return prices

    def _promised(self) -> float:
        """By how much the model hopes to lower the upper bound; nothing before the first cut."""
        return self.upper - self._expected


def _within(capacity: Capacity, spend: FloatArray) -> bool:
    windows = (spend <= capacity.window * (1 + ROUND_OFF)).all()
    return bool(
        windows and (capacity.total is None or spend.sum() <= capacity.total * (1 + ROUND_OFF))
    )


def _whole_requests(demand: Demand, capacity: Capacity) -> Capacity:
    """Round the budget down where every cost is a whole number: fractions cannot be spent."""
    cost = demand.cost[:1] if demand.cost.strides[0] == 0 else demand.cost
    if not (cost == np.floor(cost)).all():
        return capacity
    total = None if capacity.total is None else np.floor(capacity.total * (1 + ROUND_OFF))
    windows = np.floor(capacity.window * (1 + ROUND_OFF))
    nothing_left = total == 0 or not windows.any()
    return capacity if nothing_left else Capacity(windows, total)


def _check_options(demand: Demand, gap: float, max_iterations: int, start: Prices | None) -> None:
    if not gap >= 0:
        raise InputError(f"gap is {gap}, expected 0 or more; 1e-4 is usual.")
    if max_iterations < 1:
        raise InputError(f"max_iterations is {max_iterations}, expected 1 or more passes.")
    if start is not None and start.window.size != demand.n_windows:
        raise InputError(
            f"start has prices for {start.window.size} windows and the demand has "
            f"{demand.n_windows}, expected the same; leave start out or align the windows."
        )
