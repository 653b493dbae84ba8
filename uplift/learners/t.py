"""T-learner ("two-model"): one model an arm."""

import numpy as np

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import BoostedModel
from uplift.learners.base import Training, UpliftLearner

__all__ = ["TLearner"]


class TLearner(UpliftLearner):
    """One model of the outcome for each arm, fitted on that arm's rows.

    ``uplift_a(x) = mu_a(x) - mu_0(x)``

    Unbiased where the models are, but the errors of two models add up. Source: Kuenzel et al. 2019.
    """

    name = "t"

    def _fit_boosters(self, data: Training) -> dict[str, BoostedModel]:
        arms = range(data.n_arms + 1)
        return {f"outcome_{a}": data.boost(arm=a) for a in arms}

    def _margins(self, X: Float32Array) -> FloatArray:
        arms = range(self.n_arms_ + 1)
        return np.column_stack([self.boosters_[f"outcome_{a}"].margin(X) for a in arms])
