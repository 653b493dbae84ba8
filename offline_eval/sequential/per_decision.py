"""Importance weighting along a session, without a model."""

from dataclasses import dataclass

import numpy as np

from offline_eval.sequential.sessions import SequentialEstimator, Sessions
from uplift.arrays import FloatArray

__all__ = ["PDIS", "SNPDIS", "TIS", "normalised_scores"]


@dataclass(frozen=True)
class TIS(SequentialEstimator):
    """Trajectory importance sampling: ``1/m sum_i w_(i,0:T) sum_t r_it``.

    Assumes that propensities are those that the log drew with, given the session's past, and that
    the policy only ever does what the log might have done. Every decision weighs every reward, so
    that it is the noisiest; for slates it is called IPS. Source: Precup et al. 2000.
    """

    def scores(self, sessions: Sessions) -> FloatArray:
        """Return ``w_(0:T) sum_t r_t``."""
        last = np.r_[sessions.start[1:], len(sessions.reward)] - 1
        scores: FloatArray = sessions.weight[last] * sessions.total(sessions.reward)
        return scores


@dataclass(frozen=True)
class PDIS(SequentialEstimator):
    """Per-decision importance sampling: ``1/m sum_i sum_t w_(i,0:t) r_it``.

    Assumes what TIS does, and that a reward depends on earlier decisions only, which time sees to
    when the reward of a row is what came before the next decision. For slates it is called RIPS,
    and the assumption the cascade. Unbiased. Source: Precup et al. 2000.
    """

    def scores(self, sessions: Sessions) -> FloatArray:
        """Return ``sum_t w_(0:t) r_t``."""
        return sessions.total(sessions.weight * sessions.reward)


@dataclass(frozen=True)
class SNPDIS(SequentialEstimator):
    """Self-normalised PDIS: ``1/m sum_t sum_i w_(i,0:t) r_it / (1/m sum_i w_(i,0:t))``.

    Assumes what PDIS does. A session that has ended keeps its last weight in the mean below. Biased
    by the order of 1/m, and far less noisy where sessions are long. A score is the session's
    influence put on the estimate, so that the interval is the ratios'. Source: Precup et al. 2000;
    Thomas & Brunskill 2016.
    """

    def scores(self, sessions: Sessions) -> FloatArray:
        """Return the estimate plus each session's influence."""
        return normalised_scores(sessions, sessions.weight, sessions.reward)


def normalised_scores(sessions: Sessions, weight: FloatArray, reward: FloatArray) -> FloatArray:
    """Return scores (m,) of ``sum_t theta_t``, ``theta_t = sum_i w_it r_it / sum_i w_it``.

    ``score_i = sum_t theta_t + sum_t (w_it r_it - theta_t w_it) / mean_t(w)``; after its end a
    session's weight is its last, and its reward 0. A step at which all weights are 0 adds nothing.
    """
    step, length, m = sessions.step, sessions.length, len(sessions.start)
    last = weight[np.r_[sessions.start[1:], len(weight)] - 1]
    steps = int(length.max())
    ended = np.r_[0.0, np.cumsum(np.bincount(length, last, steps + 1)[1:])][:steps]
    below = (np.bincount(step, weight, steps) + ended) / m
    over = np.divide(1.0, below, out=np.zeros(steps), where=below > 0)
    theta = np.bincount(step, weight * reward, steps) / m * over
    after = np.r_[np.cumsum((theta * over)[::-1])[::-1], 0.0]  # sum over t' >= t
    own = sessions.total(weight * (reward - theta[step]) * over[step])
    scores: FloatArray = theta.sum() + own - last * after[length]
    return scores
