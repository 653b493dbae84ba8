"""ReserveTable: the worth of keeping a request for later in the session."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from policy.places import Places
from uplift.arrays import FloatArray, IntArray

__all__ = ["TIE_TOLERANCE", "ReserveTable", "left"]

#: A worth this near to 0, relative to the price paid, is a tie: solvers know prices no better.
TIE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ReserveTable:
    """``R = E[V(next | no request now)] - E[V(next | request now)]`` at a price, by place.

    V is what the best decisions from the next decision point to the end of the session gain net
    of the price; see `policy.induction`. A request is only ever decided on when no minimum gap
    forbids it, so the slots until one is allowed are 0 here; V knows them.

    Attributes
    ----------
    price : (L,) prices at which the worth is known, rising; linear in between, constant beyond
    places : what counts as one place
    value : (L, places, K, Q) worth where k + 1 requests are left in the session and q + 1 on the
        page; K or Q is 1 where nothing limits them
    """

    price: FloatArray
    places: Places
    value: FloatArray

    def at_price(self, price: FloatArray) -> FloatArray:
        """Return the worths at other prices, (m,) -> (m, places, K, Q)."""
        high = np.clip(np.searchsorted(self.price, price), 1, max(len(self.price) - 1, 1))
        low, high = high - 1, np.minimum(high, len(self.price) - 1)
        width = np.where(high > low, self.price[high] - self.price[low], 1.0)
        share = np.clip((price - self.price[low]) / width, 0.0, 1.0)[:, None, None, None]
        result: FloatArray = (1 - share) * self.value[low] + share * self.value[high]
        return result

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "ReserveTable":
        """Rebuild a table from plain values."""
        price, value = (np.array(table[key], dtype=np.float64) for key in ("price", "value"))
        return cls(price, Places.from_dict(table["places"]), value)


def left(cap: int | None, made: IntArray, size: int) -> IntArray:
    """Return the index of what a cap leaves after some requests, in an axis of a table.

    More than the table knows is as good as the most that it knows; without a cap there is one
    state, which is never used up.
    """
    if cap is None or size == 1:
        return np.zeros_like(made)
    return np.clip(cap - made, 1, size) - 1
