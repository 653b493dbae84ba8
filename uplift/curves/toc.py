"""Targeting operator characteristic with its two summaries, AUTOC and QINI."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.curves.drawn import Drawn
from uplift.curves.reading import area_above_chance, autoc, on_grid
from uplift.curves.state import CurveState

__all__ = ["TocCurve", "toc_curve"]

_GRID = np.linspace(0.01, 1, 100)


@dataclass(frozen=True)
class TocCurve:
    """How much larger the mean effect is among the best share of points than among all.

    ``curve_a - curve_b`` of two scores on the same rows is their difference, with paired intervals.

    Attributes
    ----------
    share : (100,) 0.01 .. 1
    toc : (100,) ``TOC(share)``, outcomes per decision point that gets the arm
    lower, upper : (100,) ends of the pointwise intervals
    autoc : ``integral of TOC(s) ds``: most weight on the very best
    qini : ``integral of s TOC(s) ds``: the area above random of the Qini curve
    """

    share: FloatArray
    toc: FloatArray
    lower: FloatArray
    upper: FloatArray
    autoc: Estimate
    qini: Estimate
    _drawn: Drawn = field(repr=False, compare=False)

    @classmethod
    def of(cls, state: CurveState) -> "TocCurve":
        """Read the curve off a state; see `toc_curve`."""
        share, gain = state.corners[:2]
        toc = on_grid(share, gain, _GRID) / _GRID[:, None] - gain[-1]
        values = np.vstack([toc, autoc(share, gain), area_above_chance(share, gain)])
        return cls._from(Drawn(values, state.mass, state.clusters))

    @classmethod
    def _from(cls, drawn: Drawn) -> "TocCurve":
        (lower, upper), toc = drawn.interval(), drawn.values[:-2, 0]
        area_autoc, area_qini = drawn.estimates()[-2:]
        return cls(_GRID.copy(), toc, lower[:-2], upper[:-2], area_autoc, area_qini, drawn)

    def __sub__(self, other: "TocCurve") -> "TocCurve":
        return self._from(self._drawn - other._drawn)


def toc_curve(
    score: FloatArray,
    effect: FloatArray,
    cluster: NDArray[Any],
    *,
    weight: FloatArray | None = None,
    draws: int = 200,
    seed: int = 0,
) -> TocCurve:
    """Measure a prioritisation rule as Yadlowsky et al. do (arXiv 2111.07966), grf's RATE.

    ``TOC(s) = Q(s) / s - Q(1)``, ``AUTOC = integral_0^1 TOC(s) ds``,
    ``QINI = integral_0^1 s TOC(s) ds``, with Q as in `qini_curve`

    - Normalisation: none; outcomes per decision point. 0 is a random score.
    - Ties: points of equal score are taken together, in equal parts.
    - Resolution: beyond 1,000 different scores, that of `ranking_cuts`.
    - Empty arms: cannot occur, every point carries an effect score.
    - Intervals: half-sample bootstrap of clusters, as grf's.
    - grf sums TOC at 1/n, 2/n, .. instead of integrating it between, a difference of the order of
      log(n) / n; `uplift.curves.conventions.grf_rate` returns its sum.

    Parameters
    ----------
    score, effect, cluster, weight, draws, seed : as for `qini_curve`

    Raises
    ------
    InputError
        As `qini_curve` does.
    """
    return TocCurve.of(CurveState.of(score, effect, cluster, weight=weight, draws=draws, seed=seed))
