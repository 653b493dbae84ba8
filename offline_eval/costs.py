"""What the requests of a policy cost, jointly with what they gain."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from offline_eval.intervals.moments import RatioMoments
from offline_eval.intervals.ratios import Ratio, RatioSums
from uplift.arrays import FloatArray, IntArray
from uplift.clusters import LEVEL, Estimate
from uplift.errors import InputError

__all__ = ["Spend", "fieller", "gain_per_request", "spend_of"]


@dataclass(frozen=True)
class Spend:
    """Requests per decision point against a budget.

    Attributes
    ----------
    requests : requests per decision point
    budget : requests per decision point that there may be
    over : probability that the mean spend exceeds the budget
    """

    requests: Estimate
    budget: float
    over: float


def spend_of(spent: FloatArray, cluster: IntArray, budget: float, users: float = np.inf) -> Spend:
    """Judge a policy's spend against a budget.

    ``over = P(T > (budget - mean) / sqrt(se^2 + se^2 G / users))``, with the clustered standard
    error se of G users, and T of Student's t with G - 1 degrees of freedom: what is not known of
    the mean, and the luck of as many future users as `users`.

    Parameters
    ----------
    spent : (n,) requests that the policy spends, ``pi @ arm_cost``
    cluster : (n,) codes
    budget : requests per decision point
    users : future users that the spend is of; by default so many that luck plays no part

    Raises
    ------
    InputError
        The budget is no number of 0 or more, or there are no future users.
    """
    if not (budget >= 0 and users > 0):
        raise InputError(
            f"budget is {budget} and users {users}; expected requests per decision point of 0 or "
            "more, and at least one user."
        )
    sums = RatioSums.of((Ratio(spent),), cluster)
    requests, count = sums.estimate(), len(sums.cluster)
    if count < 2:
        return Spend(requests, budget, 0.5)
    spread = float(np.sqrt(sums.error**2 * (1 + count / users)))
    off = budget - requests.value
    if spread == 0:
        return Spend(requests, budget, float(off < 0))
    return Spend(requests, budget, float(student.sf(off / spread, count - 1)))


def gain_per_request(gained: FloatArray, spent: FloatArray, cluster: IntArray) -> Estimate:
    """Return the outcome gained per request, with Fieller's interval, clustered.

    Parameters
    ----------
    gained, spent : (n,) rows of gain (`gain_rows`) and of requests
    cluster : (n,) codes
    """
    return fieller(RatioSums.of((Ratio(gained, spent),), cluster))


def fieller(sums: RatioSums | RatioMoments, level: float = LEVEL) -> Estimate:
    """Return a ratio with the interval of all values that the data do not reject.

    ``{theta : (N - theta D)^2 <= t^2 var(N - theta D)}`` for the sums N, D of the clusters: a
    quadratic in theta. Unlike the interval of the influence function it holds where the
    denominator is nearly nothing: there it is the whole line. Source: Fieller 1954.

    Parameters
    ----------
    sums : the state of one ratio
    level : coverage

    Raises
    ------
    InputError
        The state is not of one ratio.
    """
    if len(sums.sign) != 1:
        raise InputError(f"Fieller's interval needs one ratio; the state has {len(sums.sign)}.")
    state = sums if isinstance(sums, RatioMoments) else RatioMoments.of(sums)
    count, value = state.count, state.value
    if count < 2 or not np.isfinite(value):
        return Estimate(value, -np.inf, np.inf)
    n, d = state.total
    (nn, nd), (_, dd) = state.spread * (count / (count - 1))
    t2 = float(student.ppf((1 + level) / 2, count - 1)) ** 2
    a, b, c = d * d - t2 * dd, n * d - t2 * nd, n * n - t2 * nn
    if a <= 0:  # the denominator may be 0: any ratio, however large, may be true
        return Estimate(value, -np.inf, np.inf)
    root = float(np.sqrt(max(b * b - a * c, 0.0)))
    return Estimate(value, (b - root) / a, (b + root) / a)
