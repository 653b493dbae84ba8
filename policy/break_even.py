"""BreakEven: the price up to which the rule requests at a decision point.

    request iff gain - price cost > reserve(price),   break-even p: gain = p cost + reserve(p)

The reserve falls as the price rises, by less than the price itself: ``p cost + reserve(p)`` rises,
and a request is made at every price below the break-even and at none above. Prices measured so add
up to the curve of demand; gains less the reserve of the price in force would not, as they move with
that price.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from policy.problem import Limits
from policy.reserve import ReserveTable, left

__all__ = ["BreakEven"]

MOST_KEPT = 100_000
_Place = tuple[int, int, int, int]


class BreakEven:
    """Break-even prices of one plan.

    Parameters
    ----------
    cost : requests of each arm
    limits : what a session allows
    reserve : worth of keeping a request; absent where nothing is kept back
    shrinkage : share and means of the plan's shrinkage, absent where there is none
    """

    def __init__(
        self,
        cost: list[float],
        limits: Limits,
        reserve: ReserveTable | None = None,
        shrinkage: tuple[float, list[float]] | None = None,
    ) -> None:
        self._cost, self._limits = cost, limits
        self._reserve, self._shrinkage = reserve, shrinkage
        self._rising: dict[_Place, list[float]] = {}
        if reserve is not None:
            self._levels: list[float] = reserve.price.tolist()
            starts = reserve.places.position.tolist()
            last = starts[-1]
            self._bucket = [max(bisect_right(starts, at) - 1, 0) for at in range(last + 1)]
            self._count, self._last_page = len(starts), reserve.places.pages - 1
            self._sizes = reserve.value.shape[2:]

    def price(
        self, uplift: Sequence[float], arm: int, page: int, position: int, made: int, on_page: int
    ) -> tuple[float, float]:
        """Return the break-even of an arm, and its cost.

        Parameters
        ----------
        uplift : expected gain of each arm over none
        arm : the best one at the price in force; 0 for the one of most gain, as at an infinite
            price none is best
        page, position : of the decision point
        made, on_page : requests of the session, and of its page
        """
        gains = uplift if self._shrinkage is None else self._shrunk(uplift)
        best = arm - 1 if arm else max(range(len(gains)), key=gains.__getitem__)
        gain, cost = gains[best], self._cost[best]
        if gain <= 0:
            return 0.0, cost
        if self._reserve is None:
            return gain / cost, cost
        bucket = self._bucket[position] if position < len(self._bucket) else self._count - 1
        at = (page if page < self._last_page else self._last_page) * self._count + bucket
        rising = self._rising.get((best, at, made, on_page))
        if rising is None:
            rising = self._known(best, at, made, on_page)
        above = bisect_right(rising, gain)
        if 0 < above < len(rising):
            low, high = rising[above - 1], rising[above]
            begin = self._levels[above - 1]
            share = (gain - low) / (high - low)
            return begin + share * (self._levels[above] - begin), cost
        last = 0 if above == 0 else -1  # beyond, the reserve is constant
        return self._levels[last] + (gain - rising[last]) / cost, cost

    def _shrunk(self, uplift: Sequence[float]) -> list[float]:
        share, mean = self._shrinkage or (0.0, [0.0] * len(uplift))
        return [(1 - share) * gain + share * m for gain, m in zip(uplift, mean, strict=True)]

    def _known(self, best: int, place: int, made: int, on_page: int) -> list[float]:
        """Return (L,) ``price cost + reserve`` at the reserve's prices, and keep it."""
        assert self._reserve is not None
        limits, (on_session, on_a_page) = self._limits, self._sizes
        k = int(left(limits.per_session, np.asarray(made), on_session))
        q = int(left(limits.per_page, np.asarray(on_page), on_a_page))
        kept = self._reserve.value[:, place, k, q]
        rising = list(accumulate((self._reserve.price * self._cost[best] + kept).tolist(), max))
        if len(self._rising) < MOST_KEPT:  # callers may tell any counts of requests
            self._rising[best, place, made, on_page] = rising
        return rising
