"""Doubly robust estimators along a session."""

from dataclasses import dataclass

from offline_eval.sequential.per_decision import normalised_scores
from offline_eval.sequential.sessions import SequentialEstimator, Sessions
from uplift.arrays import FloatArray

__all__ = ["SequentialDR", "SequentialSNDR"]


@dataclass(frozen=True)
class SequentialDR(SequentialEstimator):
    """``1/m sum_i sum_t [w_(0:t) (r_t - Q_t(a_t)) + w_(0:t-1) sum_a pi(a) Q_t(a)]``.

    Q_t(a) is the modelled reward from decision t to the session's end under arm a, the policy going
    on. Assumes what PDIS does, and that Q was fitted on other users; then it is unbiased whatever
    Q, and the less noisy the better Q is. Where the positions of a slate are the steps and a reward
    depends on the positions before it only (the cascade), it is cascade-DR. Source: Jiang & Li
    2016; Kiyohara et al. 2022.
    """

    def scores(self, sessions: Sessions) -> FloatArray:
        """Return the doubly robust sum of each session."""
        logged, policy = sessions.values("cascade_dr")
        weight = sessions.weight
        rows = weight * (sessions.reward - logged) + sessions.before(weight) * policy
        return sessions.total(rows)


@dataclass(frozen=True)
class SequentialSNDR(SequentialEstimator):
    """Weighted doubly robust: the DR sum with ``w_(0:t)`` over its mean at step t.

    Assumes what `SequentialDR` does; biased by the order of 1/m, less noisy where sessions are
    long. Source: Thomas & Brunskill 2016.
    """

    def scores(self, sessions: Sessions) -> FloatArray:
        """Return the estimate plus each session's influence.

        ``w_(0:t-1) V_t`` is told at step t - 1, as part of what follows that decision: there the
        mean that it is divided by is that of its own weight.
        """
        logged, policy = sessions.values("cascade_sndr")
        follows = policy.copy()
        follows[:-1] = policy[1:]
        last = sessions.start[1:] - 1
        follows[last], follows[-1] = 0.0, 0.0
        rest = sessions.reward - logged + follows
        first: FloatArray = policy[sessions.start]
        return first + normalised_scores(sessions, sessions.weight, rest)
