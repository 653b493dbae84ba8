"""What a solver hands back: the assignment, its prices, and a certificate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy.problem import Demand
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["Prices", "Solution", "earned", "relative_gap"]

TINY = 1e-300

BLOCK = 1 << 22
"""Points summed at once: of a billion, even a list of those with a request is large."""


@dataclass(frozen=True)
class Prices:
    """Worth of one more request: in each window, of the total on top, of each service on top.

    Parameters
    ----------
    window : (W,) float64
        Dual of each window's capacity, gain per request; below 0 where `least` subsidises.
    total : float
        Dual of the total row, gain per request, >= 0; 0 when there is no total.
    service : (S, W + 1) float64, optional
        Duals of each service's windows and, last, of its total, >= 0.
    """

    window: FloatArray
    total: float = 0.0
    service: FloatArray | None = None

    def __post_init__(self) -> None:
        window = np.ascontiguousarray(self.window, dtype=np.float64)
        if window.ndim != 1 or not np.isfinite(window).all():
            raise InputError(
                "The window prices are not all finite, expected one finite price for "
                "each window; take them from an earlier plan or leave them out."
            )
        if not 0 <= self.total < np.inf:
            raise InputError(
                f"The total price is {self.total}, expected a finite price, 0 or more; "
                "take it from an earlier plan or leave it out."
            )
        width = window.size + 1
        service = np.zeros((0, width)) if self.service is None else self.service
        if service.shape[1:] != (width,) or not (np.isfinite(service) & (service >= 0)).all():
            raise InputError(
                f"The service prices have shape {service.shape}, expected finite prices, 0 or "
                f"more, for {window.size} windows and the total of each service."
            )
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "service", service)

    @classmethod
    def of(cls, vector: FloatArray, n_windows: int) -> "Prices":
        """Read prices of rows, (R,), in their order."""
        services = vector[n_windows + 1 :].reshape(-1, n_windows + 1)
        return cls(vector[:n_windows], max(0.0, float(vector[n_windows])), services)

    @property
    def vector(self) -> FloatArray:
        """Return the prices in the order of `policy.planner.rows.Rows`, (R,)."""
        services = np.empty(0) if self.service is None else self.service.ravel()
        return np.concatenate((self.window, [self.total], services))

    @property
    def combined(self) -> FloatArray:
        """What a point of each window pays per unit of cost beside services: window + total."""
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
    prices : Prices
        Duals of the rows; as `solve_decomposition(start=...)` takes them.
    arm_price : (W, A) float64
        What each arm pays per unit of cost in each window, all rows together.
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
    prices: Prices
    arm_price: FloatArray
    upper_bound: float
    iterations: int
    reason: str

    @property
    def total_spend(self) -> float:
        """Requests spent over all windows."""
        return float(self.spend.sum())

    @property
    def price(self) -> FloatArray:
        """Dual of each window's capacity, (W,)."""
        return self.prices.window

    @property
    def total_price(self) -> float:
        """Dual of the total row; 0 when there is none."""
        return self.prices.total

    @property
    def window_price(self) -> FloatArray:
        """What a point of each window pays per unit of cost beside services: price + total."""
        return self.prices.combined

    @property
    def gap(self) -> float:
        """Certified relative gap, (upper_bound - gain) / |upper_bound|."""
        return relative_gap(self.upper_bound, self.gain)


def relative_gap(upper: float, lower: float) -> float:
    """Return (upper - lower) / |upper|, never below 0."""
    return max(0.0, (upper - lower) / max(abs(upper), TINY))


def earned(demand: Demand, arm: NDArray[np.int8]) -> tuple[float, FloatArray]:
    """Gain, and spend of each window and arm (W, A), summed again from the demand."""
    gain, spend = 0.0, np.zeros(demand.n_windows * demand.n_arms)
    for begin in range(0, demand.n_points, BLOCK):
        rows = begin + np.flatnonzero(arm[begin : begin + BLOCK])
        column = arm[rows] - 1
        gain += float(demand.gain[rows, column].sum(dtype=np.float64))
        place = demand.window[rows].astype(np.int64) * demand.n_arms + column
        spend += np.bincount(place, demand.cost[rows, column], minlength=spend.size)
    return gain, spend.reshape(demand.n_windows, demand.n_arms)
