"""Feedback: a rule's requests change what it meets later in the session, and so what it spends.

The planned log's sessions went on after the log's requests, not after the rule's. Where the log is
randomised its decision points can be weighted to those that the rule would have met:

    f = sum_i w_i spent_i / sum_i spent_i
    w_i = product over the last `LOOKBACK` decisions j before i of P_rule(arm_j) / propensity_j

with spent_i the rule's expected spend at point i and arm_j the logged arm. Over all earlier
decisions f would be unbiased and useless, for few sessions agree with a rule for long; what was
decided further back is taken to be forgotten. In service the rule spends f times what it spends
when it is led through the logged sessions.

Source: per-decision importance sampling, Precup, Sutton and Singh, ICML 2000; here cut short.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from uplift.arrays import FloatArray, IntArray
from uplift.clusters import Estimate, ratio_estimate
from uplift.log import RequestLog

__all__ = ["LOOKBACK", "Logged"]

LOOKBACK = 8


@dataclass(frozen=True)
class Logged:
    """What the log did, session by session.

    Attributes
    ----------
    arm, propensity : (n,) logged arm and its probability
    cluster : (n,) codes of the users
    session_start : (S + 1,) first row of each session
    """

    arm: IntArray
    propensity: FloatArray
    cluster: IntArray
    session_start: IntArray

    @classmethod
    def of(cls, log: RequestLog, order: IntArray, session_start: IntArray) -> "Logged | None":
        """Take a log's rows in an order by session; nothing where it does not tell what it did."""
        if not {"arm", "propensity"} <= set(log.frame):
            return None
        return cls(log.arm[order], log.propensity[order], log.cluster[order], session_start)

    def feedback(self, arm: IntArray, asked: FloatArray, cost: FloatArray) -> Estimate:
        """Return the spend of a rule in service over its spend along the logged sessions.

        Parameters
        ----------
        arm : (n,) arm that the rule would give at each point, counted from 1
        asked : (n,) probability with which it does
        cost : (n, A) requests that each arm spends
        """
        chance = np.where(self.arm == 0, 1 - asked, np.where(self.arm == arm, asked, 0.0))
        spent = asked * cost[np.arange(len(arm)), arm - 1]
        weight = _weights(chance / self.propensity, self.session_start)
        return ratio_estimate(weight * spent, spent, self.cluster)


@njit(cache=True, nogil=True)
def _weights(likelihood: FloatArray, session_start: IntArray) -> FloatArray:
    """(n,) product of the likelihoods of the last decisions before each."""
    weights = np.ones(len(likelihood))
    for session in range(len(session_start) - 1):
        begin = session_start[session]
        for i in range(begin, session_start[session + 1]):
            for j in range(max(begin, i - LOOKBACK), i):
                weights[i] *= likelihood[j]
    return weights
