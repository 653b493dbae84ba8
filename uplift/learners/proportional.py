"""Proportional learner: one effect an arm, the same for all on the scale of the loss."""

from dataclasses import replace

import numpy as np

from uplift.arrays import Float32Array, FloatArray
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
        task, common = data.outcome_task, self._common(data)
        left = data.out_of_fold(common)
        for arm in (0, *data.arms):
            self.constants_[f"shift_{arm}"] = fitted_shift(task, left, data.inside(arm))
        return {"common": common}

    @staticmethod
    def _common(data: Training) -> Boosted:
        """Boost what the arms have in common, on top of what each is on average."""
        margins = _mean_margins(data)
        base = (margins - margins[0])[data.treatment]
        task = replace(data.outcome_task, base_margin=base, intercept=margins[0])
        return data.boost("common", task)

    def _both(self, boosters: Boosters, X: Float32Array) -> Prediction:
        shifts = [self.constants_[f"shift_{arm}"] for arm in range(self.n_arms_ + 1)]
        margins = boosters["common"].margin(X)[:, None] + np.array(shifts)
        return Prediction.of(to_mean(margins, self.objective_))


def _mean_margins(data: Training) -> FloatArray:
    """Return the margin of each arm's mean outcome, had all rows got the arm, (A + 1,)."""
    task, drawn = data.outcome_task, 1 / of_logged(data.propensities, data.treatment)
    alike = replace(task, weight=drawn if task.weight is None else drawn * task.weight)
    nothing = np.broadcast_to(0.0, drawn.shape)
    return np.array([fitted_shift(alike, nothing, data.inside(a)) for a in (0, *data.arms)])
