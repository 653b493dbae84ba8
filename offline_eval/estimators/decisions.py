"""Logged decisions beside what a policy would have done: what every estimator reads."""

from dataclasses import dataclass

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = ["Decisions"]


@dataclass(frozen=True, eq=False)
class Decisions:
    """Logged decisions beside what a policy would have done; each array of shape (n,).

    Attributes
    ----------
    reward : the outcome
    propensity : probability of the logged arm when it was logged; with several logging policies
        in the log, `mixture_propensity` makes less noisy ones
    target : probability of the logged arm under the policy: 0 or 1 where it is deterministic
    cluster : cluster (user) codes
    outcome_logged : modelled outcome under the logged arm; only DM, DR and their kin need it
    outcome_policy : modelled outcome under the policy, ``sum_a pi(a | x) m(x, a)``

    Raises
    ------
    InputError
        There are no rows, shapes differ, probabilities are none, or a number is not finite.
    """

    reward: FloatArray
    propensity: FloatArray
    target: FloatArray
    cluster: IntArray
    outcome_logged: FloatArray | None = None
    outcome_policy: FloatArray | None = None

    def __post_init__(self) -> None:
        self._check_shapes()
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise InputError("propensity must lie in (0, 1] everywhere.")
        if not ((self.target >= 0) & (self.target <= 1 + 1e-9)).all():
            raise InputError("the policy's probabilities must lie in [0, 1].")
        if not np.isfinite(self.reward).all():
            raise InputError("reward must be finite everywhere; leave out or fill such rows.")
        for name in ("outcome_logged", "outcome_policy"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                raise InputError(f"{name} must be finite everywhere; the model predicts no number.")

    @classmethod
    def of(
        cls,
        reward: FloatArray,
        propensity: FloatArray,
        arm: IntArray,
        pi: FloatArray,
        cluster: IntArray,
        outcome: FloatArray | None = None,
    ) -> "Decisions":
        """Read what the policy and the model say of each arm.

        Parameters
        ----------
        reward, propensity, arm, cluster : (n,) the log
        pi : (n, A + 1) the policy's probabilities
        outcome : (n, A + 1) modelled outcome under each arm

        Raises
        ------
        InputError
            A table has another shape, an arm is outside it, or the probabilities of a row do not
            sum to 1; or see `Decisions`.
        """
        n = len(reward)
        for name, table in (("probabilities", pi), ("outcome", outcome)):
            if table is not None and (table.ndim != 2 or table.shape != (n, pi.shape[-1])):
                raise InputError(
                    f"{name} has shape {table.shape}; expected ({n}, {pi.shape[-1]}), rows of the "
                    "log by arms."
                )
        if n and not (arm.min() >= 0 and arm.max() < pi.shape[1]):
            raise InputError(f"arms must lie in 0 .. {pi.shape[1] - 1}, the arms of the policy.")
        if n and not np.abs(np.einsum("na->n", pi) - 1).max() <= 1e-6:
            raise InputError("the policy's probabilities do not sum to 1 over the arms.")
        rows = np.arange(n)
        return cls(
            reward,
            propensity,
            pi[rows, arm],
            cluster,
            None if outcome is None else outcome[rows, arm],
            None if outcome is None else np.einsum("na,na->n", pi, outcome),
        )

    @property
    def weight(self) -> FloatArray:
        """(n,) ``pi(a_i | x_i) / propensity_i``."""
        return self.target / self.propensity

    def modelled(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Return the modelled outcomes under the logged arm and under the policy.

        Raises
        ------
        InputError
            They are not there; `name` is the estimator that needs them.
        """
        if self.outcome_logged is None or self.outcome_policy is None:
            raise InputError(f"{name} needs an outcome model; give a model, or use snips.")
        return self.outcome_logged, self.outcome_policy

    def _check_shapes(self) -> None:
        n = self.reward.shape
        if len(n) != 1 or n == (0,):
            raise InputError(f"reward has shape {n}; expected (n,) with n > 0.")
        for name in ("propensity", "target", "cluster", "outcome_logged", "outcome_policy"):
            values = getattr(self, name)
            if values is not None and values.shape != n:
                raise InputError(f"{name} has shape {values.shape}; expected {n}.")
