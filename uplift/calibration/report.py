"""Is uplift of the right size? Bins, calibration slope and calibration error, with intervals."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.bins import quantile_bins
from uplift.calibration.length import length_estimate
from uplift.calibration.rows import Rows, checked_rows
from uplift.clusters import Estimate, cluster_sums, ratio_estimate
from uplift.errors import InputError
from uplift.plain import to_plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CalibrationBin",
    "CalibrationChange",
    "CalibrationReport",
    "calibration_change",
    "calibration_report",
]


@dataclass(frozen=True)
class CalibrationBin:
    """Decision points of similar prediction.

    Attributes
    ----------
    points : number of decision points
    share : their part of all weight
    predicted : mean predicted uplift
    effect : mean effect score
    """

    points: int
    share: float
    predicted: float
    effect: Estimate


@dataclass(frozen=True)
class CalibrationReport:
    """How well predicted uplift agrees with the effect; see `calibration_report`."""

    bins: tuple[CalibrationBin, ...]
    slope: Estimate
    intercept: Estimate
    error: Estimate

    def to_frame(self) -> "pd.DataFrame":
        """Return one row a bin: points, share, predicted, effect, lower, upper."""
        import pandas as pd

        columns = ["points", "share", "predicted", "effect", "lower", "upper"]
        rows = [
            (b.points, b.share, b.predicted, b.effect.value, b.effect.lower, b.effect.upper)
            for b in self.bins
        ]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: ``bins``, and estimates ``slope``, ``intercept``, ``error``."""
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True)
class CalibrationChange:
    """Predictions before and after calibration, in the same bins; see `calibration_change`."""

    before: CalibrationReport
    after: CalibrationReport

    def to_frame(self) -> "pd.DataFrame":
        """Return one row a bin: points, share, before, after, effect, lower, upper."""
        frame = self.before.to_frame().rename(columns={"predicted": "before"})
        frame.insert(3, "after", [b.predicted for b in self.after.bins])
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the two reports by name."""
        return {"before": self.before.to_dict(), "after": self.after.to_dict()}


def calibration_report(
    uplift: FloatArray,
    effect: FloatArray,
    cluster: IntArray,
    *,
    weight: FloatArray | None = None,
    bins: int = 10,
) -> CalibrationReport:
    """Measure how well predicted uplift agrees with the effect.

    - ``slope, intercept``: least squares of ``effect = intercept + slope x uplift`` (best linear
      predictor). Calibrated predictions have 1 and 0; a slope below 1 means that predictions are
      spread too wide, 0 that they say nothing. Intervals by t over the clusters' influence.
      Predictions that are all the same have no slope: NaN with an infinite interval.
    - ``error``: expected calibration error of second order, ``sqrt(sum_k p_k D_k^2)`` over the
      bins' shares p_k and their expected gaps D_k of effect to uplift, in units of uplift. Taken
      bare, ``Q = sum_k p_k d_k^2`` of the gaps d that are seen is too large by their noise; the
      value is ``sqrt(max(0, Q - sum_k p_k V_kk))``, V the clustered covariance of d, and is 0 where
      less is found than noise makes. What varies inside a bin is not seen: the error of single
      predictions is at least this. The interval is that of `uplift.calibration.length`, one-sided
      near 0; it takes d to be normal and V to be known: think of a hundred clusters or more.

    Bins are cut at quantiles of `uplift`, equal predictions stay together; there may be fewer than
    asked for. Rows must not have been used to fit the predictions, nor their calibration.

    Parameters
    ----------
    uplift : (n,) predicted uplift of one arm
    effect : (n,) doubly robust scores of that arm's effect
    cluster : (n,) cluster codes; one cluster alone gives infinite intervals and an error with
        its noise in it
    weight : (n,) weights of the rows; 1 by default
    bins : at most so many

    Raises
    ------
    InputError
        Shapes differ, there are no rows, numbers are not finite, or there is less than one bin.

    References
    ----------
    Xu and Yadlowsky, Calibration error for heterogeneous treatment effects, AISTATS 2022 (arXiv
    2203.13364): the second-order error by doubly robust scores, without the noise's part.
    """
    rows = _checked(uplift, effect, cluster, weight, bins)
    return _report(rows, quantile_bins(rows.uplift, bins, rows.weight))


def calibration_change(
    before: FloatArray,
    after: FloatArray,
    effect: FloatArray,
    cluster: IntArray,
    *,
    weight: FloatArray | None = None,
    bins: int = 10,
) -> CalibrationChange:
    """Report on predictions before and after calibration, in the bins of those before.

    The rows must be new to the calibration, or after is flattered. Parameters and errors as in
    `calibration_report`.
    """
    old = _checked(before, effect, cluster, weight, bins)
    new = _checked(after, effect, cluster, weight, bins)
    code = quantile_bins(old.uplift, bins, old.weight)
    return CalibrationChange(_report(old, code), _report(new, code))


def _checked(
    uplift: FloatArray,
    effect: FloatArray,
    cluster: IntArray,
    weight: FloatArray | None,
    bins: int,
) -> Rows:
    if uplift.ndim != 1:
        raise InputError(f"uplift has shape {uplift.shape}; expected (n,), one arm at a time.")
    if bins < 1:
        raise InputError(f"bins is {bins}; expected at least 1.")
    return checked_rows(uplift, effect, cluster, weight)


def _report(rows: Rows, code: IntArray) -> CalibrationReport:
    share = np.bincount(code, rows.weight) / rows.weight.sum()
    return CalibrationReport(
        tuple(_bin(Rows(*(v[code == k] for v in rows)), float(p)) for k, p in enumerate(share)),
        *_line(rows),
        _error(rows, code, share),
    )


def _bin(rows: Rows, share: float) -> CalibrationBin:
    predicted = float(np.average(rows.uplift, weights=rows.weight))
    effect = ratio_estimate(rows.weight * rows.effect, rows.weight, rows.cluster)
    return CalibrationBin(len(rows.weight), share, predicted, effect)


def _line(rows: Rows) -> tuple[Estimate, Estimate]:
    """Return slope and intercept, each as a ratio whose residuals are the least-squares ones."""
    u, e, cluster, w = rows
    if np.ptp(u) == 0:
        unknown = Estimate(np.nan, -np.inf, np.inf)
        return unknown, unknown
    apart = u - np.average(u, weights=w)
    slope = ratio_estimate(w * apart * (e - np.average(e, weights=w)), w * apart**2, cluster)
    of_one = 1 - u * (w @ u) / (w @ u**2)  # what u does not explain of the constant
    return slope, ratio_estimate(w * of_one * (e - slope.value * u), w * of_one, cluster)


def _error(rows: Rows, code: IntArray, share: FloatArray) -> Estimate:
    """Return the debiased second-order calibration error."""
    gap, covariance = _gaps(rows, code)
    scale = np.sqrt(share)
    if covariance is None:
        return Estimate(float(np.linalg.norm(scale * gap)), 0.0, np.inf)
    return length_estimate(scale * gap, scale[:, None] * covariance * scale)


def _gaps(rows: Rows, code: IntArray) -> tuple[FloatArray, FloatArray | None]:
    """Return each bin's mean of effect - uplift; their covariance, if there are two clusters."""
    present, cluster = np.unique(rows.cluster, return_inverse=True)
    count, bins = len(present), int(code.max()) + 1
    columns = np.column_stack([rows.weight * (rows.effect - rows.uplift), rows.weight])
    sums = cluster_sums(columns, cluster * bins + code)
    sums = np.pad(sums, ((0, count * bins - len(sums)), (0, 0))).reshape(count, bins, 2)
    difference, weight = sums[..., 0], sums[..., 1]
    total = weight.sum(axis=0)
    gap = difference.sum(axis=0) / total
    if count < 2:
        return gap, None
    influence = (difference - gap * weight) / total
    return gap, count / (count - 1) * influence.T @ influence
