"""R-learner: residual outcomes against residual treatments."""

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import BoostTask
from uplift.cross_fit import Boosted
from uplift.learners.base import Boosters
from uplift.learners.effect import EffectLearner, effect_margins
from uplift.learners.training import Training
from uplift.propensity import pair_share

__all__ = ["RLearner"]


class RLearner(EffectLearner):
    """Least squares of what the mean outcome leaves on what the propensity leaves.

    ``uplift_a = argmin_tau sum_i (t_i - e_i)^2 ((y_i - m(x_i)) / (t_i - e_i) - tau(x_i))^2``

    over the rows of arms 0 and a, with ``t = 1{arm = a}``, e = P(arm a | x, arm 0 or a) and m the
    mean outcome of these rows, out-of-fold. Errors of m and e enter as a product. With one
    arm and equal m and e, causalml's R-learner and econml's ``NonParamDML`` are the same. With
    several each arm is compared with arm 0 alone; causalml does so too, but its m is the mean over
    all arms, and econml's forest takes the residuals of all arms at once. Source: Nie and Wager
    2021.
    """

    name = "r"
    two_stage = True
    needs_propensity = True

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        boosted = {"control": data.boost("control", data.outcome_task, 0)}
        for arm in data.arms:
            name = f"effect_{arm}"
            boosted[name] = data.boost(name, _residual_task(data, arm), 0, arm)
        return boosted

    def _uplift(self, boosters: Boosters, X: Float32Array) -> FloatArray:
        return effect_margins(boosters, X, self.n_arms_)


def _residual_task(data: Training, arm: int) -> BoostTask:
    mean = data.mean_out_of_fold(data.cross_fit(data.outcome_task, 0, arm))
    left = (data.treatment == arm) - pair_share(data.propensities, arm)
    return data.effect_task((data.y - mean) / left, left**2)
