"""Gain against what it costs: the cost curve and its area."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.curves.drawn import Drawn
from uplift.curves.reading import on_grid
from uplift.curves.state import CurveState

__all__ = ["CostCurve", "cost_curve"]

_GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class CostCurve:
    """Gain and spend as an arm goes to more and more of the best points.

    ``curve_a - curve_b`` of two scores on the same rows is their difference, with paired intervals.

    Attributes
    ----------
    share : (101,) share of the points that get the arm
    spend : (101,) cost per decision point of all
    gain : (101,) outcome gained per decision point of all
    lower, upper : (101,) ends of the pointwise intervals of the gain
    aucc : area under the gain over the spend, as a share of the rectangle; 0.5 is a random score
    """

    share: FloatArray
    spend: FloatArray
    gain: FloatArray
    lower: FloatArray
    upper: FloatArray
    aucc: Estimate
    _drawn: Drawn = field(repr=False, compare=False)

    @classmethod
    def of(cls, state: CurveState) -> "CostCurve":
        """Read the curve off a state; see `cost_curve`.

        Raises
        ------
        InputError
            The state was made without a cost.
        """
        share, gain, spend = state.priced_corners()
        ends = Drawn(np.vstack([gain[-1], spend[-1]]), state.mass, state.clusters)
        aucc = _aucc(np.trapezoid(gain, spend, axis=0), ends)
        grids = [on_grid(share, column, _GRID) for column in (spend, gain)]
        return cls._from(Drawn(np.vstack([*grids, aucc]), state.mass, state.clusters))

    @classmethod
    def _from(cls, drawn: Drawn) -> "CostCurve":
        (lower, upper), n = drawn.interval(), len(_GRID)
        spend, gain = drawn.values[:-1, 0].reshape(2, n)
        aucc = drawn.estimates()[-1]
        return cls(_GRID.copy(), spend, gain, lower[n:-1], upper[n:-1], aucc, drawn)

    def __sub__(self, other: "CostCurve") -> "CostCurve":
        return self._from(self._drawn - other._drawn)


def cost_curve(
    score: FloatArray,
    effect: FloatArray,
    cost: FloatArray,
    cluster: NDArray[Any],
    *,
    weight: FloatArray | None = None,
    draws: int = 200,
    seed: int = 0,
) -> CostCurve:
    """Measure how cheaply a score buys its gain.

    ``AUCC = integral of G dS / (G(1) S(1))`` along the ranking, with
    ``G(s), S(s) = sum over the best s of the points of w_i effect_i, w_i cost_i / sum of all w_i``

    - Normalisation: by the rectangle that the end of the curve spans, so a random score has 0.5 and
      the number has no unit (Du et al., PMLR 104, 2019). It means little where either end may be 0:
      where the interval of an end holds 0, the interval of AUCC is infinite.
    - Ties: points of equal score are taken together, in equal parts.
    - Resolution: beyond 1,000 different scores, that of `ranking_cuts`.
    - Empty arms: cannot occur, every point carries an effect score.
    - Intervals: half-sample bootstrap of clusters; that of AUCC by the delta method, from the draws
      of ``area - AUCC x rectangle``.

    For arms of known costs that are given only where a gain is predicted, see `multi_arm_curve`.

    Parameters
    ----------
    score : (n,) what the points are ranked by, such as predicted uplift per cost
    effect : (n,) effect scores of the outcome
    cost : (n,) what giving the arm costs: known, or effect scores of a cost that was an outcome too
    cluster, weight, draws, seed : as for `qini_curve`

    Raises
    ------
    InputError
        As `qini_curve` does.
    """
    return CostCurve.of(
        CurveState.of(score, effect, cluster, cost=cost, weight=weight, draws=draws, seed=seed)
    )


def _aucc(area: FloatArray, ends: Drawn) -> FloatArray:
    """Area over rectangle, (1 + draws,); draws are linear in both, so that none is far out."""
    rectangle = ends.values.prod(axis=0)
    if rectangle[0] == 0:
        return np.full_like(area, np.nan)
    ratio = area[0] / rectangle[0]
    linear: FloatArray = ratio + (area - ratio * rectangle) / rectangle[0]
    if any(end.lower <= 0 <= end.upper for end in ends.estimates()):
        linear[1:] = np.nan
    return linear
