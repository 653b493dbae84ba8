"""Qini curve, its area, AUUC and uplift at k."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.curves.drawn import Drawn
from uplift.curves.reading import area_above_chance, on_grid
from uplift.curves.state import CurveState
from uplift.errors import InputError

__all__ = ["PERCENTS", "QiniCurve", "qini_curve"]

#: The k of uplift at k.
PERCENTS = (5, 10, 20, 30, 50)
_GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class QiniCurve:
    """Gain from giving an arm to the best share of decision points.

    ``curve_a - curve_b`` of two scores on the same rows is their difference with paired intervals:
    the same draws, so that what both share by chance cancels.

    Attributes
    ----------
    share : (101,) share of the points that get the arm, 0 .. 1
    gain : (101,) outcome gained per decision point of all: ``Q(share)``
    lower, upper : (101,) ends of the pointwise intervals
    area : ``integral of Q(s) - s Q(1) ds``, the area above random targeting; same unit
    auuc : ``integral of Q(s) ds``, the whole area; ``area + Q(1) / 2``
    uplift_at : for each percentage k, ``Q(k) / k``: the mean uplift among the best k %
    """

    share: FloatArray
    gain: FloatArray
    lower: FloatArray
    upper: FloatArray
    area: Estimate
    auuc: Estimate
    uplift_at: dict[int, Estimate]
    _drawn: Drawn = field(repr=False, compare=False)

    @classmethod
    def of(cls, state: CurveState, percents: tuple[int, ...] = PERCENTS) -> "QiniCurve":
        """Read the curve off a state; see `qini_curve`."""
        if not all(0 < k <= 100 for k in percents):
            raise InputError(f"uplift at k takes percentages above 0 up to 100, got {percents}.")
        share, gain = state.corners[:2]
        area, at = area_above_chance(share, gain), np.array(percents) / 100
        above = on_grid(share, gain, at) / at[:, None]
        values = np.vstack([on_grid(share, gain, _GRID), area, area + gain[-1] / 2, above])
        return cls._from(Drawn(values, state.mass, state.clusters), percents)

    @classmethod
    def _from(cls, drawn: Drawn, percents: tuple[int, ...]) -> "QiniCurve":
        (lower, upper), estimates, n = drawn.interval(), drawn.estimates(), len(_GRID)
        return cls(
            share=_GRID.copy(),
            gain=drawn.values[:n, 0],
            lower=lower[:n],
            upper=upper[:n],
            area=estimates[n],
            auuc=estimates[n + 1],
            uplift_at=dict(zip(percents, estimates[n + 2 :], strict=True)),
            _drawn=drawn,
        )

    def __sub__(self, other: "QiniCurve") -> "QiniCurve":
        if tuple(self.uplift_at) != tuple(other.uplift_at):
            raise InputError("the curves have uplift at different percentages; use the same.")
        return self._from(self._drawn - other._drawn, tuple(self.uplift_at))


def qini_curve(
    score: FloatArray,
    effect: FloatArray,
    cluster: NDArray[Any],
    *,
    weight: FloatArray | None = None,
    percents: tuple[int, ...] = PERCENTS,
    draws: int = 200,
    seed: int = 0,
) -> QiniCurve:
    """Measure how well a score ranks decision points by their uplift.

    ``Q(s) = sum over the best s of the points of w_i effect_i / sum over all of w_i``

    - Normalisation: none; the unit is outcomes per decision point, so ``Q(1)`` is the mean
      effect. The area is AdaRequest's "Qini AUUC" (arXiv 2206.12296) and grf's RATE with QINI
      weighting; 0 is a random score.
    - Ties: points of equal score are taken together, in equal parts.
    - Resolution: beyond 1,000 different scores, that of `ranking_cuts`.
    - Empty arms: cannot occur, every point carries an effect score (see `uplift.effects`).
    - Intervals: half-sample bootstrap of clusters; the ranking is drawn anew with the points, the
      score is taken as given.

    Parameters
    ----------
    score : (n,) predicted uplift; higher is treated first
    effect : (n,) effect scores of the arm over arm 0, not used to fit the score
    cluster : (n,) cluster codes or identifiers
    weight : (n,) sample weights, 0 or more; a weight of 2 is the row twice
    percents : the k of uplift at k
    draws, seed : of the bootstrap; draws are rounded up to a multiple of 64

    Raises
    ------
    InputError
        Shapes differ, there are no rows, a number is not finite, or weights or percentages are
        out of range.
    """
    state = CurveState.of(score, effect, cluster, weight=weight, draws=draws, seed=seed)
    return QiniCurve.of(state, percents)
