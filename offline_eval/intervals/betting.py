"""A bound by betting: evidence against a mean is what a gambler would have won against it."""

import numpy as np
from scipy.optimize import brentq

from uplift.arrays import FloatArray

__all__ = ["betting_lower_bound"]

#: No bet risks more than this share of the wealth.
_MOST = 0.75


def betting_lower_bound(values: FloatArray, level: float = 0.95) -> float:
    """Return a lower bound on a mean by betting that it is larger.

    ``K_n(m) = prod_i (1 + min(lambda_i, c / m) (x_i - m))``, with bets lambda_i made from
    x_1 .. x_(i-1) alone; the bound is the least m with ``K_n(m) < 1 / (1 - level)``. The wealth is
    a martingale under the mean m, so that by Ville's inequality the bound holds at any n, and it
    adapts to the variance; it is tighter than Bernstein's. Source: Waudby-Smith & Ramdas 2024,
    section 4 (fixed-n predictable plug-in bets).

    Parameters
    ----------
    values : (n,) independent, in [0, 1]
    level : probability that the bound holds, in (0, 1)
    """
    if not len(values):
        return 0.0
    bar = float(-np.log(1 - level))
    bets = _bets(values, bar)

    def evidence(mean: float) -> float:
        bet = np.minimum(bets, _MOST / mean)
        return float(np.log1p(bet * (values - mean)).sum()) - bar

    least, most = 1e-12, float(values.mean())
    if most <= least or evidence(least) <= 0:
        return 0.0
    return float(brentq(evidence, least, most, xtol=1e-12, rtol=1e-10))


def _bets(values: FloatArray, bar: float) -> FloatArray:
    """``sqrt(2 log(1/delta) / (n sigma^2_(i-1)))``, the variance regularised to start at 1/4."""
    n = len(values)
    place = np.arange(1, n + 1)
    mean = (0.5 + np.cumsum(values)) / (place + 1)
    spread = (0.25 + np.cumsum((values - mean) ** 2)) / (place + 1)
    before = np.r_[0.25, spread[:-1]]
    bets: FloatArray = np.sqrt(2 * bar / (n * before))
    return bets
