"""Does a score rank decision points by their gain? Qini curve and uplift at k, with intervals."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from uplift.arrays import FloatArray, IntArray
from uplift.clusters import Estimate, bootstrap
from uplift.errors import InputError

__all__ = ["QiniCurve", "qini_curve"]

_CELLS = 100


@dataclass(frozen=True)
class QiniCurve:
    """Gain from giving an arm to the best share of decision points.

    Attributes
    ----------
    share : (C + 1,) share of the points that get the arm, 0 .. 1
    gain : (C + 1,) outcome gained per decision point of all: ``Q(share)``
    lower, upper : (C + 1,) ends of the pointwise intervals
    area : ``integral of Q(s) - s Q(1) ds``, the area above random targeting; same unit
    uplift_at : for each percentage k, ``Q(k) / k``: the mean uplift among the best k %
    """

    share: FloatArray
    gain: FloatArray
    lower: FloatArray
    upper: FloatArray
    area: Estimate
    uplift_at: dict[int, Estimate]


def qini_curve(
    score: FloatArray,
    effect: FloatArray,
    cluster: IntArray,
    *,
    percents: tuple[int, ...] = (5, 10, 20, 30, 50),
    draws: int = 200,
    seed: int = 0,
) -> QiniCurve:
    """Measure how well a score ranks decision points by their uplift.

    ``Q(s) = 1/n sum over the best s n points of effect_i``

    - Normalisation: none; the unit is outcomes per decision point, so ``Q(1)`` is the mean
      effect. The area is AdaRequest's "Qini AUUC" (arXiv 2206.12296); 0 is a random score.
    - Ties: points of equal score are taken together, in equal parts.
    - Empty arms: cannot occur, every point carries an effect score (see `uplift.effects`).
    - Intervals: Poisson bootstrap of clusters over 100 cells of the ranking; the ranking is drawn
      anew with the points, the score is taken as given.

    Parameters
    ----------
    score : (n,) predicted uplift; higher is treated first
    effect : (n,) effect scores of the arm over arm 0, not used to fit the score
    cluster : (n,) cluster codes
    percents : the k of uplift at k
    draws, seed : of the bootstrap

    Raises
    ------
    InputError
        Shapes differ, there are no rows, or a score or effect is not finite.
    """
    if not score.shape == effect.shape == cluster.shape:
        raise InputError(f"shapes differ: {score.shape}, {effect.shape}, {cluster.shape}.")
    if len(score) == 0:
        raise InputError("there are no rows to rank; use a larger log.")
    if not (np.isfinite(score).all() and np.isfinite(effect).all()):
        raise InputError("scores and effects must be finite.")
    share, gain = _exact_curve(score, effect)
    grid = np.linspace(0, 1, _CELLS + 1)
    at = np.array(percents) / 100
    point = _read(share, gain, grid, at)
    sums, cells = _cell_sums(score, effect, cluster)

    def statistic(totals: FloatArray) -> FloatArray:
        curves = [_cell_curve(column, cells) for column in totals.T]
        return np.column_stack([_read(*curve, grid, at) for curve in curves])

    binned = statistic(np.asarray(sums.sum(axis=0)).reshape(-1, 1))[:, 0]
    lower, upper = (end - binned + point for end in bootstrap(sums, statistic, draws, seed))
    estimates = [Estimate(*map(float, e)) for e in zip(point, lower, upper, strict=True)]
    n = len(grid)
    return QiniCurve(
        grid,
        point[:n],
        lower[:n],
        upper[:n],
        estimates[n],
        dict(zip(percents, estimates[n + 1 :], strict=True)),
    )


def _exact_curve(score: FloatArray, effect: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Corners of the curve: one at the end of each group of equal scores."""
    order = np.argsort(-score, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]
    gain = np.cumsum(effect[order])[ends] / len(score)
    return np.r_[0.0, (ends + 1) / len(score)], np.r_[0.0, gain]


def _read(share: FloatArray, gain: FloatArray, grid: FloatArray, at: FloatArray) -> FloatArray:
    """Curve on the grid, area above random, uplift at k: one vector of statistics."""
    area = np.trapezoid(gain, share) - gain[-1] / 2
    statistics: FloatArray = np.r_[
        np.interp(grid, share, gain), area, np.interp(at, share, gain) / at
    ]
    return statistics


def _cell_sums(
    score: FloatArray, effect: FloatArray, cluster: IntArray
) -> tuple[sparse.csr_array, int]:
    """Effects and rows by cluster and cell of the ranking: (clusters, 2 x cells)."""
    _, group, size = np.unique(-score, return_inverse=True, return_counts=True)
    middle = np.cumsum(size) - size / 2  # points of equal score stay together
    _, cell = np.unique((middle / len(score) * _CELLS).astype(np.int64)[group], return_inverse=True)
    cells = int(cell.max()) + 1
    rows = np.r_[cluster, cluster]
    values = np.r_[effect, np.ones(len(effect))]
    return sparse.coo_array((values, (rows, np.r_[cell, cell + cells]))).tocsr(), cells


def _cell_curve(totals: FloatArray, cells: int) -> tuple[FloatArray, FloatArray]:
    effect, rows = totals[:cells], totals[cells:]
    n = rows.sum()
    return np.r_[0.0, np.cumsum(rows) / n], np.r_[0.0, np.cumsum(effect) / n]
