"""S-learner: one model, the arm a feature."""

from dataclasses import replace

import numpy as np

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import BoostedModel
from uplift.learners.base import Training, UpliftLearner

__all__ = ["SLearner"]


class SLearner(UpliftLearner):
    """One model of the outcome on features and arm.

    ``uplift_a(x) = mu(x, a) - mu(x, 0)``

    The arm enters as a category, so that several arms need no order. Effects are shrunk towards
    none wherever the booster finds no split on the arm worthwhile. Source: Kuenzel et al. 2019.
    """

    name = "s"

    def _fit_boosters(self, data: Training) -> dict[str, BoostedModel]:
        X = np.column_stack([data.task.X, data.treatment.astype(np.float32)])
        return {"outcome": data.boost(replace(data.task, X=X, types=(*data.task.types, "c")))}

    def _margins(self, X: Float32Array) -> FloatArray:
        with_arm = np.column_stack([X, np.zeros(len(X), np.float32)])
        margins = np.empty((len(X), self.n_arms_ + 1))
        for arm in range(self.n_arms_ + 1):
            with_arm[:, -1] = arm
            margins[:, arm] = self.boosters_["outcome"].margin(with_arm)
        return margins
