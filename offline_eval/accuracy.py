"""How well a model tells purchases apart: AUC, overall and by arm."""

import numpy as np
from scipy.stats import rankdata

from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.clusters import Estimate, cluster_sums, influence_estimate
from uplift.errors import InputError
from uplift.log import RequestLog

__all__ = ["auc", "purchase_auc"]


def purchase_auc(log: RequestLog, outcome: FloatArray) -> dict[str, Estimate]:
    """Return the AUC of the predicted outcome under the logged arm, overall and by arm.

    A good AUC is no good uplift: it says that buyers are told apart, not what a request changes.

    Parameters
    ----------
    log : a log that the model has not seen, with a binary primary outcome
    outcome : (n, A + 1) predicted outcome under each arm

    Returns
    -------
    by ``overall`` and the names of the arms; arms without both buyers and others are left out

    Raises
    ------
    InputError
        The outcome is not binary, or shapes do not match.
    """
    y, arm = log.outcome(), log.arm
    if outcome.shape != (len(log), log.schema.n_arms + 1):
        raise InputError(f"outcome has shape {outcome.shape}; expected rows of the log by arms.")
    if not np.isin(y, (0.0, 1.0)).all():
        raise InputError(f"{log.schema.primary!r} is not binary; an AUC needs 0 and 1.")
    score, cluster = outcome[np.arange(len(log)), arm], log.cluster
    parts = {"overall": np.ones(len(log), bool)}
    parts |= {name: arm == a for a, name in enumerate(log.schema.arms)}
    return {
        name: auc(score[rows], y[rows] > 0, cluster[rows])
        for name, rows in parts.items()
        if 0 < y[rows].sum() < rows.sum()
    }


def auc(score: FloatArray, hit: BoolArray, cluster: IntArray) -> Estimate:
    """Return ``P(score of a hit > score of a miss) + 1/2 P(equal)``, clustered.

    The influence of a row is its placement among the rows of the other kind, less the AUC, over
    the number of its own kind. Source: DeLong et al. 1988; Obuchowski 1997.

    Parameters
    ----------
    score : (n,) higher is likelier
    hit : (n,) of both kinds
    cluster : (n,) codes
    """
    hits, misses = int(hit.sum()), int((~hit).sum())
    if not hits or not misses:
        raise InputError("an AUC needs rows of both kinds.")
    rank = rankdata(score)
    placement = np.empty(len(score))
    placement[hit] = (rank[hit] - rankdata(score[hit])) / misses
    placement[~hit] = 1 - (rank[~hit] - rankdata(score[~hit])) / hits
    value = float(placement[hit].mean())
    influence = (placement - value) / np.where(hit, hits, misses)
    by_cluster = cluster_sums(influence[:, None], cluster)[np.bincount(cluster) > 0, 0]
    return influence_estimate(value, by_cluster)
