"""Off-policy estimators of a policy's mean outcome, on flat arrays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.clusters import Estimate, ratio_estimate
from uplift.errors import InputError

__all__ = ["ESTIMATORS", "Decisions", "dr", "ips", "snips"]


@dataclass(frozen=True)
class Decisions:
    """Logged decisions beside what a policy would have done; each array of shape (n,).

    Attributes
    ----------
    reward : the outcome
    propensity : probability of the logged arm when it was logged
    target : probability of the logged arm under the policy
    cluster : cluster (user) codes
    outcome_logged : modelled outcome under the logged arm; only DR needs it
    outcome_policy : modelled outcome under the policy, ``sum_a pi(a | x) m(x, a)``
    """

    reward: FloatArray
    propensity: FloatArray
    target: FloatArray
    cluster: IntArray
    outcome_logged: FloatArray | None = None
    outcome_policy: FloatArray | None = None

    def __post_init__(self) -> None:
        n = self.reward.shape
        for name in ("propensity", "target", "cluster"):
            if getattr(self, name).shape != n:
                raise InputError(f"{name} has shape {getattr(self, name).shape}; expected {n}.")
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise InputError("propensity must lie in (0, 1] everywhere.")
        if not ((self.target >= 0) & (self.target <= 1 + 1e-9)).all():
            raise InputError("the policy's probabilities must lie in [0, 1].")
        if not np.isfinite(self.reward).all():
            raise InputError("reward must be finite everywhere; leave out or fill such rows.")

    @property
    def weight(self) -> FloatArray:
        """(n,) ``pi(a_i | x_i) / propensity_i``."""
        return self.target / self.propensity


def ips(decisions: Decisions) -> Estimate:
    """Inverse propensity scoring: ``1/n sum w_i r_i``; unbiased, noisy."""
    reward = decisions.weight * decisions.reward
    return ratio_estimate(reward, np.ones_like(reward), decisions.cluster)


def snips(decisions: Decisions) -> Estimate:
    """Self-normalised IPS: ``sum w_i r_i / sum w_i``.

    Slightly biased, far less noisy; its interval is the ratio's, so a constant reward has none.
    """
    weight = decisions.weight
    return ratio_estimate(weight * decisions.reward, weight, decisions.cluster)


def dr(decisions: Decisions) -> Estimate:
    """Doubly robust: ``1/n sum m_i(pi) + w_i (r_i - m_i(a_i))``.

    Unbiased with known propensities when the outcome model was fitted on other users, and the
    less noisy the better that model.
    """
    if decisions.outcome_logged is None or decisions.outcome_policy is None:
        raise InputError("dr needs an outcome model; give a model, or use snips.")
    residual = decisions.reward - decisions.outcome_logged
    score = decisions.outcome_policy + decisions.weight * residual
    return ratio_estimate(score, np.ones_like(score), decisions.cluster)


#: Estimators by name.
ESTIMATORS: dict[str, Callable[[Decisions], Estimate]] = {"dr": dr, "snips": snips, "ips": ips}
