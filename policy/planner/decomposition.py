"""Decomposition: prices decide, sessions answer, cutting planes find the prices.

For any prices y of the rows (see `rows`), with p = member' y for each window and lane,

    D(y) = sum_r (upper[r] max(y[r], 0) + lower[r] min(y[r], 0))
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
from numpy.typing import NDArray

from policy.capacity import Capacity
from policy.planner.feasibility import check_least, largest_subsidy, plan_for_least
from policy.planner.master import Master
from policy.planner.narrowing import KNOWN_FLOOR, MemorySource, NarrowingOracle, Source
from policy.planner.oracle import Pass
from policy.planner.result import Prices, Solution, earned, relative_gap
from policy.planner.rounding import repair
from policy.planner.rows import Rows
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["solve_decomposition", "solve_stream"]

FIRST_RADIUS = 0.3
"""Half width of the first box, as a share of the average gain per request."""

WARM_RADIUS = 0.01
"""The same where prices are known: they are near, and the box doubles when they are not."""

LEAST_VALUE = 1e-6
"""Least scale of a group's value, as a share of that of a price: cuts stay what GLOP can solve."""

SAMPLE_SESSIONS = 20_000
"""Sessions that the first prices are found on, where there are many more."""

MANY = 4
"""So many times more sessions are worth a sample."""

