"""One formula for the whole family: the model's answer, corrected by weighted residuals.

    theta = 1/n sum_i m_i(pi) + sum_i v(w_i) (r_i - m_i(a_i)) / Z,    Z = n, or sum_i w_i

with m = 0 where no model is used and v from `weights`. DM has v = 0, IPS m = 0, DR neither.
"""

from dataclasses import dataclass, replace

import numpy as np

from offline_eval.estimators.decisions import Decisions
from offline_eval.estimators.state import ValueState
from offline_eval.estimators.weights import Shrink
from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.errors import InputError

__all__ = ["Estimator"]


@dataclass(frozen=True)
class Estimator:
    """A member of the family.

    Attributes
    ----------
    name : what results call it
    shrink : what it makes of the weights
    uses_model : whether an outcome model answers first
    normalised : whether the weights are divided by their own sum: a little bias, less noise, and a
        value that stays within the rewards
    limit : parameter of `shrink`; infinite where the weights stay as they are
    """

    name: str
    shrink: Shrink
    uses_model: bool = False
    normalised: bool = False
    limit: float = np.inf

    def with_limit(self, limit: float) -> "Estimator":
        """Return the same estimator with another limit, > 0."""
        if not limit > 0:
            raise InputError(f"the limit of {self.name} is {limit}; expected more than 0.")
        return replace(self, limit=float(limit))

    def value(self, decisions: Decisions) -> float:
        """Return the point estimate alone."""
        answers, norm = self._answers(decisions), float(len(decisions.reward))
        if self.normalised:
            norm = float(decisions.weight.sum())
        model = 0.0 if answers is None else float(answers.mean())
        return model + float(self.corrections(decisions).sum()) / norm if norm else np.nan

    def estimate(self, decisions: Decisions) -> Estimate:
        """Return the estimate with its interval, clustered by user (see `ValueState.estimate`)."""
        return self.state(decisions).estimate()

    def state(self, decisions: Decisions) -> ValueState:
        """Return the sums by cluster that the estimate, its interval and its bootstrap need."""
        rows, ones = self.corrections(decisions), np.ones(len(decisions.reward))
        answers, cluster = self._answers(decisions), decisions.cluster
        if not self.normalised:
            rows = rows if answers is None else rows + answers
            return ValueState.of([rows], [ones], cluster)
        if answers is None:
            return ValueState.of([rows], [decisions.weight], cluster)
        return ValueState.of([answers, rows], [ones, decisions.weight], cluster)

    def corrections(self, decisions: Decisions) -> FloatArray:
        """Return the weighted residuals ``v(w_i) (r_i - m_i(a_i))``, (n,)."""
        return self.shrink(decisions.weight, self.limit) * self.residuals(decisions)

    def residuals(self, decisions: Decisions) -> FloatArray:
        """Return ``r_i - m_i(a_i)``, (n,); the rewards where no model is used."""
        if not self.uses_model:
            return decisions.reward
        if decisions.outcome_logged is None:
            raise InputError(f"{self.name} needs an outcome model; give a model, or use snips.")
        return decisions.reward - decisions.outcome_logged

    def _answers(self, decisions: Decisions) -> FloatArray | None:
        """Return ``m_i(pi)``, (n,); nothing where no model is used."""
        if self.uses_model and decisions.outcome_policy is None:
            raise InputError(f"{self.name} needs an outcome model; give a model, or use snips.")
        return decisions.outcome_policy if self.uses_model else None
