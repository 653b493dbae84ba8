"""Can features tell two kinds of rows apart? A classifier's held-out AUC, with its error."""

import numpy as np

from uplift.arrays import BoolArray, FloatArray
from uplift.hashing import hash_uniform
from uplift.log import RequestLog

__all__ = ["MOST_ROWS", "told_apart"]

#: More rows than this are thinned to it.
MOST_ROWS = 200_000


def told_apart(
    log: RequestLog, label: BoolArray, weight: FloatArray, seed: int = 0
) -> tuple[float, float]:
    """Return the AUC of a label by the features, on held-out users, and its error under no tie.

    A classifier is fitted on one half of the users and asked about the other, on at most 200,000
    rows. The error is that of an AUC of 1/2, at the effective number of rows of each kind.

    Parameters
    ----------
    log : rows of both kinds
    label : (n,) the kind
    weight : (n,) sample weights
    seed : of the halves, and of the rows taken
    """
    from sklearn.metrics import roc_auc_score

    from uplift.binned import BinnedRows
    from uplift.boosting import BoostedModel, BoostParams, BoostTask, train
    from uplift.features import FeatureEncoder

    if len(log) > MOST_ROWS:
        rows = np.random.default_rng(seed).choice(len(log), MOST_ROWS, replace=False)
        log, label, weight = log.take(rows), label[rows], weight[rows]
    encoder = FeatureEncoder.fit(log)
    X = encoder.transform(log.frame)
    fit = hash_uniform(log.cluster, seed) < 0.5  # one half of the users
    if min(np.unique(label[fit]).size, np.unique(label[~fit]).size) < 2:
        return 0.5, 0.5
    params = BoostParams(max_rounds=50, max_depth=3, learning_rate=0.2)
    task, index = BoostTask(label, "binary:logistic", weight), np.flatnonzero(fit)
    matrix = BinnedRows(X, encoder.types).matrix("one half", index)
    model = BoostedModel(train(task, matrix, index, params, params.max_rounds), encoder.types)
    auc = roc_auc_score(label[~fit], model.margin(X[~fit]), sample_weight=weight[~fit])
    sizes = [_kish(weight[~fit & (label == side)]) for side in (True, False)]
    error = np.sqrt((sum(sizes) + 1) / (12 * sizes[0] * sizes[1]))
    return float(auc), float(error * _design_effect(label[~fit], weight[~fit], log.cluster[~fit]))


def _design_effect(label: BoolArray, weight: FloatArray, cluster: np.ndarray) -> float:
    """Return how much wider errors are for kinds that go together inside clusters, at least 1."""
    excess = weight * (label - np.average(label, weights=weight))
    clustered = np.bincount(cluster, excess)
    apart, together = float(excess @ excess), float(clustered @ clustered)
    return float(np.sqrt(max(1.0, together / max(apart, 1e-12))))


def _kish(weight: FloatArray) -> float:
    return float(weight.sum() ** 2 / (weight**2).sum())
