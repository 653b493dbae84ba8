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

from policy.problem import Limits
from policy.reserve import ReserveTable

__all__ = ["BreakEven"]

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
            self._starts: list[int] = reserve.places.position.tolist()
            self._pages, self._sizes = reserve.places.pages, reserve.value.shape[2:]

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
        bucket = max(bisect_right(self._starts, position) - 1, 0)
        place = min(page, self._pages - 1) * len(self._starts) + bucket
        k = _left(self._limits.per_session, made, self._sizes[0])
        q = _left(self._limits.per_page, on_page, self._sizes[1])
        rising = self._rising.get((best, place, k, q)) or self._known(best, place, k, q)
        return self._met(rising, gain, cost), cost

    def _shrunk(self, uplift: Sequence[float]) -> list[float]:
        share, mean = self._shrinkage or (0.0, [0.0] * len(uplift))
        return [(1 - share) * gain + share * m for gain, m in zip(uplift, mean, strict=True)]

    def _known(self, best: int, place: int, k: int, q: int) -> list[float]:
        """Return (L,) ``price cost + reserve`` at the reserve's prices, and keep it."""
        assert self._reserve is not None
        kept = self._reserve.value[:, place, k, q]
        rising = list(accumulate((self._reserve.price * self._cost[best] + kept).tolist(), max))
        self._rising[best, place, k, q] = rising
        return rising

    def _met(self, rising: list[float], gain: float, cost: float) -> float:
        """Return the price at which what rises meets the gain; the reserve is constant beyond."""
        above = bisect_right(rising, gain)
        if above in (0, len(rising)):
            end = 0 if above == 0 else -1
            return self._levels[end] + (gain - rising[end]) / cost
        low, high = self._levels[above - 1], self._levels[above]
        share = (gain - rising[above - 1]) / (rising[above] - rising[above - 1])
        return low + share * (high - low)


def _left(cap: int | None, made: int, size: int) -> int:
    """Return the index of what a cap leaves, as `policy.reserve.left` does."""
    return 0 if cap is None or size == 1 else min(max(cap - made, 1), size) - 1
