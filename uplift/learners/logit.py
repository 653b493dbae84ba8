"""Logit learner: the effect is boosted on top of the control arm's margin."""

from dataclasses import replace

import numpy as np

from uplift.arrays import Float32Array
from uplift.boosting import to_mean
from uplift.cross_fit import Boosted
from uplift.learners.base import Boosters, Prediction, UpliftLearner
from uplift.learners.training import Training, fitted_shift

__all__ = ["LogitLearner"]


class LogitLearner(UpliftLearner):
    """AdaRequest's estimator (CREST) for boosters, made for rare outcomes.

    ``P(y | none) = sigmoid(c(x)),  P(y | arm a) = sigmoid(c(x) + v_a(x))``

    c is boosted on arm 0; then v_a on arm a with c as base margin, out-of-fold, starting from the
    constant that fits arm a best, so that no tree at all still means the mean effect. Both under
    cross-entropy. Uplift is the difference of the probabilities, not v. For a continuous outcome
    the margins are means: ``y = c(x) + v_a(x)``. Source: arXiv 2206.12296, eq. 12-17.
    """

    name = "logit"
    two_stage = True

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        control = data.boost("control", data.outcome_task, 0)
        base = data.out_of_fold(control)
        boosted = {"control": control}
        for arm in data.arms:
            shift = fitted_shift(data.outcome_task, base, data.inside(arm))
            task = replace(data.outcome_task, base_margin=base, intercept=shift)
            name = f"effect_{arm}"
            boosted[name] = data.boost(name, task, arm)
        return boosted

    def _both(self, boosters: Boosters, X: Float32Array) -> Prediction:
        control = boosters["control"].margin(X)
        effects = [boosters[f"effect_{a}"].margin(X) for a in range(1, self.n_arms_ + 1)]
        margins = np.column_stack([control, *(control + effect for effect in effects)])
        return Prediction.of(to_mean(margins, self.objective_))
