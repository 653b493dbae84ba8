"""S-learner: one model, the arm a feature."""

import numpy as np

from uplift.arrays import Float32Array
from uplift.boosting import to_mean
from uplift.cross_fit import Boosted
from uplift.learners.base import Boosters, Prediction, UpliftLearner
from uplift.learners.training import Training

__all__ = ["SLearner"]


class SLearner(UpliftLearner):
    """One model of the outcome on features and arm.

    ``uplift_a(x) = mu(x, a) - mu(x, 0)``

    The arm enters as a category, so that several arms need no order; from four on XGBoost splits
    them in two sets, and the numbers of the arms decide on the side of those that a node is
    without. Effects are shrunk towards none wherever the booster finds no split on the arm
    worthwhile. Source: Kuenzel et al. 2019.
    """

    name = "s"

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        return {"outcome": data.boost_with_arm("outcome", data.outcome_task)}

    def _both(self, boosters: Boosters, X: Float32Array) -> Prediction:
        with_arm = np.column_stack([X, np.zeros(len(X), np.float32)])
        margins = np.empty((len(X), self.n_arms_ + 1))
        for arm in range(self.n_arms_ + 1):
            with_arm[:, -1] = arm
            margins[:, arm] = boosters["outcome"].margin(with_arm)
        return Prediction.of(to_mean(margins, self.objective_))
