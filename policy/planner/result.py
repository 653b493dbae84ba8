"""What a solver hands back: the assignment, its prices, and a certificate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy.problem import Demand
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["Prices", "Solution", "earned", "relative_gap"]

TINY = 1e-300


@dataclass(frozen=True)
class Prices:
    """Worth of one more request: in each window, and of the total budget on top.

    Parameters
    ----------
    window : (W,) float64
        Dual of each window's capacity, gain per request, >= 0.
    total : float
        Dual of the total row, gain per request, >= 0; 0 when there is no total.
    """

    window: FloatArray
    total: float = 0.0

    def __post_init__(self) -> None:
        window = np.ascontiguousarray(self.window, dtype=np.float64)
        if window.ndim != 1 or not (np.isfinite(window) & (window >= 0)).all():
            raise InputError(
                "The window prices are not all finite and 0 or more, expected one such price for "
                "each window; take them from an earlier plan or leave them out."
            )
        if not 0 <= self.total < np.inf:
            raise InputError(
                f"The total price is {self.total}, expected a finite price, 0 or more; "
                "take it from an earlier plan or leave it out."
            )
        object.__setattr__(self, "window", window)

    @property
    def combined(self) -> FloatArray:
        """What a point of each window pays per unit of cost: window + total."""
        return self.window + self.total


@dataclass(frozen=True)
class Solution:
    """An assignment that violates nothing, and how far at most it is from the best one.

    Parameters
    ----------
    arm : (n,) int8
        Chosen arm of each point in the demand's order; 0 is no request.
    gain : float
        Sum of the gains of the chosen arms.
    spend : (W,) float64
        Requests spent in each window.
    price : (W,) float64
        Dual of each window's capacity, gain per request.
    total_price : float
        Dual of the total row; 0 when there is none.
    upper_bound : float
        No assignment within the budget gains more.
    iterations : int
        Passes over the sessions (decomposition), or nodes of the search tree (exact).
    reason : str
        Why the solver stopped.
    """

    arm: NDArray[np.int8]
    gain: float
    spend: FloatArray
    price: FloatArray
    total_price: float
    upper_bound: float
    iterations: int
    reason: str

    @property
    def total_spend(self) -> float:
        """Requests spent over all windows."""
        return float(self.spend.sum())

    @property
    def window_price(self) -> FloatArray:
        """What a point of each window pays per unit of cost: price + total_price."""
        return self.price + self.total_price

    @property
    def prices(self) -> Prices:
        """Both prices, as `solve_decomposition(start=...)` takes them."""
        return Prices(self.price, self.total_price)

    @property
    def gap(self) -> float:
        """Certified relative gap, (upper_bound - gain) / |upper_bound|."""
        return relative_gap(self.upper_bound, self.gain)


def relative_gap(upper: float, lower: float) -> float:
    """Return (upper - lower) / |upper|, never below 0."""
    return max(0.0, (upper - lower) / max(abs(upper), TINY))


def earned(demand: Demand, arm: NDArray[np.int8]) -> tuple[float, FloatArray]:
    """Gain and spend per window of an assignment, summed again from the demand."""
    rows = np.flatnonzero(arm)
    column = arm[rows] - 1
    gain = float(demand.gain[rows, column].sum(dtype=np.float64))
    cost = demand.cost[rows, column]
    spend = np.bincount(demand.window[rows], cost, minlength=demand.n_windows)
    return gain, spend.astype(np.float64)
