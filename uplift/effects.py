"""What each arm is worth at each decision point, from a randomised log."""

import numpy as np

from uplift.arrays import FloatArray, IntArray

__all__ = ["arm_scores", "effect_scores"]


def arm_scores(
    y: FloatArray, arm: IntArray, propensity: FloatArray, outcome: FloatArray
) -> FloatArray:
    """Return doubly robust scores of the outcome under each arm, (n, A + 1).

    ``score[i, a] = m[i, a] + 1{arm_i = a} (y_i - m[i, a]) / propensity_i``

    Their mean over any set of rows chosen without looking at y is unbiased for the mean outcome
    under arm a, whatever m, when the propensities are known; a good m makes them less noisy.

    Parameters
    ----------
    y, arm, propensity : (n,) outcome, logged arm, probability of the logged arm
    outcome : (n, A + 1) model m of the outcome, fitted on other users; zeros give inverse
        propensity weighting
    """
    scores = np.array(outcome, dtype=np.float64)
    rows = np.arange(len(y))
    scores[rows, arm] += (y - scores[rows, arm]) / propensity
    return scores


def effect_scores(
    y: FloatArray, arm: IntArray, propensity: FloatArray, outcome: FloatArray
) -> FloatArray:
    """Return doubly robust scores of the uplift of each arm over arm 0, (n, A)."""
    scores = arm_scores(y, arm, propensity, outcome)
    return scores[:, 1:] - scores[:, :1]
