"""Rows in bins of a score, and what each bin holds on average."""

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.clusters import Estimate, ratio_estimate
from uplift.errors import InputError

__all__ = ["bin_estimates", "bin_means", "quantile_bins"]


def quantile_bins(values: FloatArray, n_bins: int, weight: FloatArray | None = None) -> IntArray:
    """Return the bin of each row, 0 .. B - 1 from the least values to the greatest.

    ``bin_i = floor(n_bins * m_i)`` with ``m_i = (W(v < v_i) + W(v <= v_i)) / (2 W)``, W the weight
    of the rows named; bins that no row falls into are left out, so B <= n_bins.

    Rows of equal value stay together, so bins are of unequal weight where there are many ties, and
    a constant value makes one bin.

    Parameters
    ----------
    values : (n,) finite values
    n_bins : most bins, at least 1
    weight : (n,) weights >= 0; all 1 by default

    Raises
    ------
    InputError
        There are no rows, no weight, a value that is not finite, or fewer than 1 bin.
    """
    if n_bins < 1:
        raise InputError(f"n_bins is {n_bins}; expected at least 1.")
    if len(values) == 0 or not np.isfinite(values).all():
        raise InputError("bins need at least one value, and all of them finite.")
    rows = np.ones(len(values)) if weight is None else weight
    if rows.shape != values.shape or not (np.isfinite(rows) & (rows >= 0)).all() or not rows.any():
        raise InputError(f"weight must be {values.shape} finite numbers >= 0, not all of them 0.")
    _, group = np.unique(values, return_inverse=True)
    size = np.bincount(group, rows)
    middle = np.cumsum(size) - size / 2
    place = np.minimum(middle / size.sum() * n_bins, n_bins - 1).astype(np.int64)
    _, bins = np.unique(place[group], return_inverse=True)
    return bins


def bin_means(values: FloatArray, bins: IntArray, weight: FloatArray | None = None) -> FloatArray:
    """Return the (B,) means of rows by bin: ``sum w v / sum w``."""
    rows = np.ones(len(values)) if weight is None else weight
    means: FloatArray = np.bincount(bins, rows * values) / np.bincount(bins, rows)
    return means


def bin_estimates(
    values: FloatArray, bins: IntArray, cluster: IntArray, weight: FloatArray | None = None
) -> tuple[Estimate, ...]:
    """Return the mean of each bin with its interval, clustered.

    The bins are taken as given; the clusters of a bin are those with rows in it, and a bin of one
    cluster has an infinite interval (see `uplift.clusters.ratio_estimate`).

    Parameters
    ----------
    values : (n,) what is averaged
    bins : (n,) bins 0 .. B - 1, as from `quantile_bins`
    cluster : (n,) cluster codes
    weight : (n,) weights >= 0; all 1 by default
    """
    rows = np.ones(len(values)) if weight is None else weight
    chosen = (bins == b for b in range(int(bins.max()) + 1))
    return tuple(ratio_estimate((rows * values)[c], rows[c], cluster[c]) for c in chosen)
