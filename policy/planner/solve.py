"""One way in: the hull where points are on their own, the decomposition otherwise."""

from collections.abc import Callable

from policy.capacity import Capacity
from policy.planner.decomposition import solve_decomposition
from policy.planner.hull import NO_LIMITS, applies, solve_hull
from policy.planner.result import Prices, Solution
from policy.problem import Demand, Limits

__all__ = ["solve"]


def solve(
    demand: Demand,
    capacity: Capacity,
    limits: Limits = NO_LIMITS,
    *,
    gap: float = 1e-4,
    start: Prices | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> Solution:
    """Plan any problem with the faster solver that certifies it.

    Parameters
    ----------
    demand, capacity, limits
        The problem.
    gap : float
        Relative gap at which to stop.
    start : Prices, optional
        Prices to begin with; the hull needs none and finds its own.
    progress : callable, optional
        Called after each pass with the number of the pass, the upper and the lower bound.

    Returns
    -------
    Solution
        Of `solve_hull` where the sessions have no limits and the capacity is windows and a total
        alone; of `solve_decomposition` otherwise.

    Raises
    ------
    InputError
        As the solver that is taken.
    """
    if applies(demand, capacity, limits):
        return solve_hull(demand, capacity, limits, gap=gap, progress=progress)
    return solve_decomposition(demand, capacity, limits, gap=gap, start=start, progress=progress)
