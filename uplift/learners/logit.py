"""Logit learner: the effect is boosted on top of the control arm's margin."""

from dataclasses import replace

import numpy as np
from scipy.special import expit

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import BoostedModel, BoostTask
from uplift.learners.base import Training, UpliftLearner

__all__ = ["LogitLearner"]

_NEWTON_STEPS = 50


class LogitLearner(UpliftLearner):
    """AdaRequest's estimator (CREST) for boosters, made for rare outcomes.

    ``P(y | none) = sigmoid(c(x)),  P(y | arm a) = sigmoid(c(x) + v_a(x))``

    c is boosted on arm 0; then v_a on arm a with c as base margin, starting from the constant
    that fits arm a best, so that no tree at all still means the mean effect. Both under cross-
    entropy. Uplift is the difference of the probabilities, not v. For a continuous outcome the
    margins are means: ``y = c(x) + v_a(x)``. Source: arXiv 2206.12296, eq. 12-17.
    """

    name = "logit"

    def _fit_boosters(self, data: Training) -> dict[str, BoostedModel]:
        control = data.boost(arm=0)
        boosters = {"control": control}
        for arm in range(1, data.n_arms + 1):
            task = data.task.rows(data.treatment == arm)
            task = replace(task, base_margin=control.margin(task.X))
            boosters[f"effect_{arm}"] = data.boost(replace(task, intercept=_shift(task)), arm)
        return boosters

    def _margins(self, X: Float32Array) -> FloatArray:
        control = self.boosters_["control"].margin(X)
        effects = [self.boosters_[f"effect_{a}"].margin(X) for a in range(1, self.n_arms_ + 1)]
        return np.column_stack([control, *(control + effect for effect in effects)])


def _shift(task: BoostTask) -> float:
    """Return the constant that, added to the base margin, makes the mean prediction that of y."""
    y, margin = task.y, np.zeros(len(task.y)) if task.base_margin is None else task.base_margin
    weight = np.ones(len(y)) if task.weight is None else task.weight
    if task.objective != "binary:logistic":
        return float(np.average(y - margin, weights=weight))
    shift = 0.0
    for _ in range(_NEWTON_STEPS):
        p = expit(margin + shift)
        step = float(np.clip(weight @ (y - p) / max(weight @ (p * (1 - p)), 1e-12), -1, 1))
        shift += step
        if abs(step) < 1e-10:
            break
    return shift
