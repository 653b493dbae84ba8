"""How far weights are shrunk: the limit that an estimator does best with, chosen on the log."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from offline_eval.estimators.decisions import Decisions
from offline_eval.estimators.estimator import Estimator
from offline_eval.estimators.state import ValueState
from uplift.arrays import FloatArray
from uplift.clusters import Estimate

__all__ = ["LIMITS", "Tuned", "by_mse", "by_slope", "estimated_mse", "shown_bias"]

#: Limits to choose among, as Open Bandit Pipeline's examples have them.
LIMITS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10_000.0, np.inf)
DELTA = 0.05


@dataclass(frozen=True)
class Tuned:
    """An estimator whose limit is chosen on each log that it is given.

    Attributes
    ----------
    base : the estimator
    limits : what is chosen among
    slope : choose by SLOPE; else by the estimated mean squared error, whose bound of the bias is so
        wide that it rarely shrinks where residuals are below 1
    """

    base: Estimator
    limits: Sequence[float] = LIMITS
    slope: bool = True

    @property
    def name(self) -> str:
        """What results call it."""
        return self.base.name

    @property
    def uses_model(self) -> bool:
        """Whether it needs an outcome model."""
        return self.base.uses_model

    def on(self, decisions: Decisions) -> Estimator:
        """Return the estimator with the limit that suits this log."""
        choose = by_slope if self.slope else by_mse
        return self.base.with_limit(choose(self.base, decisions, self.limits))

    def value(self, decisions: Decisions) -> float:
        """Return the point estimate alone."""
        return self.on(decisions).value(decisions)

    def estimate(self, decisions: Decisions) -> Estimate:
        """Return the estimate with its interval, widened by the bias that the log shows.

        ``|mean((w - v(w)) (r - m))|`` to both sides: what shrinking the weights took away. Without
        it the interval of a shrunk estimate is around the wrong place.
        """
        chosen = self.on(decisions)
        found, bias = chosen.estimate(decisions), shown_bias(chosen, decisions)
        return Estimate(found.value, found.lower - bias, found.upper + bias)

    def state(self, decisions: Decisions) -> ValueState:
        """Return the sums by cluster; of shards only after `on` has chosen one limit for all."""
        return self.on(decisions).state(decisions)


def by_mse(base: Estimator, decisions: Decisions, limits: Sequence[float] = LIMITS) -> float:
    """Return the limit of least estimated mean squared error (see `estimated_mse`)."""
    errors = [estimated_mse(base.with_limit(limit), decisions) for limit in limits]
    return float(limits[int(np.argmin(errors))])


def estimated_mse(estimator: Estimator, decisions: Decisions, delta: float = DELTA) -> float:
    """Estimate the mean squared error: variance, and a bound of the bias squared.

    ``bias <= |mean((w - v(w)) (r - m))| + sqrt(2 mean(w^2) log(2/delta) / n)
    + 2 max(w) log(2/delta) / (3 n)``, the last two only where weights are shrunk.

    Source: Su, Dimakopoulou, Krishnamurthy and Dudik, Doubly robust off-policy evaluation with
    shrinkage (ICML 2020).
    """
    n, weight, log_delta = len(decisions.reward), decisions.weight, np.log(2 / delta)
    variance = estimator.state(decisions).error ** 2
    if np.array_equal(estimator.shrink(weight, estimator.limit), weight):
        return variance
    bias = shown_bias(estimator, decisions)
    bias += float(np.sqrt(2 * np.mean(weight**2) * log_delta / n))
    bias += float(2 * weight.max() * log_delta / (3 * n))
    return variance + bias**2


def shown_bias(estimator: Estimator, decisions: Decisions) -> float:
    """Return ``|mean((w - v(w)) (r - m))|``: how far shrinking moved the estimate on this log."""
    taken = decisions.weight - estimator.shrink(decisions.weight, estimator.limit)
    return abs(float(np.mean(taken * estimator.residuals(decisions))))


def by_slope(base: Estimator, decisions: Decisions, limits: Sequence[float] = LIMITS) -> float:
    """Return the most shrunk limit whose interval meets those of all less shrunk ones.

    In the order of falling widths, limit j is kept while ``|theta_i - theta_j| <= c_i +
    (sqrt(6) - 1) c_j`` for all i before it: so far bias is not told from noise.

    Source: Su, Srinath and Krishnamurthy, Adaptive estimator selection for off-policy evaluation
    (SLOPE, ICML 2020).
    """
    found = [base.with_limit(limit).estimate(decisions) for limit in limits]
    theta = np.array([e.value for e in found])
    half = np.array([e.upper - e.value for e in found])
    order = np.argsort(-half, kind="stable")
    kept = _met(theta[order], half[order])
    return float(limits[int(order[kept])])


def _met(theta: FloatArray, half: FloatArray) -> int:
    """Return the last place up to which all intervals meet."""
    spread = np.sqrt(6) - 1
    for j in range(1, len(theta)):
        if (np.abs(theta[:j] - theta[j]) > half[:j] + spread * half[j]).any():
            return j - 1
    return len(theta) - 1
