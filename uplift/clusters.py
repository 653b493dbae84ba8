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

__all__ = ["LEVEL", "Estimate", "bootstrap", "cluster_sums", "ratio_estimate"]

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
    residual = sums[:, 0] - theta * sums[:, 1]
    error = float(np.sqrt(count / (count - 1) * (residual @ residual)) / abs(total[1]))
    half = float(student.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Estimate(theta, theta - half, theta + half)


def bootstrap(
    sums: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    draws: int,
    seed: int,
    key: NDArray[np.uint64] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper ends of intervals for a statistic of column totals.

    Clusters are drawn by Poisson(1) weights; the interval holds the middle 95 % of the drawn
    statistics, stretched about the statistic itself by ``t(G - 1) / z`` for the G clusters. One
    cluster alone gives an infinite interval.

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
    from uplift.poisson import poisson_totals

    count = len(sums)
    point = statistic(sums.sum(axis=0).reshape(-1, 1))[:, 0]
    if count < 2:
        return np.full_like(point, -np.inf), np.full_like(point, np.inf)
    known = np.arange(count, dtype=np.uint64) if key is None else key
    with np.errstate(invalid="ignore"):  # a draw of no cluster at all has no statistic
        drawn = statistic(poisson_totals(sums, known, draws, seed))
    # Outward to a drawn value: a statistic may be infinite in some draws.
    lower = np.nanquantile(drawn, (1 - LEVEL) / 2, axis=1, method="lower")
    upper = np.nanquantile(drawn, (1 + LEVEL) / 2, axis=1, method="higher")
    level = (1 + LEVEL) / 2
    stretch = student.ppf(level, count - 1) / norm.ppf(level)
    middle = np.where(np.isfinite(point), point, 0.0)
    return middle + stretch * (lower - middle), middle + stretch * (upper - middle)
