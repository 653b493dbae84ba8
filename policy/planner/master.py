"""The master of the cutting planes: which prices to try next.

    min  upper' up - lower' down + sum_g theta[g]              price = up - down, one for each row
    s.t. theta[g] >= gain[g, k] - usage[g, k]' member' price   for every pass k
         0 <= up, 0 <= down, 0 <= theta, prices inside the box

One value variable theta[g] for each group of sessions (the window of their first point): a pass
then adds as many cuts as there are groups, and the model learns each window's curve by itself.
Only a row that must get something has a `down`, a subsidy. The programme is tiny; GLOP solves it
from scratch each time.
"""

import numpy as np
from scipy import sparse

from policy.planner.linear import Programme, solve_linear
from policy.planner.oracle import Pass
from policy.planner.rows import Rows
from uplift.arrays import FloatArray

__all__ = ["Master"]


class Master:
    """Collects cuts and proposes prices.

    Prices and values are scaled to about 1 inside, because GLOP's tolerances are absolute.

    Parameters
    ----------
    rows : Rows
        Rows without a limit have price 0.
    price_scale : float
        A typical gain per unit of cost.
    value_scale : float
        A typical gain of one group.
    """

    def __init__(self, rows: Rows, price_scale: float, value_scale: float) -> None:
        self._rows = rows
        self._price_scale, self._value_scale = price_scale, value_scale
        self._least = np.flatnonzero(rows.lower > 0)
        self._cuts: list[sparse.csr_array] = []
        self._floors: list[FloatArray] = []

    def add(self, plans: Pass) -> None:
        """Add the cuts of one pass: theta[g] + usage[g]' member' price >= gain[g]."""
        group, place, requests = plans.entries()
        n = plans.gain.size
        shape = (n, self._rows.member.shape[1])
        usage = sparse.csr_array((requests, (group, place)), shape=shape) @ self._rows.member.T
        usage *= self._price_scale / self._value_scale
        cuts = sparse.hstack((usage, -usage[:, self._least], sparse.eye_array(n)), format="csr")
        used = np.flatnonzero((plans.gain > 0) | (np.diff(usage.indptr) > 0))
        self._cuts.append(cuts[used])
        self._floors.append(plans.gain[used] / self._value_scale)

    def propose(self, low: FloatArray, high: FloatArray) -> tuple[FloatArray, float]:
        """Return the model's best prices (R,) inside the box, and the model's value there.

        Without the box the value is a lower bound on the least upper bound that prices can prove.
        """
        low, high = low / self._price_scale, high / self._price_scale
        values = np.zeros(self._rows.n_windows)
        lower = np.concatenate((low.clip(0), (-high[self._least]).clip(0), values))
        upper = np.concatenate((high.clip(0), (-low[self._least]).clip(0), values + np.inf))
        floors = np.concatenate(self._floors)
        cuts = sparse.vstack(self._cuts, format="csr")
        objective = self._objective()
        programme = Programme(objective, lower, upper, cuts, floors, np.full(floors.size, np.inf))
        found = solve_linear(programme).values
        prices = np.clip(found, lower, upper)[: self._rows.count]
        prices[self._least] -= found[self._rows.count :][: self._least.size]
        return np.clip(prices, low, high) * self._price_scale, float(
            objective @ found
        ) * self._value_scale

    def _objective(self) -> FloatArray:
        """Return the costs of prices and values; they follow the rows' bounds, which may move."""
        rows, scale = self._rows, self._price_scale / self._value_scale
        upper = np.where(rows.limited, rows.upper, 0.0) * scale
        lower = rows.lower[self._least] * scale
        return np.concatenate((upper, -lower, np.ones(rows.n_windows)))
