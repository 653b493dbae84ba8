"""X-learner: each arm's outcomes against what the other arm's model expects."""

import numpy as np

from uplift.arrays import Float32Array, FloatArray
from uplift.cross_fit import Boosted
from uplift.learners.base import Boosters
from uplift.learners.effect import EffectLearner
from uplift.learners.training import Training

__all__ = ["XLearner"]


class XLearner(EffectLearner):
    """Two boosters of the effect, one on each arm's rows, averaged.

    ``D_1 = y - mu_0(x) on rows of arm a,  D_0 = mu_a(x) - y on rows of arm 0,``
    ``uplift_a(x) = g tau_0(x) + (1 - g) tau_1(x)`` with ``tau_j`` boosted on ``D_j``

    g is the arm's share of the rows of arms 0 and a, so that the effect seen on the smaller arm,
    whose imputed outcomes are the better ones, weighs more. Any g in [0, 1] is admissible;
    causalml and econml take the propensity of each row, given or estimated, and fit mu in-sample,
    here it is out-of-fold. With equal g and mu the three are one. Good where arms are of very
    unequal size. Source: Kuenzel et al. 2019.
    """

    name = "x"
    two_stage = True

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        task = data.outcome_task
        boosted = {"control": data.boost("control", task, 0)}
        mean = data.mean_out_of_fold(boosted["control"])
        for arm in data.arms:
            other = data.mean_out_of_fold(data.cross_fit(task, arm))
            pseudo = {"treated": (data.y - mean, arm), "untreated": (other - data.y, 0)}
            for side, (effect, of) in pseudo.items():
                name = f"{side}_{arm}"
                boosted[name] = data.boost(name, data.effect_task(effect), of)
            self.constants_[f"share_{arm}"] = _share(data, arm)
        return boosted

    def _uplift(self, boosters: Boosters, X: Float32Array) -> FloatArray:
        return np.column_stack([self._arm(boosters, X, a) for a in range(1, self.n_arms_ + 1)])

    def _arm(self, boosters: Boosters, X: Float32Array, arm: int) -> FloatArray:
        share = self.constants_[f"share_{arm}"]
        on_untreated = boosters[f"untreated_{arm}"].margin(X)
        return share * on_untreated + (1 - share) * boosters[f"treated_{arm}"].margin(X)


def _share(data: Training, arm: int) -> float:
    """Return the share of an arm among the rows of it and of arm 0."""
    inside = data.inside(0, arm)
    size = np.bincount(data.treatment[inside], None if data.weight is None else data.weight[inside])
    return float(size[arm] / (size[0] + size[arm]))
