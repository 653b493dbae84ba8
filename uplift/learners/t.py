"""T-learner ("two-model"): one model an arm."""

import numpy as np

from uplift.arrays import Float32Array
from uplift.boosting import to_mean
from uplift.cross_fit import Boosted
from uplift.learners.base import Boosters, Prediction, UpliftLearner
from uplift.learners.training import Training

__all__ = ["TLearner"]


class TLearner(UpliftLearner):
    """One model of the outcome for each arm, fitted on that arm's rows.

    ``uplift_a(x) = mu_a(x) - mu_0(x)``

    Unbiased where the models are, but the errors of two models add up. Source: Kuenzel et al. 2019.
    """

    name = "t"

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        task = data.outcome_task
        names = {f"outcome_{a}": a for a in (0, *data.arms)}
        return {name: data.boost(name, task, arm) for name, arm in names.items()}

    def _both(self, boosters: Boosters, X: Float32Array) -> Prediction:
        arms = range(self.n_arms_ + 1)
        margins = [boosters[f"outcome_{a}"].margin(X) for a in arms]
        return Prediction.of(to_mean(np.column_stack(margins), self.objective_))
