"""Poisson bootstrap: each cluster counts Poisson(1) times in a draw, by a hash of who it is.

The weight depends on the cluster's identifier, the draw and the seed alone, so shards that are
summed apart draw the same, in any order and on any number of threads.

Source: Chamandy et al., Estimating uncertainty for massive data streams (Google, 2012).
"""

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from uplift.arrays import FloatArray

__all__ = ["poisson_totals"]

BLOCK = 64
"""Draws that one pass over the clusters sums up; four weights come from one hash."""

_BITS = 16


def _weights() -> NDArray[np.uint8]:
    """Poisson(1) weight by 16 uniform bits: the quantile function at the middle of each cell."""
    chances = np.exp(-1.0) / np.cumprod(np.r_[1.0, np.arange(1.0, 20.0)])
    middle = (np.arange(1 << _BITS) + 0.5) / (1 << _BITS)
    return np.searchsorted(np.cumsum(chances), middle).astype(np.uint8)


_WEIGHT = _weights()


def poisson_totals(sums: FloatArray, key: NDArray[np.uint64], draws: int, seed: int) -> FloatArray:
    """Return ``totals[k, b] = sum_c weight[c, b] sums[c, k]``, weights Poisson(1).

    Parameters
    ----------
    sums : (clusters, k) float64
    key : (clusters,) what each cluster is known by
    draws, seed : number of draws, and what tells theirs from others

    Returns
    -------
    (k, draws) float64
    """
    blocks = -(-draws // BLOCK)
    totals = np.zeros((blocks, BLOCK, sums.shape[1]))
    _sum(np.ascontiguousarray(sums), key, np.uint64(seed % 2**64), _WEIGHT, totals)
    drawn: FloatArray = totals.reshape(blocks * BLOCK, -1)[:draws].T
    return np.ascontiguousarray(drawn)


@njit(nogil=True, cache=True)
def _mix(z: Any) -> Any:
    """Finalise as splitmix64 does."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True, parallel=True)
def _sum(
    sums: FloatArray,
    key: NDArray[np.uint64],
    seed: Any,
    table: NDArray[np.uint8],
    totals: FloatArray,
) -> None:
    words = BLOCK // 4
    for block in prange(totals.shape[0]):
        salt = np.empty(words, dtype=np.uint64)
        for word in range(words):
            salt[word] = _mix(seed ^ _mix(np.uint64(block * words + word)))
        for c in range(sums.shape[0]):
            for word in range(words):
                bits = _mix(key[c] ^ salt[word])
                for part in range(4):
                    weight = table[bits & np.uint64(0xFFFF)]
                    bits = bits >> np.uint64(16)
                    if weight > 0:
                        for k in range(sums.shape[1]):
                            totals[block, 4 * word + part, k] += weight * sums[c, k]
