"""Bounds that hold at any sample size, for values known to lie in [0, 1]."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from offline_eval.intervals.betting import betting_lower_bound
from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = ["bernstein_lower_bound", "lower_bound"]


def bernstein_lower_bound(values: FloatArray, level: float = 0.95) -> float:
    """Return a lower bound on a mean by the empirical Bernstein inequality.

    ``mean - sqrt(2 s^2 log(2/delta) / n) - 7 log(2/delta) / (3 (n - 1))``, delta = 1 - level,
    for n independent values in [0, 1] with sample variance s^2. Source: Maurer & Pontil 2009,
    theorem 4.

    Parameters
    ----------
    values : (n,)
    level : probability that the bound holds, in (0, 1)
    """
    n = len(values)
    if n < 2:
        return 0.0
    log = np.log(2 / (1 - level))
    slack = np.sqrt(2 * values.var(ddof=1) * log / n) + 7 * log / (3 * (n - 1))
    return max(0.0, float(values.mean() - slack))


_BOUNDS: dict[str, Callable[[FloatArray, float], float]] = {
    "bernstein": bernstein_lower_bound,
    "betting": betting_lower_bound,
}


def lower_bound(
    values: FloatArray,
    cluster: IntArray,
    *,
    largest: float,
    level: float = 0.95,
    method: Literal["bernstein", "betting"] = "betting",
    seed: int = 0,
) -> float:
    """Return a high-confidence lower bound on the mean of rows that depend inside clusters.

    The rows, such as ``w r`` of IPS with a reward of 0 or more, lie in [0, largest], known before
    the data (``largest reward / least propensity``). Each cluster is one independent value, its
    sum over ``largest x most rows of a cluster``; the bound on their mean is scaled back to a row
    by the mean size. It is the wider the more the sizes differ; the mean size counts as known.

    Parameters
    ----------
    values : (n,)
    cluster : (n,) codes
    largest : what no value exceeds
    level, method : probability that the bound holds; `bernstein` or the tighter `betting`
    seed : betting looks at the clusters in a random order

    Raises
    ------
    InputError
        A value is outside [0, largest], the level outside (0, 1), or the method unknown.
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}; expected a number in (0, 1).")
    if method not in _BOUNDS:
        raise InputError(f"method {method!r} is unknown; choose among {list(_BOUNDS)}.")
    if not (np.isfinite(largest) and largest > 0):
        raise InputError(f"largest is {largest}; expected a finite number above 0.")
    if not ((values >= 0) & (values <= largest)).all():
        raise InputError(f"values must lie in [0, {largest:g}]; largest must hold them all.")
    rows = np.bincount(cluster)
    there = rows > 0
    unit = np.bincount(cluster, values)[there] / (largest * rows.max())
    shuffled = np.random.default_rng(seed).permutation(unit)
    scale = largest * float(rows.max()) / float(rows[there].mean())
    return scale * _BOUNDS[method](shuffled, level)
