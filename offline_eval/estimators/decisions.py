"""Logged decisions beside what a policy would have done, on flat arrays."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = ["Decisions", "mixture_propensity"]


@dataclass(frozen=True)
class Decisions:
    """Logged decisions beside what a policy would have done; each array of shape (n,).

    Attributes
    ----------
    reward : the outcome
    propensity : probability of the logged arm when it was logged
    target : probability of the logged arm under the policy
    cluster : cluster (user) codes
    outcome_logged : modelled outcome under the logged arm, ``m(x_i, a_i)``
    outcome_policy : modelled outcome under the policy, ``sum_a pi(a | x_i) m(x_i, a)``
    """

    reward: FloatArray
    propensity: FloatArray
    target: FloatArray
    cluster: IntArray
    outcome_logged: FloatArray | None = None
    outcome_policy: FloatArray | None = None

    def __post_init__(self) -> None:
        n = self.reward.shape
        if len(n) != 1 or n == (0,):
            raise InputError(f"reward has shape {n}; expected (n,) with at least one decision.")
        for name in ("propensity", "target", "cluster", "outcome_logged", "outcome_policy"):
            column = getattr(self, name)
            if column is not None and column.shape != n:
                raise InputError(f"{name} has shape {column.shape}; expected {n}.")
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise InputError("propensity must lie in (0, 1] everywhere.")
        if not ((self.target >= 0) & (self.target <= 1 + 1e-9)).all():
            raise InputError("the policy's probabilities must lie in [0, 1].")
        if not np.isfinite(self.reward).all():
            raise InputError("reward must be finite everywhere; leave out or fill such rows.")
        for name in ("outcome_logged", "outcome_policy"):
            column = getattr(self, name)
            if column is not None and not np.isfinite(column).all():
                raise InputError(f"{name} must be finite everywhere; model every decision.")

    @cached_property
    def weight(self) -> FloatArray:
        """(n,) ``pi(a_i | x_i) / propensity_i``."""
        return self.target / self.propensity


def mixture_propensity(propensity: FloatArray, logger: IntArray) -> FloatArray:
    """Return the propensities of a log of several logging policies as if one had written it.

    ``p_i = sum_l (n_l / n) p_l(a_i | x_i)``

    A weight is then large only where all loggers were unlikely to do what was done: never noisier
    than each row's own propensity (the balance heuristic), and as unbiased.

    Parameters
    ----------
    propensity : (n, L) probability of the logged arm under each logging policy
    logger : (n,) which of them logged the row, 0 .. L - 1

    Raises
    ------
    InputError
        A logger is unknown, or could not have done what it did.

    Source: Agarwal, Basu, Schnabel and Joachims, Effective evaluation using logged bandit feedback
    from multiple loggers (KDD 2017).
    """
    rows, loggers = propensity.shape
    if logger.shape != (rows,) or logger.min() < 0 or logger.max() >= loggers:
        raise InputError(
            f"the loggers must be (n,) numbers from 0 to {loggers - 1}, one column of propensities "
            "for each."
        )
    if not (propensity[np.arange(rows), logger] > 0).all():
        raise InputError("a row was logged by a policy that gives its arm the propensity 0.")
    share = np.bincount(logger, minlength=loggers) / rows
    mixture: FloatArray = propensity @ share
    return mixture
