"""Folds by user."""

from collections.abc import Iterator

import numpy as np

from uplift.arrays import BoolArray, IntArray
from uplift.hashing import hash_uniform

__all__ = ["fold_masks", "fold_of"]

#: Folds hash by other seeds than splits do, or a split's users would crowd in a few folds.
_FOLDS = 1 << 40


def fold_of(groups: np.ndarray, n_folds: int, seed: int) -> IntArray:
    """Return the fold of each row, (n,) in 0 .. n_folds - 1; a group is never divided."""
    return (hash_uniform(groups, seed + _FOLDS) * n_folds).astype(np.int16)


def fold_masks(folds: IntArray) -> Iterator[BoolArray]:
    """Yield, fold by fold, which rows are held out; empty folds are left out."""
    for fold in np.unique(folds):
        yield folds == fold
