"""Totals of a log and of its half samples, cell by cell, in one pass over the rows.

A draw keeps each cluster with probability 1/2, all its rows or none. The spread of a statistic
over such half samples is that of the statistic itself (to first order, as for any weights of
mean 1 and variance 1; grf's half-sample bootstrap with a size that is drawn too). One bit says
whether a cluster is kept, and the bits are a hash of seed and cluster, so that

- no draw is stored: the memory is cells x draws, whatever the number of rows or clusters;
- a cluster is kept or left out the same way in every shard and for every model;
- the result does not depend on the number of threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from uplift.arrays import FloatArray, IntArray
from uplift.hashing import hash_uniform

__all__ = ["WORD", "cluster_keys", "half_sample_totals"]

#: Draws that one hash decides.
WORD = 64
_SALT = 0x68616C66  # other bits than those that split a log by the same seed
_CHUNK = 1 << 20
_MOST_TASKS, _TASK_ROWS = 64, 1 << 13
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def cluster_keys(cluster: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """Return a hash of 53 bits for the identifier of each row's cluster, (n,)."""
    keys = np.empty(len(cluster), dtype=np.uint64)
    for first in range(0, len(cluster), _CHUNK):
        part = slice(first, first + _CHUNK)
        keys[part] = hash_uniform(cluster[part], seed ^ _SALT) * 2.0**53
    return keys


def half_sample_totals(
    start: IntArray, order: IntArray, key: NDArray[np.uint64], values: FloatArray, words: int
) -> FloatArray:
    """Sum columns by cell for the log and for each draw.

    Parameters
    ----------
    start : (C + 1,) where each cell begins in `order`; rows order[start[c]:start[c + 1]] are cell c
    order : (n,) rows by cell
    key : (n,) keys of the rows' clusters
    values : (n, K) what is summed
    words : number of draws / 64

    Returns
    -------
    (K, C, 1 + draws) : totals of the log, then of the draws
    """
    cells, columns = len(start) - 1, values.shape[1]
    totals = np.zeros((cells, columns, 1 + words * WORD))
    tasks = min(cells, _MOST_TASKS, 1 + len(order) // _TASK_ROWS)
    bounds = np.linspace(0, cells, tasks + 1).astype(np.int64)

    def add(first: int, last: int) -> None:
        _add_cells(first, last, start, order, key, values, totals)

    if tasks == 1:
        add(0, cells)
    else:
        with ThreadPoolExecutor(_cores()) as pool:
            list(pool.map(add, bounds[:-1], bounds[1:]))
    return np.ascontiguousarray(totals.transpose(1, 0, 2))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@njit(nogil=True, cache=True)
def _add_cells(
    first: int,
    last: int,
    start: IntArray,
    order: IntArray,
    key: NDArray[np.uint64],
    values: FloatArray,
    totals: FloatArray,
) -> None:
    """Add the rows of cells first..last-1 to totals (C, K, 1 + draws)."""
    for cell in range(first, last):
        for place in range(start[cell], start[cell + 1]):
            row = order[place]
            for column in range(values.shape[1]):
                totals[cell, column, 0] += values[row, column]
            state = key[row]
            for word in range(1, totals.shape[2], 64):
                state += _GOLDEN
                bits = _mix(state)
                for column in range(values.shape[1]):
                    _add_bits(totals[cell, column, word : word + 64], values[row, column], bits)


@njit(nogil=True, cache=True, inline="always")
def _add_bits(kept: FloatArray, value: float, bits: np.uint64) -> None:
    """Add a value to the draws whose bit is set; without a branch, so that it vectorises."""
    for bit in range(64):
        kept[bit] += value * np.float64(np.int64((bits >> np.uint64(bit)) & np.uint64(1)))


@njit(nogil=True, cache=True, inline="always")
def _mix(z: np.uint64) -> np.uint64:
    """Return the splitmix64 finaliser of z."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
