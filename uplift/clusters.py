"""Intervals for statistics of sums, when rows of one cluster (user) depend on each other.

Everything measured here is a function of column sums over rows. Summed by cluster first, the sums
of two shards add (a cluster in both is one cluster), and the clusters are the independent units
that an interval needs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from uplift.arrays import FloatArray, IntArray

__all__ = [
    "LEVEL",
    "Estimate",
    "bootstrap",
    "bootstrap_draws",
    "cluster_sums",
    "influence_estimate",
    "ratio_estimate",
    "standard_error",
]

#: Coverage of all intervals.
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval of 95 % coverage, clustered by user."""

    value: float
    lower: float
    upper: float

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers by name."""
        return {"value": self.value, "lower": self.lower, "upper": self.upper}

    def __str__(self) -> str:
        return f"{self.value:.6g} [{self.lower:.6g}, {self.upper:.6g}]"


def cluster_sums(values: FloatArray, cluster: IntArray) -> FloatArray:
    """Sum (n, k) columns by cluster code; returns (clusters, k)."""
    size = int(cluster.max()) + 1
    return np.column_stack([np.bincount(cluster, column, size) for column in values.T])


def ratio_estimate(numerator: FloatArray, denominator: FloatArray, cluster: IntArray) -> Estimate:
    """Estimate a ratio of sums, clustered.

    ``theta = sum_i n_i / sum_i d_i``,
    ``se^2 = G / (G - 1) * sum_c (N_c - theta D_c)^2 / D^2`` over the G clusters' sums N_c, D_c;
    the interval is ``theta +- t(G - 1) se``. With d = 1 this is the mean. A constant ratio has a
    zero-width interval. One cluster alone gives an infinite interval.

    Parameters
    ----------
    numerator, denominator : (n,) rows
    cluster : (n,) codes
    """
    sums = cluster_sums(np.column_stack([numerator, denominator]), cluster)
    sums = sums[np.bincount(cluster) > 0]
    total, count = sums.sum(axis=0), len(sums)
    if total[1] == 0:
        return Estimate(np.nan, -np.inf, np.inf)
    theta = float(total[0] / total[1])
    if count < 2:
        return Estimate(theta, -np.inf, np.inf)
    return influence_estimate(theta, (sums[:, 0] - theta * sums[:, 1]) / total[1])


def influence_estimate(value: float, influence: FloatArray, level: float = LEVEL) -> Estimate:
    """Put an interval about a value from the influence of each cluster on it.

    ``value +- t(G - 1) se``; infinite for one cluster alone, and where the value is no number.

    Parameters
    ----------
    value : the estimate
    influence : (clusters,) what each cluster adds to ``estimate - truth``, to first order
    level : coverage
    """
    if len(influence) < 2 or not np.isfinite(value):
        return Estimate(value, -np.inf, np.inf)
    half = float(student.ppf((1 + level) / 2, len(influence) - 1)) * standard_error(influence)
    return Estimate(value, value - half, value + half)


def standard_error(influence: FloatArray) -> float:
    """``se^2 = G / (G - 1) * sum_c influence_c^2`` over G clusters."""
    count = len(influence)
    return float(np.sqrt(count / max(count - 1, 1) * (influence @ influence)))


def bootstrap(
    sums: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    draws: int,
    seed: int,
    key: NDArray[np.uint64] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper ends of intervals for a statistic of column totals.

    The interval holds the middle 95 % of the drawn statistics (`bootstrap_draws`), stretched about
    the statistic itself by ``t(G - 1) / z`` for the G clusters. One cluster alone gives an infinite
    interval.

    Parameters
    ----------
    sums : (clusters, k) sums by cluster
    statistic : maps (k, draws) totals to (m, draws) statistics
    draws, seed : number of draws and their seed
    key : (clusters,) what each cluster is known by, so that shards draw the same; their numbers
        by default

    Returns
    -------
    two arrays of shape (m,)
    """
    count = len(sums)
    point = statistic(sums.sum(axis=0).reshape(-1, 1))[:, 0]
    if count < 2:
        return np.full_like(point, -np.inf), np.full_like(point, np.inf)
    drawn = bootstrap_draws(sums, statistic, draws, seed, key)
    # Outward to a drawn value: a statistic may be infinite in some draws.
    lower = np.nanquantile(drawn, (1 - LEVEL) / 2, axis=1, method="lower")
    upper = np.nanquantile(drawn, (1 + LEVEL) / 2, axis=1, method="higher")
    level = (1 + LEVEL) / 2
    stretch = student.ppf(level, count - 1) / norm.ppf(level)
    middle = np.where(np.isfinite(point), point, 0.0)
    return middle + stretch * (lower - middle), middle + stretch * (upper - middle)


def bootstrap_draws(
    sums: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    draws: int,
    seed: int,
    key: NDArray[np.uint64] | None = None,
) -> FloatArray:
    """Return a statistic of column totals drawn again and again, (m, draws).

    Every draw weighs each cluster by Poisson(1), by a hash of its key: see `uplift.poisson`.

    Parameters
    ----------
    sums, statistic, draws, seed, key : as in `bootstrap`
    """
    from uplift.poisson import poisson_totals

    known = np.arange(len(sums), dtype=np.uint64) if key is None else key
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw of no cluster has no statistic
        return statistic(poisson_totals(sums, known, draws, seed))
