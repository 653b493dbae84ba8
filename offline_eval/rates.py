"""Purchase rates without a request, after a random request and after the model's request.

The plain ratio of the model's rate to the rate without request mixes selection (the policy picks
moments of high intent) with effect; the causal gain compares the same moments with and without.
"""

import re
from dataclasses import dataclass

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.clusters import Estimate, ratio_estimate
from uplift.log import RequestLog

__all__ = ["PurchaseRate", "effects", "purchase_rates"]


@dataclass(frozen=True)
class PurchaseRate:
    """One outcome's mean rates, per decision point; `horizon` is its slots, where it has any.

    Attributes
    ----------
    outcome, horizon : ``purchase_10`` has the horizon 10
    none : without a request, at all decision points
    random : after a request, at all decision points
    model : after a request, at the decision points that the policy picks
    model_without : without a request, at those same points
    causal_gain : ``model - model_without``
    mixed_ratio : ``model / none``: selection and effect together
    """

    outcome: str
    horizon: int | None
    none: Estimate
    random: Estimate
    model: Estimate
    model_without: Estimate
    causal_gain: Estimate
    mixed_ratio: float


def purchase_rates(log: RequestLog, pi: FloatArray) -> list[PurchaseRate]:
    """Estimate the purchase-rate table, one row an outcome.

    Each rate is self-normalised: ``sum_i w_i y_i / sum_i w_i`` with ``w_i = target_i /
    propensity_i``, with intervals from the ratio's influence function, clustered.

    Parameters
    ----------
    log : randomised log
    pi : (n, A + 1) the policy's probabilities; an empty list comes back where it never requests
    """
    asked = 1 - pi[:, 0]
    logged = pi[np.arange(len(log)), log.arm]
    none = (log.arm == 0) / log.propensity
    request = (log.arm > 0) / log.propensity
    picked = np.where(log.arm > 0, logged, 0.0) / log.propensity
    if not (picked.any() and (asked * none).any()):
        return []
    weights = {"none": none, "random": request, "model": picked, "model_without": asked * none}
    return [_rate(name, log.outcome(name), weights, log.cluster) for name in log.schema.outcomes]


def effects(log: RequestLog) -> dict[str, Estimate]:
    """Estimate the mean effect of a random request on every outcome, self-normalised."""
    none, request = (log.arm == 0) / log.propensity, (log.arm > 0) / log.propensity
    return {
        name: _difference(log.outcome(name), request, none, log.cluster)
        for name in log.schema.outcomes
    }


def _rate(
    name: str,
    y: FloatArray,
    weights: dict[str, FloatArray],
    cluster: IntArray,
) -> PurchaseRate:
    rates = {key: ratio_estimate(w * y, w, cluster) for key, w in weights.items()}
    gain = _difference(y, weights["model"], weights["model_without"], cluster)
    horizon = re.fullmatch(r"purchase_(\d+)", name)
    ratio = rates["model"].value / rates["none"].value if rates["none"].value else np.nan
    return PurchaseRate(
        name, int(horizon[1]) if horizon else None, **rates, causal_gain=gain, mixed_ratio=ratio
    )


def _difference(
    y: FloatArray, first: FloatArray, second: FloatArray, cluster: IntArray
) -> Estimate:
    """Difference of two weighted means of y over the same clusters.

    The influence of a row is that on the first mean minus that on the second.
    """
    means = [float(w @ y / w.sum()) for w in (first, second)]
    n = len(y)
    influence = [n * w * (y - m) / w.sum() for w, m in zip((first, second), means, strict=True)]
    spread = ratio_estimate(influence[0] - influence[1], np.ones(n), cluster)
    shift = means[0] - means[1]
    return Estimate(shift, shift + spread.lower, shift + spread.upper)
