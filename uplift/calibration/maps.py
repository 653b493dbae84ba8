"""Monotone maps from predicted uplift to calibrated uplift, one an arm."""

import json
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from scipy.stats import norm
from sklearn.isotonic import isotonic_regression

from uplift.arrays import FloatArray, IntArray
from uplift.calibration.rows import Rows, checked_rows
from uplift.clusters import LEVEL, cluster_sums, ratio_estimate
from uplift.errors import InputError
from uplift.names import CalibrationMethod
from uplift.plain import to_plain

__all__ = ["ArmMap", "UpliftCalibration", "fit_calibration"]


# Chosen by simulation: with fewer events a block the ends run wild, with more the top is
# flattened.
_EVENTS = 25
_FEWEST, _MOST = 4, 100
_REACH = 4.0


@dataclass(frozen=True, eq=False)
class ArmMap:
    """A piecewise linear map that never decreases.

    ``f(u) = linear between the knots (x, y); beyond the first and last knot it goes on with slope``

    Attributes
    ----------
    x, y : (k,) knots, both increasing; predicted and calibrated uplift
    slope : of both ends, at least 0
    events : effective number of events that it was fitted on
    """

    x: FloatArray
    y: FloatArray
    slope: float
    events: float

    def __call__(self, uplift: FloatArray) -> FloatArray:
        """Return calibrated uplift, of the shape of `uplift`."""
        inside = np.clip(uplift, self.x[0], self.x[-1])
        mapped: FloatArray = np.interp(inside, self.x, self.y) + self.slope * (uplift - inside)
        return mapped


