"""DR-learner: the effect boosted on doubly robust scores."""

import numpy as np

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import BoostTask
from uplift.cross_fit import Boosted
from uplift.effects import effect_scores
from uplift.learners.base import Boosters
from uplift.learners.effect import EffectLearner, effect_margins
from uplift.learners.training import Training
from uplift.propensity import of_logged

__all__ = ["DRLearner"]


class DRLearner(EffectLearner):
    """Least squares of the doubly robust score of each row's effect.

    ``phi_a = mu_a(x) - mu_0(x) + 1{arm = a} (y - mu_a(x)) / p_a - 1{arm = 0} (y - mu_0(x)) / p_0``,
    ``uplift_a = argmin_tau sum_i (phi_a,i - tau(x_i))^2``

    mu is out-of-fold, all rows speak for every arm. With known propensities the mean of phi, and
    so the mean of the uplift, is unbiased whatever mu. econml's DRLearner boosts the same scores
    of the same rows, with equal mu and p_a the same uplift. causalml's scores are these for one
    arm, but it boosts them a third of the rows at a time and averages the three, and with several
    arms it keeps the rows of arms 0 and a alone, by the pair's propensity. Source: Kennedy 2023.
    """

    name = "dr"
    two_stage = True
    needs_propensity = True

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        control = data.boost("control", data.outcome_task, 0)
        others = [data.cross_fit(data.outcome_task, arm) for arm in data.arms]
        tasks = _score_tasks(data, [control, *others])
        names = [f"effect_{arm}" for arm in data.arms]
        effects = {n: data.boost(n, task) for n, task in zip(names, tasks, strict=True)}
        return {"control": control, **effects}

    def _uplift(self, boosters: Boosters, X: Float32Array) -> FloatArray:
        return effect_margins(boosters, X, self.n_arms_)


def _score_tasks(data: Training, outcomes: list[Boosted]) -> list[BoostTask]:
    """Return the task of each arm's scores, given cross-fitted outcomes under every arm."""
    means = np.column_stack([data.mean_out_of_fold(fitted) for fitted in outcomes])
    logged = of_logged(data.propensities, data.treatment)
    scores = effect_scores(data.y, data.treatment, logged, means)
    return [data.effect_task(score) for score in scores.T]
