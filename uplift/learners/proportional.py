"""Proportional learner: one effect an arm, the same for all on the scale of the loss."""

from dataclasses import replace

import numpy as np

from uplift.arrays import Float32Array
from uplift.boosting import to_mean
from uplift.cross_fit import Boosted
from uplift.learners.base import Boosters, Prediction, UpliftLearner
from uplift.learners.training import Training, fitted_shift
from uplift.propensity import of_logged

__all__ = ["ProportionalLearner"]


class ProportionalLearner(UpliftLearner):
    """One model of the outcome, and one number for each arm.

    ``P(y | arm a) = sigmoid(c(x) + v_a)``; for a continuous outcome ``E[y | arm a] = c(x) + v_a``,
    ``a = 0 .. A``

    The simplest shape of an effect: rare outcomes are multiplied by the same factor everywhere, so
    that ranking by uplift is ranking by the outcome's probability; a continuous outcome has one
    effect for all. All arms speak for c. What a log cannot tell from this has not shown who
    gains more: the learner ``auto`` measures every other candidate against it.
    """

    name = "proportional"
    needs_propensity = True

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        task, n = data.outcome_task, len(data.y)
        # Arms alike in x: each arm's rows weigh as if all had got it.
        drawn = 1 / of_logged(data.propensities, data.treatment)
        alike = replace(task, weight=drawn if task.weight is None else drawn * task.weight)
        control = fitted_shift(alike, np.zeros(n), data.inside(0))
        shifts = [fitted_shift(alike, np.full(n, control), data.inside(arm)) for arm in data.arms]
        base = np.array([0.0, *shifts])[data.treatment]
        common = data.boost(replace(task, base_margin=base, intercept=control))
        left = data.out_of_fold(common)
        for arm in (0, *data.arms):
            self.constants_[f"shift_{arm}"] = fitted_shift(task, left, data.inside(arm))
        return {"common": common}

    def _both(self, boosters: Boosters, X: Float32Array) -> Prediction:
        shifts = [self.constants_[f"shift_{arm}"] for arm in range(self.n_arms_ + 1)]
        margins = boosters["common"].margin(X)[:, None] + np.array(shifts)
        return Prediction.of(to_mean(margins, self.objective_))