@dataclass(frozen=True, eq=False)
class UpliftCalibration:
    """Calibrated uplift of every arm.

    Attributes
    ----------
    method : how the maps were fitted; ``none`` leaves predictions as they are
    maps : one an arm, arm 1 first
    """

    method: CalibrationMethod
    maps: tuple[ArmMap, ...]

    def apply(self, uplift: FloatArray) -> FloatArray:
        """Return calibrated uplift, (n, A), from predicted uplift, (n, A).

        Raises
        ------
        InputError
            The number of arms is not that of the fit.
        """
        if uplift.ndim != 2 or uplift.shape[1] != len(self.maps):
            raise InputError(
                f"uplift has shape {uplift.shape}; expected (n, {len(self.maps)}), the arms that "
                "were calibrated."
            )
        return np.column_stack([f(column) for f, column in zip(self.maps, uplift.T, strict=True)])

    def to_json(self) -> str:
        """Return the maps as JSON, every number to the last bit."""
        return json.dumps(to_plain(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "UpliftCalibration":
        """Read what `to_json` wrote."""
        about = json.loads(text)
        return cls(about["method"], tuple(_read_map(f) for f in about["maps"]))


def fit_calibration(
    uplift: FloatArray,
    effect: FloatArray,
    cluster: IntArray,
    *,
    weight: FloatArray | None = None,
    method: CalibrationMethod = "isotonic",
) -> UpliftCalibration:
    """Fit a monotone map from predicted uplift to effect scores, for each arm.

    ``f = (1 - s) g + s (a + b u) + c``, with

    - g through the centres of blocks of decision points with neighbouring predictions: each block's
      mean prediction and mean effect, linear in between. ``isotonic`` is isotonic regression on the
      decision points, whose blocks are then pooled to at least 25 events; ``binned`` is isotonic
      regression on the means of bins of at least 25 events. Few events still make about 4 bins or
      blocks, many at most 100. In simulations the two were alike, ``isotonic`` a little closer to
      the truth with many events, ``binned`` tamer with few.
      Past the outer centres g goes on at half the slope of its last piece for four times that
      piece's length, and is flat from there: half is between too flat, which loses the best, and
      too steep, which a long tail of predictions turns into a wild spread.
    - events: ``E = (sum_c S_c^2)^2 / sum_c S_c^4`` over the clusters' sums S_c of (effect - mean).
      With rare outcomes this is about the number of clusters with an outcome, fewer where
      propensities are unequal. It, not the number of rows, is what is known: in simulations
      squared error fell on average from about 70 events on, at 30 it rose as often as it fell.
    - ``a + b u`` a line through the means, and ``s = 25 / (25 + E)``: with few events the blocks
      know little, and the line counts as much as one block. b is the least-squares slope given
      that it is not negative, ``b^ + se phi(b^ / se) / Phi(b^ / se)``, clustered; this is b^
      itself where that is clearly positive, and above 0 always.
    - c such that the mean of f over the rows of the fit is the mean effect.

    So f is strictly increasing: the ranking stays as it was, however few the events, and points tie
    at a price only where their predictions did. Predictions that are all the same are mapped to
    the mean effect; so are those of one cluster alone whose slope comes out negative. Multiplying
    the predictions by a positive number, or adding one, changes nothing. ``none`` returns the
    predictions as they are.

    Parameters
    ----------
    uplift : (n, A) predicted uplift, out-of-fold: no row's prediction has seen its outcome
    effect : (n, A) doubly robust scores of the effect (see `uplift.effects`); any models in it
        must not have seen the row's outcome either
    cluster : (n,) cluster codes
    weight : (n,) weights of the rows; 1 by default

    Raises
    ------
    InputError
        Shapes differ, there are no rows, numbers are not finite, or the method is unknown.

    References
    ----------
    Isotonic regression on doubly robust scores: van der Laan, Ulloa-Perez, Carone and Luedtke,
    Causal isotonic calibration for heterogeneous treatment effects, ICML 2023 (arXiv 2302.14011).
    There f is a step function; blocks of a few events at its ends and ties within its steps are
    why it is not used bare here.
    """
    if method not in get_args(CalibrationMethod):
        raise InputError(
            f"method {method!r} is unknown; choose among {list(get_args(CalibrationMethod))}."
        )
    if uplift.ndim != 2:
        raise InputError(f"uplift has shape {uplift.shape}; expected (n, arms).")
    rows = checked_rows(uplift, effect, cluster, weight)
    if method == "none":
        identity = ArmMap(np.zeros(1), np.zeros(1), slope=1.0, events=0.0)
        return UpliftCalibration(method, (identity,) * uplift.shape[1])
    columns = zip(rows.uplift.T, rows.effect.T, strict=True)
    arms = (Rows(u, e, rows.cluster, rows.weight) for u, e in columns)
    return UpliftCalibration(method, tuple(_fit_map(arm, method) for arm in arms))


@dataclass(frozen=True)
class _Blocks:
    """Neighbouring predictions: total weight, mean prediction, mean effect, events."""

    size: FloatArray
    x: FloatArray
    y: FloatArray
    events: FloatArray

    def merged(self, start: IntArray) -> "_Blocks":
        """Merge blocks into the groups that begin at `start`."""
        size = np.add.reduceat(self.size, start)
        x, y = (np.add.reduceat(self.size * v, start) / size for v in (self.x, self.y))
        return _Blocks(size, x, y, np.add.reduceat(self.events, start))


def _fit_map(rows: Rows, method: CalibrationMethod) -> ArmMap:
    points = _points(rows)
    events = float(points.events.sum())
    least = events / np.clip(events // _EVENTS, _FEWEST, _MOST)
    if method == "isotonic":
        blocks = _pooled(_isotonic(points), least)
    else:
        blocks = _isotonic(_pooled(points, least))
    share = _EVENTS / (_EVENTS + events)
    middle, mean = (np.average(v, weights=rows.weight) for v in (rows.uplift, rows.effect))
    slope = _slope(rows)
    x, y = _extended(blocks)
    y = (1 - share) * y + share * (mean + slope * (x - middle))
    fitted = ArmMap(x, y, share * slope, events)
    shift = np.average(rows.effect - fitted(rows.uplift), weights=rows.weight)
    return replace(fitted, y=y + shift)


def _points(rows: Rows) -> _Blocks:
    """One block for each distinct prediction; events by their part in the squared scores."""
    u, e, cluster, weight = rows
    noise = weight * (e - np.average(e, weights=weight))
    part = noise**2 / max(float(noise @ noise), np.finfo(float).tiny)
    events = _effective_number(cluster_sums(noise[:, None], cluster)[:, 0]) * part
    order = np.argsort(u, kind="stable")
    start = np.flatnonzero(np.r_[True, np.diff(u[order]) > 0])
    points = _Blocks(weight[order], u[order], e[order], events[order]).merged(start)
    return replace(points, x=u[order][start])  # exact, where a mean of equals may not be


def _effective_number(sums: FloatArray) -> float:
    """Return ``(sum s^2)^2 / sum s^4``."""
    squares = sums**2 / max(float((sums**2).max()), np.finfo(float).tiny)
    return float(squares.sum() ** 2 / max(float(squares @ squares), 1.0)) if squares.any() else 0.0


def _isotonic(blocks: _Blocks) -> _Blocks:
    """Merge neighbours until the mean effects increase."""
    fitted = isotonic_regression(blocks.y, sample_weight=blocks.size)
    return blocks.merged(np.flatnonzero(np.r_[True, np.diff(fitted) > 0]))


def _pooled(blocks: _Blocks, least: float) -> _Blocks:
    """Merge neighbours until each group has `least` events; the last takes what is left."""
    done, start = np.cumsum(blocks.events), [0]
    while True:
        before = done[start[-1] - 1] if start[-1] else 0.0
        end = int(np.searchsorted(done, before + least, side="right")) + 1
        if end >= len(done) or done[-1] - done[end - 1] < least:
            return blocks.merged(np.array(start))
        start.append(end)


def _slope(rows: Rows) -> float:
    """Return the slope of effect on prediction: its posterior mean, were all slopes >= 0 alike.

    Above 0 however few the events: a slope that came out negative by chance costs no ranking.
    """
    u, e, cluster, weight = rows
    apart = u - np.average(u, weights=weight)
    if np.ptp(u) == 0:
        return 0.0
    residual = e - np.average(e, weights=weight)
    slope = ratio_estimate(weight * apart * residual, weight * apart**2, cluster)
    error = (slope.upper - slope.value) / norm.ppf((1 + LEVEL) / 2)
    if not 0 < error < np.inf:
        return max(slope.value, 0.0)
    z = max(slope.value / error, -30.0)  # below, the difference is lost to rounding
    return float(error * (z + np.exp(norm.logpdf(z) - norm.logcdf(z))))


def _extended(blocks: _Blocks) -> tuple[FloatArray, FloatArray]:
    """Return the knots: the blocks' centres and how far the outer pieces reach past them."""
    x, y = blocks.x, blocks.y
    if len(x) == 1:
        return x, y
    ends, heights = _REACH * np.diff(x)[[0, -1]], _REACH / 2 * np.diff(y)[[0, -1]]
    return (
        np.r_[x[0] - ends[0], x, x[-1] + ends[1]],
        np.r_[y[0] - heights[0], y, y[-1] + heights[1]],
    )


def _read_map(about: dict[str, Any]) -> ArmMap:
    x, y = (np.array(about[key], dtype=np.float64) for key in ("x", "y"))
    return ArmMap(x, y, about["slope"], about["events"])
