"""Cells of a ranking: the resolution that a curve's totals are kept at."""

import numpy as np

from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["ranking_cuts"]

_THOUSANDTHS = np.arange(1, 1000)
_QUARTER_OCTAVES = 2.0 ** -(7 + np.arange(80) / 4)


def ranking_cuts(score: FloatArray) -> FloatArray:
    """Return the scores that part a ranking into cells, best first.

    Cell j holds the scores s with ``cuts[j] <= s < cuts[j - 1]``. The cuts are the scores at every
    thousandth of the points and, in the best 1 %, where AUTOC looks closest, at shares that fall by
    a factor of 2^(1/4). Equal scores are never parted. Up to 1,000 different scores each have a
    cell of their own, and every reading is exact; beyond, points of one cell are taken in equal
    parts. That leaves gain and uplift at whole percents exact to within a row, if rows weigh the
    same. Area and AUTOC lose a millionth of themselves where the effect is linear in the rank,
    1e-5 and 1e-4 where it is very steep: at a million rows below 1 % of a half-width.

    Parameters
    ----------
    score : (n,) scores, or those of a sample when the cuts are for a log larger than memory

    Raises
    ------
    InputError
        There are no scores, or one is not finite.
    """
    if len(score) == 0 or not np.isfinite(score).all():
        raise InputError("a ranking is cut at finite scores; got none, or some that are not.")
    return sorted_cuts(np.sort(-np.asarray(score, dtype=np.float64)))


def sorted_cuts(negative: FloatArray) -> FloatArray:
    """Cuts of a ranking given as ascending negative scores."""
    n = len(negative)
    last = negative[1:] > negative[:-1]  # of a group of equal scores
    if np.count_nonzero(last) < len(_THOUSANDTHS):
        return -negative[:-1][last]
    best = np.ceil(_QUARTER_OCTAVES * n).astype(np.int64)
    return -np.unique(negative[np.r_[best, -(-_THOUSANDTHS * n // 1000)] - 1])
