"""Intervals for single effects of any learner, from fits on half of the groups."""

from typing import Any

import numpy as np
from scipy.stats import t as student
from sklearn.base import clone

from uplift.arrays import FloatArray, IntArray
from uplift.clusters import LEVEL
from uplift.errors import InputError
from uplift.learners.base import UpliftLearner
from uplift.learners.inputs import is_frame, to_groups

__all__ = ["half_sample_intervals"]


def half_sample_intervals(
    learner: UpliftLearner,
    X: Any,
    y: Any,
    treatment: Any,
    X_new: Any,
    *,
    propensity: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    draws: int = 20,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper ends of intervals of 95 % for each uplift, (m, A) each.

    ``tau(x) +- t(B - 1) se(x),  se(x)^2 = sum_b (tau_b(x) - mean_b tau_b(x))^2 / (B - 1)``

    tau is fitted on all rows, each tau_b on half of the groups, drawn without replacement. For an
    estimator whose variance falls as one over the groups, a half-sample's variance is twice that
    of the whole, and half of it is shared with the whole: what is left, the spread of the tau_b
    given the data, is the variance of tau. Measured about their own mean, because a booster of
    half the rows also shrinks more.

    What they cover is the estimator's own expectation, ``E[tau(x)]``: the noise of the sample, of
    users, of nuisances and of the number of rounds. They know nothing of the bias of a booster
    that smooths over x, and hold the true effect only as far as that bias is small. Boosters
    trained for fewer rounds on less data make the spread of the halves an approximation: in
    simulations on 2,000 rows (S, T and DR) the intervals cover 94 to 96 % of the points'
    expectations, and 89 to 96 % of the true effects.

    Parameters
    ----------
    learner : any learner; fitted or not, it is cloned and left alone
    X, y, treatment, propensity, sample_weight, groups : rows to fit, as `UpliftLearner.fit`
    X_new : (m, features) rows to predict
    draws : number B of half-samples; each costs a fit on half the rows
    seed : of the half-samples

    Raises
    ------
    InputError
        Fewer than 2 draws or 4 groups, or a half-sample that the learner cannot be fitted on, such
        as one without any row of an arm.
    """
    if draws < 2:
        raise InputError(f"draws is {draws}; expected at least 2 half-samples.")
    rows = {"y": y, "treatment": treatment, "propensity": propensity}
    rows |= {"sample_weight": sample_weight, "groups": to_groups(groups, len(X))}
    _, code = np.unique(rows["groups"], return_inverse=True)
    fitted = clone(learner).fit(X, **rows).predict(X_new)
    halves = np.stack(
        [
            clone(learner).fit(_take(X, half), **_taken(rows, half)).predict(X_new)
            for half in _halves(code, draws, seed)
        ]
    )
    reach = student.ppf((1 + LEVEL) / 2, draws - 1) * halves.std(axis=0, ddof=1)
    return fitted - reach, fitted + reach


def _halves(code: IntArray, draws: int, seed: int) -> list[IntArray]:
    """Return the rows of half of the groups, drawn without replacement, for each draw."""
    count = int(code.max()) + 1 if len(code) else 0
    if count < 4:
        raise InputError(f"there are {count} groups; expected at least 4 to draw halves of.")
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(count) < count // 2 for _ in range(draws)]
    return [np.flatnonzero(half[code]) for half in drawn]


def _taken(rows: dict[str, Any], index: IntArray) -> dict[str, Any]:
    return {k: v if v is None else np.asarray(v)[index] for k, v in rows.items()}


def _take(X: Any, index: IntArray) -> Any:
    if not is_frame(X):
        return np.asarray(X)[index]
    return X.iloc[index] if hasattr(X, "iloc") else X[index]
