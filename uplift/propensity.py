"""Probabilities of the arms: as given, or estimated out-of-fold and calibrated."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit

from uplift.arrays import BoolArray, Float32Array, FloatArray, IntArray
from uplift.binned import BinnedRows
from uplift.boosting import BoostParams, BoostTask
from uplift.cross_fit import FoldedRows, fold_masks, fold_of
from uplift.errors import InputError

if TYPE_CHECKING:
    from uplift.learners.training import Training

__all__ = [
    "arm_propensities",
    "estimate_propensity",
    "of_logged",
    "pair_share",
    "shared_propensities",
]

_N_FOLDS = 3


def arm_propensities(data: "Training") -> FloatArray:
    """Return P(arm | x) for every arm and row, (n, A + 1), clipped.

    - Given for every arm: as given.
    - Given for the logged arm: as given there. With two arms the rest is the other's; with more,
      what is left is shared among the other arms in proportion to estimated probabilities.
    - Not given: boosted on the other folds (each arm against the rest), then calibrated by a
      multinomial logistic regression of the arm on these margins, itself fitted on the folds that
      it is not applied to. What a row's own arm still moves is the number of rounds and, through
      the margins of the other folds, the regression's few coefficients.

    Raises
    ------
    InputError
        To be estimated, but all rows of an arm fall in one fold.

    Warns
    -----
    UserWarning
        Probabilities lie beyond `clip`; says how many rows.
    """
    given = data.propensity
    if given is None:
        whole = _estimated(data)
    elif given.ndim == 2:
        whole = given
    elif data.n_arms == 1:
        whole = np.where(data.treatment[:, None] == (0, 1), given[:, None], 1 - given[:, None])
    else:
        whole = _completed(given, data.treatment, _estimated(data))
    return _clipped(whole, data.clip)


def estimate_propensity(
    X: Float32Array,
    arm: IntArray,
    groups: np.ndarray,
    types: Sequence[str],
    params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
) -> FloatArray:
    """Estimate the probability of each row's logged arm, (n,): see `arm_propensities`."""
    from uplift.learners.training import Training

    arm = arm.astype(np.int64)
    folds = fold_of(groups, _N_FOLDS, params.seed)
    rows = FoldedRows(BinnedRows(X, types, n_threads=params.n_threads), folds, params)
    data = Training(rows, rows, arm.astype(np.float64), arm, groups)
    return of_logged(arm_propensities(data), arm)


def shared_propensities(logged: FloatArray, arm: IntArray, n_arms: int) -> FloatArray:
    """Return P(arm | x) for every arm, (n, A + 1), from that of the logged arm, (n,).

    With two arms the rest is the other's. With more, what is left is shared among the other arms
    in proportion to their rows, which is right where one draw decides whether and another which.
    """
    rows = np.bincount(arm, minlength=n_arms + 1) / len(arm)
    return _completed(logged, arm, np.tile(rows, (len(arm), 1)))


def of_logged(propensity: FloatArray, arm: IntArray) -> FloatArray:
    """Return the probability of each row's logged arm, (n,)."""
    return propensity[np.arange(len(arm)), arm]


def pair_share(propensity: FloatArray, arm: int) -> FloatArray:
    """Return ``P(arm a | x, arm 0 or a)``, (n,)."""
    share: FloatArray = propensity[:, arm] / (propensity[:, 0] + propensity[:, arm])
    return share


def _estimated(data: "Training") -> FloatArray:
    """Estimate every arm's probability, of each row by the other folds."""
    margins = np.column_stack(
        [data.out_of_fold(data.cross_fit(_arm_task(data, arm))) for arm in data.arms]
    )
    estimated = np.empty((len(data.y), data.n_arms + 1))
    for held in fold_masks(data.rows.folds):
        estimated[held] = _calibrated(margins, data.treatment, data.weight, held)
    return estimated


def _arm_task(data: "Training", arm: int) -> BoostTask:
    """Return the task of telling an arm's rows from the rest.

    All folds start from one margin. Each from its own would be lower the more rows of the arm the
    fold left out happens to hold, and the regression would learn that instead.
    """
    given = (data.treatment == arm).astype(float)
    start = float(logit(np.average(given, weights=data.weight)))
    return BoostTask(given, "binary:logistic", data.weight, intercept=start)


def _calibrated(
    margins: FloatArray, arm: IntArray, weight: FloatArray | None, held: BoolArray
) -> FloatArray:
    """Return probabilities of the held rows from a regression of arm on margin in the others."""
    from sklearn.linear_model import LogisticRegression

    fit = ~held if weight is None else ~held & (weight > 0)
    absent = np.setdiff1d(arm, arm[fit])
    if len(absent):
        raise InputError(
            f"the rows of arm {absent[0]} fall in one fold, so that its propensity cannot be "
            "estimated from others: give `propensity` of every arm, (n, A + 1), use more users, or "
            "another seed."
        )
    regression = LogisticRegression(C=np.inf, solver="newton-cg", tol=1e-8, max_iter=1000)
    regression.fit(margins[fit], arm[fit], None if weight is None else weight[fit])
    found: FloatArray = regression.predict_proba(margins[held])
    return found


def _completed(logged: FloatArray, arm: IntArray, estimated: FloatArray) -> FloatArray:
    """Share out what the logged arm leaves."""
    whole = estimated.copy()
    rows = np.arange(len(arm))
    whole[rows, arm] = 0.0
    whole *= ((1 - logged) / np.maximum(whole.sum(axis=1), 1e-12))[:, None]
    whole[rows, arm] = logged
    return whole


def _clipped(propensity: FloatArray, clip: float) -> FloatArray:
    beyond = int(((propensity < clip) | (propensity > 1 - clip)).any(axis=1).sum())
    if beyond:
        warnings.warn(
            f"{beyond} of {len(propensity)} rows have a propensity beyond [{clip:g}, "
            f"{1 - clip:g}]; they are held at these bounds. Set a smaller clip if they are right.",
            UserWarning,
            stacklevel=2,
        )
    return propensity.clip(clip, 1 - clip) if beyond else propensity