SAMPLE_GAP = 1e-3
"""Relative gap at which these prices are good enough."""

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
        nothing can meet; windows that cannot get what they must.
    """
    rows = Rows.of(capacity, demand)
    if rows.lower.any():
        check_least(demand, rows, limits)
    prices = _first_prices(rows, gap, max_iterations, start)
    step = demand.n_sessions // SAMPLE_SESSIONS
    if start is None and step >= MANY:
        prices = prices_of_sample(demand.every(step), rows.share(1 / step), limits)
    search = Search(MemorySource(demand, limits, rows), rows, limits, _lowest(demand, rows))
    reason = search.run(prices, gap, max_iterations, progress)
    if search.lower == -np.inf:
        search.keep(np.arange(demand.n_points), demand, plan_for_least(demand, rows, limits))
    return search.solution(reason)


def solve_stream(
    source: Source,
    sample: Demand,
    rows: Rows,
    limits: Limits,
    *,
    share: float,
    gap: float = 1e-4,
    max_iterations: int = 100,
    progress: Callable[[int, float, float], None] | None = None,
) -> Solution:
    """Plan sessions that do not fit in memory: see `solve_decomposition`.

    The prices of a sample lay the first floor; the points above it are then all that is kept, and
    the source is read again only where a price falls below. The certificate is that of all points,
    whatever the sample was.

    Parameters
    ----------
    source : Source
        All sessions.
    sample : Demand
        Some of them, in memory.
    rows, limits
        The problem; nothing that a window must get.
    share : float
        Share of all sessions that the sample is, in (0, 1].
    gap, max_iterations, progress
        As in `solve_decomposition`.

    Raises
    ------
    InputError
        A window must get something; or options that nothing can meet.
    """
    if rows.lower.any():
        raise InputError(
            "Windows that must get something need all points in memory; leave `least` out, or plan "
            "a sample of the sessions."
        )
    _first_prices(rows, gap, max_iterations, None)
    prices = prices_of_sample(sample, rows.share(share), limits)
    search = Search(source, rows, limits, oracle=NarrowingOracle(source, limits, rows, KNOWN_FLOOR))
    return search.solution(search.run(prices, gap, max_iterations, progress))


def prices_of_sample(sample: Demand, rows: Rows, limits: Limits) -> FloatArray:
    """Return prices of the rows, (R,), that are right for some of the sessions."""
    search = Search(MemorySource(sample, limits, rows), rows, limits, _lowest(sample, rows))
    search.run(np.zeros(rows.count), SAMPLE_GAP, 100, None)
    return search.prices


def _lowest(demand: Demand, rows: Rows) -> float:
    """Return the lowest price a row may have."""
    return -largest_subsidy(demand) if rows.lower.any() else 0.0


class Search:
    """The bounds, the best prices, the best assignment, and how they move from pass to pass.

    Prices are vectors (R,) of the rows here.
    """

    prices: FloatArray
    _master: Master
    _radius: float

    def __init__(
        self,
        source: Source,
        rows: Rows,
        limits: Limits,
        lowest: float = 0.0,
        oracle: NarrowingOracle | None = None,
    ) -> None:
        self._source, self._rows, self._limits = source, rows, limits
        self._oracle = oracle or NarrowingOracle(source, limits, rows)
        self._point = np.zeros(0, dtype=np.int64)
        self._arm = np.zeros(0, dtype=np.int8)
        self._earned = (0.0, np.zeros((rows.n_windows, len(rows.lane))))
        self.iterations, self.upper = 0, np.inf
        # Where something must be spent, no plan is known yet: no request at all is none.
        self.lower = -np.inf if rows.lower.any() else 0.0
        windows = source.ceilings()
        ceilings = np.tile(np.append(windows, windows.max()), rows.count // (windows.size + 1))
        self._ceiling = np.where(rows.limited, ceilings, 0.0)
        self._floor = np.where(rows.lower > 0, lowest, 0.0)
        self._widest = max(float(self._ceiling.max()), -lowest)
        self._fits_freely, self._repaired = False, 0
        self._expected = np.inf

    def run(
        self,
        prices: FloatArray,
        gap: float,
        max_iterations: int,
        progress: Callable[[int, float, float], None] | None,
    ) -> str:
        """Search from some prices until there is a reason to stop; return it."""
        prices, reason = self.admissible(prices), None
        self._oracle.begin(self._rows.combined(prices))
        while reason is None:
            self.visit(prices)
            if progress is not None:
                progress(self.iterations, self.upper, self.lower)
            prices, reason = self.next_prices(gap, max_iterations)
        return reason

    def admissible(self, prices: FloatArray) -> FloatArray:
        """Bring prices below the ceilings, which are 0 for rows without a limit."""
        return np.clip(prices, self._floor, self._ceiling)

    def visit(self, prices: FloatArray) -> None:
        """Evaluate the bounds at these prices and learn their cuts."""
        plans = self._oracle.best_plans(self._rows.combined(prices))
        upper = self._dual_value(plans, prices)
        if self.iterations == 0:
            self._begin(plans, prices, upper)
        else:
            self._resize(upper)
        self.iterations += 1
        self._master.add(plans)
        if upper < self.upper:
            self.upper, self.prices, self._repaired = upper, prices, 0
            if self._fits_freely or self._promised() <= REPAIR_SHARE * (upper - self.lower):
                self._repair()

    def next_prices(self, gap: float, max_iterations: int) -> tuple[FloatArray, str | None]:
        """Return the prices to try next, or the reason to stop."""
        prices, reason = self._judge(gap, max_iterations)
        for thorough in (False, True):
            if reason in (ITERATION_LIMIT, PRICES_OPTIMAL) and self._repaired <= thorough:
                self._repair(thorough)
                prices, reason = self._judge(gap, max_iterations)
        return prices, reason

    def _judge(self, gap: float, max_iterations: int) -> tuple[FloatArray, str | None]:
        if self._fits_freely:
            return self.prices, NOT_BINDING
        if relative_gap(self.upper, self.lower) <= gap:
            return self.prices, REACHED
        if self.iterations >= max_iterations:
            return self.prices, ITERATION_LIMIT
        least = PRICE_SHARE * min(self.upper - self.lower, abs(self.upper))
        proposal = self._propose(self._radius)
        if self._promised() <= least:
            self._radius *= 2
            proposal = self._propose(self._widest)
        return proposal, PRICES_OPTIMAL if self._promised() <= least else None

    def keep(self, point: NDArray[np.int64], demand: Demand, arm: NDArray[np.int8]) -> None:
        """Keep an assignment of some points where it gains more than the best so far."""
        gain, spend = earned(demand, arm)
        if gain > self.lower:
            self.lower, self._earned = gain, (gain, spend)
            chosen = np.flatnonzero(arm)
            self._point, self._arm = point[chosen], arm[chosen]

    def solution(self, reason: str) -> Solution:
        """Lay the best assignment out over all points, with its certificate."""
        self._oracle.leave()  # the arms of all points may need its room
        arm = np.zeros(self._source.n_points, dtype=np.int8)
        arm[self._point] = self._arm
        gain, spend = self._earned
        return Solution(
            arm,
            gain,
            spend.sum(axis=1),
            Prices.of(self.prices, self._rows.n_windows),
            self._rows.arm_price(self.prices),
            max(self.upper, gain),
            self.iterations,
            reason,
        )

    def _dual_value(self, plans: Pass, prices: FloatArray) -> float:
        spend = self._rows.spend(plans.spend())
        return float(self._rows.value(prices) + plans.gain.sum() - prices @ spend)

    def _begin(self, plans: Pass, prices: FloatArray, upper: float) -> None:
        """Take the scales of the master and of the first box from the first pass."""
        spend = plans.spend()
        self._fits_freely = not prices.any() and self._rows.hold(spend)
        paid = self._rows.combined(prices)
        average = plans.gain.sum() / spend.sum() if spend.any() else paid.max()
        scale = abs(float(average)) or self._widest or 1.0
        # A bound of less than a request's worth may be what rounding leaves of none.
        value = max(abs(upper) / plans.gain.size, LEAST_VALUE * scale)
        self._master = Master(self._rows, scale, value)
        self._radius = (WARM_RADIUS if prices.any() else FIRST_RADIUS) * scale

    def _resize(self, upper: float) -> None:
        """Double the box after a step that kept its promise, halve it after one that did not."""
        kept = (self.upper - upper) / self._promised()
        if kept >= 0.5:
            self._radius *= 2
        elif kept < 0.1:
            self._radius /= 2

    def _repair(self, thorough: bool = False) -> None:
        """Repair what the sessions do at the best prices; keep it when it is the best so far."""
        self._repaired = 1 + thorough
        paid = self._rows.combined(self.prices)
        part, planned = self._oracle.assign(paid, thorough=thorough)
        if part.demand is not None:
            arm = repair(part.demand, self._rows, self._limits, planned, self.prices)
            if arm is not None:
                self.keep(part.point, part.demand, arm)

    def _propose(self, radius: float) -> FloatArray:
        """Best prices of the model, at most `radius` away from the best known ones."""
        low, high = self.admissible(self.prices - radius), self.admissible(self.prices + radius)
        prices, self._expected = self._master.propose(low, high)
        return prices

    def _promised(self) -> float:
        """By how much the model hopes to lower the upper bound; nothing before the first cut."""
        return self.upper - self._expected


def _first_prices(rows: Rows, gap: float, max_iterations: int, start: Prices | None) -> FloatArray:
    """Return the prices to begin with; refuse options that nothing can meet."""
    if not gap >= 0:
        raise InputError(f"gap is {gap}, expected 0 or more; 1e-4 is usual.")
    if max_iterations < 1:
        raise InputError(f"max_iterations is {max_iterations}, expected 1 or more passes.")
    if start is None:
        return np.zeros(rows.count)
    if start.vector.size != rows.count:
        raise InputError(
            f"start has prices for {start.window.size} windows and the demand has "
            f"{rows.n_windows}, expected the same, and the same services; leave start out or align "
            "the windows."
        )
    return start.vector
