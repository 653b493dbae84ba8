"""The master of the cutting planes: which prices to try next.

    min  sum_w capacity[w] price[w] + total * total_price + sum_g theta[g]
    s.t. theta[g] >= gain[g, k] - sum_w (price[w] + total_price) usage[g, w, k]   for every pass k
         0 <= price,  0 <= total_price,  0 <= theta,  prices inside the box

One value variable theta[g] for each group of sessions (the window of their first point): a pass
then adds as many cuts as there are groups, and the model learns each window's curve by itself.
The programme is tiny; GLOP solves it from scratch each time.
"""

import numpy as np
from scipy import sparse

from policy.planner.linear import Programme, solve_linear
from policy.planner.oracle import Pass
from policy.planner.result import Prices
from policy.problem import Capacity
from uplift.arrays import FloatArray

__all__ = ["Master"]


class Master:
    """Collects cuts and proposes prices.

    Prices and values are scaled to about 1 inside, because GLOP's tolerances are absolute.

    Parameters
    ----------
    capacity : Capacity
        Windows without a limit have price 0.
    price_scale : float
        A typical gain per unit of cost.
    value_scale : float
        A typical gain of one group.
    """

    def __init__(self, capacity: Capacity, price_scale: float, value_scale: float) -> None:
        self._price_scale, self._value_scale = price_scale, value_scale
        self._limited = np.isfinite(capacity.window)
        self._has_total = capacity.total is not None
        windows = np.where(self._limited, capacity.window, 0.0)
        weights = np.append(windows, capacity.total or 0.0) * (price_scale / value_scale)
        self._objective = np.concatenate((weights, np.ones(windows.size)))
        self._cuts: list[sparse.csr_array] = []
        self._floors: list[FloatArray] = []

    def add(self, plans: Pass) -> None:
        """Add the cuts of one pass: theta[g] + usage[g] price >= gain[g]."""
        group, window, requests = plans.entries()
        n = plans.gain.size
        requests = requests * (self._price_scale / self._value_scale)
        own = np.arange(n)
        # Columns: the window prices, the total price, the values theta.
        row = np.concatenate((group, group, own))
        column = np.concatenate((window, np.full(group.size, n), n + 1 + own))
        values = np.concatenate((requests, requests, np.ones(n)))
        cuts = sparse.csr_array((values, (row, column)), shape=(n, 2 * n + 1))
        used = np.flatnonzero(plans.gain > 0)
        self._cuts.append(cuts[used])
        self._floors.append(plans.gain[used] / self._value_scale)

    def propose(self, low: Prices, high: Prices) -> tuple[Prices, float]:
        """Return the model's best prices inside the box, and the model's value there.

        Without the box the value is a lower bound on the least upper bound that prices can prove.
        """
        n = low.window.size
        lower = np.concatenate((self._bounds(low), np.zeros(n)))
        upper = np.concatenate((self._bounds(high), np.full(n, np.inf)))
        floors = np.concatenate(self._floors)
        unlimited = np.full(floors.size, np.inf)
        rows = sparse.vstack(self._cuts, format="csr")
        programme = Programme(self._objective, lower, upper, rows, floors, unlimited)
        values = solve_linear(programme).values
        prices = np.clip(values[: n + 1], lower[: n + 1], upper[: n + 1]) * self._price_scale
        return Prices(prices[:n], float(prices[n])), float(
            self._objective @ values
        ) * self._value_scale

    def _bounds(self, prices: Prices) -> FloatArray:
        window = np.where(self._limited, prices.window, 0.0)
        total = prices.total if self._has_total else 0.0
        return np.append(window, total) / self._price_scale
