"""Class transformation: one model of whether arm and outcome agree."""

from dataclasses import replace

import numpy as np

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import BoostTask, to_mean
from uplift.cross_fit import Boosted
from uplift.learners.base import Boosters
from uplift.learners.effect import EffectLearner, effect_margins
from uplift.learners.training import Training
from uplift.propensity import pair_share

__all__ = ["ClassTransformLearner"]


class ClassTransformLearner(EffectLearner):
    """One model of a transformed outcome.

    Binary outcome: ``z = 1{y = 1{arm = a}}``, boosted under the logistic loss with weights
    ``1 / P(arm | x)``, and ``uplift_a(x) = 2 P(z = 1 | x) - 1``. Any other outcome:
    ``z = y (t - e) / (e (1 - e))``, boosted under squared error, and ``uplift_a(x) = E[z | x]``.

    Over the rows of arms 0 and a, with ``t = 1{arm = a}`` and e = P(arm a | x, arm 0 or a).
    Simple and unbiased, but noisy: every row's whole outcome is the noise, so that rare outcomes
    leave little. Sources: Jaskowski and Jaroszewicz 2012; Athey and Imbens 2015.
    """

    name = "class_transform"
    needs_propensity = True

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        boosted = {"control": data.boost("control", data.outcome_task, 0)}
        for arm in data.arms:
            name = f"effect_{arm}"
            boosted[name] = data.boost(name, _transformed(data, arm), 0, arm)
        return boosted

    def _uplift(self, boosters: Boosters, X: Float32Array) -> FloatArray:
        margins = effect_margins(boosters, X, self.n_arms_)
        if self.objective_ != "binary:logistic":
            return margins
        return 2 * to_mean(margins, "binary:logistic") - 1


def _transformed(data: Training, arm: int) -> BoostTask:
    """Return the task of the transformed outcome."""
    share, given = pair_share(data.propensities, arm), data.treatment == arm
    if data.objective != "binary:logistic":
        return data.effect_task(data.y * (given - share) / (share * (1 - share)))
    agree = (data.y == given).astype(np.float64)
    weighted = data.effect_task(agree, 1 / np.where(given, share, 1 - share))
    return replace(weighted, objective="binary:logistic")
