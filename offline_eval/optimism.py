"""The optimism gap: what a model promises of a policy beyond what the log finds."""

import numpy as np

from offline_eval.evaluation import gain_rows
from uplift.arrays import FloatArray
from uplift.clusters import Estimate, ratio_estimate
from uplift.log import RequestLog

__all__ = ["optimism_gap"]


def optimism_gap(
    log: RequestLog, pi: FloatArray, gain: FloatArray, outcome: FloatArray
) -> Estimate:
    """Return promised gain minus off-policy gain, per decision point, paired on the same points.

    ``mean_i [sum_a pi_a gain_a - sum_a (pi_a - 1{a = 0}) score_a]`` with the doubly robust scores
    of `uplift.effects`. A policy picks the points whose gains are predicted highest, and so the
    predictions that err upwards: above 0, it promises too much.

    Parameters
    ----------
    log : randomised log that neither model nor policy was made with
    pi : (n, A + 1) the policy's probabilities
    gain : (n, A) the gain that the policy goes by
    outcome : (n, A + 1) modelled outcome under each arm
    """
    promised = np.einsum("na,na->n", pi[:, 1:], gain)
    return ratio_estimate(promised - gain_rows(log, pi, outcome), np.ones(len(log)), log.cluster)
