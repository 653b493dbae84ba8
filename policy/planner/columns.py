"""The demand and the limits as numba takes them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.problem import Demand, Limits
from uplift.arrays import FloatArray

__all__ = ["Caps", "Columns"]


class Columns(NamedTuple):
    """The demand as numba takes it: cost of point i is row i * cost_step of `cost`."""

    gain: Any
    cost: FloatArray
    cost_step: int
    window: NDArray[np.int32]
    page: NDArray[np.int32]
    slot: NDArray[np.int64]
    start: NDArray[np.int64]

    @classmethod
    def of(cls, demand: Demand) -> "Columns":
        """View a demand; only the single row of a broadcast cost is copied."""
        one_row = demand.cost.strides[0] == 0
        cost = demand.cost[:1].copy() if one_row else demand.cost
        columns = (demand.window, demand.page, demand.slot, demand.session_start)
        return cls(demand.gain, cost, 0 if one_row else 1, *columns)


class Caps(NamedTuple):
    """Limits as whole numbers; 0 is no limit."""

    session: int
    page: int
    gap: int

    @classmethod
    def of(cls, limits: Limits) -> "Caps":
        """Drop a page cap that the session cap already implies."""
        session, page = limits.per_session or 0, limits.per_page or 0
        implied = 0 < session <= page
        return cls(session, 0 if implied else page, limits.min_gap)
