"""What the budget is worth: the plan at more and at less of it.

    gain(s) = max sum gain x    within s times every capacity, under the same limits

is concave in s for the linear relaxation; its slope at a plan is ``sum_r price[r] capacity[r]``,
what the prices say that the capacities are worth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy.capacity import Capacity
from policy.planner.result import Solution
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray

__all__ = ["Sensitivity", "sensitivity"]

LESS = (0.75, 0.5, 0.25, 0.1)
MORE = (1.25, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Sensitivity:
    """Plans at other budgets.

    Attributes
    ----------
    scale : (K,) rising; every capacity is so many times what was asked for, which is 1
    requests : (K,) requests that each certified plan spends
    gain : (K,) what it gains on the planned log
    marginal : (K,) gain per unit of scale, at the prices of each plan; 0 where nothing binds
    """

    scale: FloatArray
    requests: FloatArray
    gain: FloatArray
    marginal: FloatArray

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "Sensitivity":
        """Rebuild from plain values."""
        return cls(**{key: np.array(values, dtype=np.float64) for key, values in table.items()})

    def more(self, share: float) -> float:
        """Return what a budget larger by a (small) share of itself gains on top."""
        return share * float(self.marginal[self.scale == 1].item())


def sensitivity(
    demand: Demand, capacity: Capacity, limits: Limits, planned: Solution, *, gap: float = 1e-4
) -> Sensitivity:
    """Plan at other budgets, from the prices of a plan on.

    Parameters
    ----------
    demand, capacity, limits : the problem
    planned : its solution
    gap : relative gap at which each plan stops

    Returns
    -------
    Sensitivity
        No larger budget stands behind the first that does not bind.
    """
    found = {1.0: planned}
    found |= _plans(demand, capacity, limits, planned, LESS, gap)
    found |= _plans(demand, capacity, limits, planned, MORE, gap)
    scales = sorted(found)
    plans = [found[s] for s in scales]
    return Sensitivity(
        np.array(scales),
        np.array([p.total_spend for p in plans]),
        np.array([p.gain for p in plans]),
        np.array([_worth(demand, capacity, p) for p in plans]),
    )


def _plans(
    demand: Demand,
    capacity: Capacity,
    limits: Limits,
    planned: Solution,
    scales: tuple[float, ...],
    gap: float,
) -> Iterator[tuple[float, Solution]]:
    """Yield plans at budgets ever farther away; none behind one that does not bind."""
    from policy.planner.solve import solve

    last = planned
    for scale in scales:
        if scale > 1 and not last.prices.vector.any():
            break
        last = solve(demand, capacity.scaled(scale), limits, gap=gap, start=last.prices)
        yield scale, last


def _worth(demand: Demand, capacity: Capacity, plan: Solution) -> float:
    """Return what the capacities are worth at a plan's prices."""
    from policy.planner.rows import Rows

    return Rows.of(capacity, demand).value(plan.prices.vector)
