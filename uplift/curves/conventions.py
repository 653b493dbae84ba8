"""The numbers that other libraries print for a curve, from the same scores.

The same name means different numbers elsewhere; `docs/curves.md` has the table. Here each library's
number is computed by its own definition, so that results can be compared across papers and tools,
not because one should use it: most compare means within the best k, which is noisy and undefined
while an arm is missing there, and know neither weights nor clusters.

All take a logged binary arm (n,) and rank by `score` (n,), higher first. Where the original sees
ties in the order of the rows, so do these.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = [
    "causalml_auuc",
    "causalml_qini",
    "causalml_rate",
    "econml_uplift",
    "grf_rate",
    "pylift_qini",
    "scikit_uplift_at_k",
    "scikit_uplift_auc",
    "scikit_uplift_qini",
]

_PERCENTILES = np.linspace(5, 95, 50)


@dataclass(frozen=True)
class _Tops:
    """Counts and outcome sums by arm in the best 0, 1, .. n points, (n + 1,) each."""

    treated: FloatArray
    control: FloatArray
    y_treated: FloatArray
    y_control: FloatArray

    @classmethod
    def of(cls, y: FloatArray, arm: IntArray, score: FloatArray) -> "_Tops":
        if not y.shape == arm.shape == score.shape or y.ndim != 1:
            raise InputError(f"shapes differ: {y.shape}, {arm.shape}, {score.shape}.")
        if not (np.isfinite(y).all() and np.isfinite(score).all()):
            raise InputError("outcomes and scores must be finite.")
        if set(np.unique(arm)) != {0, 1}:
            raise InputError(f"both arms 0 and 1 must be there, got {np.unique(arm)[:5]}.")
        order = np.argsort(-score, kind="stable")
        y, arm = y[order].astype(np.float64), arm[order]
        columns = (arm, 1 - arm, y * arm, y * (1 - arm))
        return cls(*(np.r_[0.0, np.cumsum(column)] for column in columns))

    @property
    def rank(self) -> FloatArray:
        return np.arange(len(self.treated), dtype=np.float64)

    def lift(self) -> FloatArray:
        """Treated mean less control mean; NaN while an arm is missing."""
        with np.errstate(invalid="ignore"):
            return self.y_treated / self.treated - self.y_control / self.control

    def qini(self) -> FloatArray:
        """``Y_t - Y_c N_t / N_c``; NaN while there is no control."""
        with np.errstate(invalid="ignore"):
            return self.y_treated - self.y_control * self.treated / self.control


def causalml_auuc(
    y: FloatArray, arm: IntArray, score: FloatArray, *, normalize: bool = True
) -> float:
    """Return causalml's `auuc_score`: ``mean over k = 0 .. n of k L(k)``, divided by ``|n L(n)|``.

    L(k) is the difference of the arms' means in the best k, 0 at k = 0; where an arm is missing it
    is interpolated. A random score has about 0.5; a good one may exceed 1. In our terms about
    ``auuc / |Q(1)|``.
    """
    tops = _Tops.of(y, arm, score)
    gain = _bridged(tops.lift()) * tops.rank
    return float(gain.mean() / (abs(gain[-1]) if normalize else 1.0))


def causalml_qini(
    y: FloatArray, arm: IntArray, score: FloatArray, *, normalize: bool = True
) -> float:
    """Return causalml's `qini_score`: ``mean of q(k)`` less that of the line to its end.

    ``q(k) = Y_t - Y_c N_t / N_c`` in the best k, divided by ``|q(n)|``; interpolated where there is
    no control. In our terms about ``area / |Q(1)|``. (Of several models in one call causalml takes
    the line's ends from the first.)
    """
    qini = _bridged(_Tops.of(y, arm, score).qini())
    above = qini.mean() - (qini[0] + qini[-1]) / 2
    return float(above / (abs(qini[-1]) if normalize else 1.0))


def causalml_rate(
    y: FloatArray, arm: IntArray, score: FloatArray, weighting: Literal["autoc", "qini"] = "autoc"
) -> float:
    """Return causalml's `rate_score`: weighted mean of the TOC between ranks, by 1/q or q.

    ``TOC(k) = L(k) - L(n)``, 0 while an arm is missing. Its "qini" weights sum to 1 and grf's to
    1/2, so it is about twice our area. Its "autoc" weighs TOC by 1/q, where grf weighs it by 1:
    there is no conversion, and at n = 5,000 half of the weight is on the best 1 %.
    """
    lift = _Tops.of(y, arm, score).lift()
    toc = np.where(np.isfinite(lift), lift - lift[-1], 0.0)
    quantile = np.linspace(0, 1, len(toc))
    middle = (quantile[:-1] + quantile[1:]) / 2
    weights = 1 / middle if weighting == "autoc" else middle
    return float(np.average((toc[:-1] + toc[1:]) / 2, weights=weights))


def scikit_uplift_auc(y: FloatArray, arm: IntArray, score: FloatArray) -> float:
    """Return scikit-uplift's `uplift_auc_score`: area of ``k L(k)`` above chance, as a share.

    Corners at the ends of equal scores; an arm that is missing counts as mean 0. It is a share of
    the area of an order taken for perfect: treated buyers and control non-buyers first, then by
    outcome if control buyers outnumber treated non-buyers, else by arm. Binary outcomes only.
    """
    _check_binary(y, arm, score)
    treated, buys = arm == 1, y == 1
    by_outcome = (buys & ~treated).sum() > (~buys & treated).sum()
    perfect = 2.0 * (buys == treated) + (buys if by_outcome else treated)
    return _above_chance(y, arm, score, "lift") / _above_chance(y, arm, perfect, "lift")


def scikit_uplift_qini(y: FloatArray, arm: IntArray, score: FloatArray) -> float:
    """Return scikit-uplift's `qini_auc_score`: area of q(k) above chance, as a share.

    ``q(k) = Y_t - Y_c N_t / N_c``, the second term 0 while there is no control; as a share of the
    area of the order treated buyers, non-buyers, control buyers (``negative_effect=True``).
    Corners at the ends of equal scores. Binary outcomes only.
    """
    _check_binary(y, arm, score)
    perfect = y * arm - y * (1.0 - arm)
    return _above_chance(y, arm, score, "qini") / _above_chance(y, arm, perfect, "qini")


def scikit_uplift_at_k(
    y: FloatArray,
    arm: IntArray,
    score: FloatArray,
    k: float = 0.3,
    strategy: Literal["overall", "by_group"] = "overall",
) -> float:
    """Return scikit-uplift's `uplift_at_k`: difference of the arms' means among the best share k.

    Of all points ("overall"; ours, with effect scores in place of means), or of each arm by itself
    ("by_group"). NaN where an arm is missing. Equal scores: the later row is better.
    """
    _Tops.of(y, arm, score)
    order = np.argsort(score, kind="stable")[::-1]
    y, arm = y[order], arm[order]
    best = np.arange(len(y)) < int(len(y) * k)
    means = []
    for a in (1, 0):
        outcomes = y[best & (arm == a)]
        if strategy == "by_group":
            of_arm = y[arm == a]
            outcomes = of_arm[: int(len(of_arm) * k)]
        means.append(outcomes.mean() if len(outcomes) else np.nan)
    return float(means[0] - means[1])


def pylift_qini(
    y: FloatArray,
    arm: IntArray,
    score: FloatArray,
    kind: Literal["qini", "cgains", "aqini"] = "qini",
) -> float:
    """Return pylift's `Q_qini`, `Q_cgains`, `Q_aqini` at the arms' own shares as propensity.

    Area above chance over k / n of, with totals N_t, N_c of all points,

    - qini: ``Y_t / N_t(n) - Y_c / N_c(n)``: our area, exactly, of effect scores by inverse
      propensity weighting with the arms' shares
    - cgains: ``L(k) k / n``
    - aqini: ``Y_t / N_t(n) - Y_c N_t / (N_c N_t(n))``
    """
    tops = _Tops.of(y, arm, score)
    n, treated, control = len(y), tops.treated[-1], tops.control[-1]
    if kind == "qini":
        curve = tops.y_treated / treated - tops.y_control / control
    elif kind == "cgains":
        curve = _present(tops) * tops.rank / n
    else:
        curve = (tops.y_treated - tops.treated * _over(tops.y_control, tops.control)) / treated
    return float(np.trapezoid(curve) / n - curve[-1] / 2)


def grf_rate(
    score: FloatArray,
    effect: FloatArray,
    weighting: Literal["autoc", "qini"] = "autoc",
    *,
    weight: FloatArray | None = None,
) -> float:
    """Return grf's `rank_average_treatment_effect`: TOC summed at every rank.

    ``sum_i w_i TOC_i / W`` (AUTOC) or ``sum_i w_i (W_i / W) TOC_i / W`` (QINI), with W_i the weight
    of the best i and ``TOC_i`` their weighted mean effect less that of all; equal scores have their
    mean effect. `TocCurve` integrates the TOC instead, which differs by the order of log(n) / n.
    """
    weight = np.ones(len(score)) if weight is None else weight
    _, group = np.unique(-score, return_inverse=True)
    level = np.bincount(group, weight * effect) / np.bincount(group, weight)
    order = np.argsort(group, kind="stable")
    w, e = weight[order], level[group][order]
    so_far = np.cumsum(w)
    toc = np.cumsum(w * e) / so_far - (w @ e) / so_far[-1]
    each = w / so_far[-1] if weighting == "autoc" else so_far / so_far[-1] * w / so_far[-1]
    return float(each @ toc)


def econml_uplift(
    score: FloatArray,
    effect: FloatArray,
    metric: Literal["toc", "qini"] = "qini",
    *,
    score_train: FloatArray | None = None,
    percentiles: FloatArray = _PERCENTILES,
) -> float:
    """Return EconML's `DRTester.evaluate_uplift`: left Riemann sum of TOC, or of q TOC.

    At percentiles of `score_train`; the best are those at or above each. EconML's grid runs from 5
    to 95, so its "toc" leaves out the best 5 %, where AUTOC is largest.
    """
    cuts = np.percentile(score if score_train is None else score_train, percentiles)
    order = np.argsort(-score, kind="stable")
    count = np.searchsorted(-score[order], -cuts, side="right")
    total = np.r_[0.0, np.cumsum(effect[order])][count]
    toc = _over(total, count) - effect.mean()
    values = toc * (count / len(score) if metric == "qini" else 1.0)
    return float(values[:-1] @ np.diff(percentiles) / 100)


def _bridged(curve: FloatArray) -> FloatArray:
    """Return a curve from 0, straight over the ranks where it is undefined."""
    curve = np.r_[0.0, curve[1:]]
    known = np.isfinite(curve)
    ranks = np.arange(len(curve))
    return np.interp(ranks, ranks[known], curve[known])


def _over(numerator: FloatArray, denominator: FloatArray | IntArray) -> FloatArray:
    """Divide, 0 where the denominator is."""
    numerator = np.asarray(numerator, dtype=np.float64)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def _present(tops: _Tops) -> FloatArray:
    """Difference of means, an arm that is missing counting as mean 0."""
    return _over(tops.y_treated, tops.treated) - _over(tops.y_control, tops.control)


def _above_chance(
    y: FloatArray, arm: IntArray, score: FloatArray, kind: Literal["lift", "qini"]
) -> float:
    """Area between a scikit-uplift curve and its chord, corners at the ends of equal scores."""
    tops = _Tops.of(y, arm, score)
    curve = _present(tops) * tops.rank
    if kind == "qini":
        curve = tops.y_treated - tops.treated * _over(tops.y_control, tops.control)
    sorted_score = -np.sort(-score)
    corners = np.r_[0, np.flatnonzero(np.diff(sorted_score)) + 1, len(y)]
    area = np.trapezoid(curve[corners], tops.rank[corners])
    return float(area - curve[-1] * len(y) / 2)


def _check_binary(y: FloatArray, arm: IntArray, score: FloatArray) -> None:
    _Tops.of(y, arm, score)
    if not set(np.unique(y)) <= {0, 1}:
        raise InputError("scikit-uplift defines this for outcomes 0 and 1 only.")
