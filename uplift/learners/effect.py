"""Learners that boost the effect itself, on a pseudo-outcome whose mean is the effect."""

from abc import abstractmethod

import numpy as np

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import to_mean
from uplift.learners.base import Boosters, Prediction, UpliftLearner

__all__ = ["EffectLearner"]


class EffectLearner(UpliftLearner):
    """A booster of arm 0's outcome, and of each arm's effect on top of it.

    ``outcome_0(x) = mu_0(x),  outcome_a(x) = mu_0(x) + uplift_a(x)``

    Nothing keeps a boosted effect possible. Where a probability would leave [0, 1],
    `predict_outcome` moves the outcome under arm 0, and an effect beyond [-1, 1] is cut.
    """

    @abstractmethod
    def _uplift(self, boosters: Boosters, X: Float32Array) -> FloatArray:
        """Return the uplift of each arm, (n, A)."""

    def _both(self, boosters: Boosters, X: Float32Array) -> Prediction:
        control = to_mean(boosters["control"].margin(X), self.objective_)
        return Prediction.on(control, self._uplift(boosters, X), self.objective_)


def effect_margins(boosters: Boosters, X: Float32Array, n_arms: int) -> FloatArray:
    """Return the margins of the boosters ``effect_1 .. effect_A``, (n, A)."""
    return np.column_stack([boosters[f"effect_{a}"].margin(X) for a in range(1, n_arms + 1)])
