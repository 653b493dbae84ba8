"""StepCounts: what one process, or all of a fleet, saw in a step of pacing.

Gains are counted in bins that every process knows, whatever plan it serves, so that counts add:

    bin b holds gains in [RATIO^(b - 1), RATIO^b)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor, log

import numpy as np
from numpy.typing import ArrayLike

from policy.pacing import EDGE_RATIO, edges_around
from uplift.arrays import FloatArray

__all__ = ["Grid", "StepCounts"]


@dataclass(slots=True, eq=False)
class StepCounts:
    """Counts of one step.

    Attributes
    ----------
    step : number of the step: seconds since 1970 UTC by its length, rounded down
    points : decision points
    paid : sum of the prices that they had
    requests : that the price let through, before any quota
    gains : by bin, the points that are worth a request up to that price, counted by their cost
    """

    step: int
    points: float = 0.0
    paid: float = 0.0
    requests: float = 0.0
    gains: dict[int, float] = field(default_factory=dict)


class Grid:
    """The bins of all processes, as far as a pacer of these prices tells them apart.

    Parameters
    ----------
    price : (W,) planned prices

    Attributes
    ----------
    low : bin below the first edge
    edges : (E,) rising prices, for `policy.Pacer`
    """

    def __init__(self, price: ArrayLike) -> None:
        around = edges_around(np.atleast_1d(np.asarray(price, dtype=np.float64)))
        self.low = floor(log(around[0]) / log(EDGE_RATIO))
        high = ceil(log(around[-1]) / log(EDGE_RATIO))
        self.edges: list[float] = [EDGE_RATIO**b for b in range(self.low, high + 1)]

    def histogram(self, gains: Mapping[int, float]) -> FloatArray:
        """Return counts by bin as `Pacer.observe` takes them, (E + 1,)."""
        counts = np.zeros(len(self.edges) + 1)
        for b, weight in gains.items():
            counts[min(max(b - self.low, 0), len(self.edges))] += weight
        return counts
