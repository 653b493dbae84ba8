"""Rewards to the session's end under each arm, by fitted Q-evaluation."""

import numpy as np

from uplift.arrays import FloatArray
from uplift.boosting import BoostParams
from uplift.cross_fit import fold_masks, fold_of
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.learners import SLearner, UpliftLearner
from uplift.log import RequestLog

__all__ = ["fitted_values"]

#: Users fall in these folds by another hash than in the learner's own, or those would be uneven.
_OUTER = 1 << 20
_FEW_ROUNDS = BoostParams(max_rounds=60, max_depth=4, learning_rate=0.2)


def fitted_values(
    log: RequestLog,
    pi: FloatArray,
    reward: FloatArray,
    *,
    learner: UpliftLearner | None = None,
    sweeps: int = 4,
    folds: int = 2,
    seed: int = 0,
) -> FloatArray:
    """Return modelled rewards to the session's end under each arm, the policy going on, (n, A + 1).

    ``Q <- fit(r_t + sum_a pi(a | x_(t+1)) Q(x_(t+1), a))``, 0 after the last decision, so many
    times; each sweep looks one decision further. By models of other users throughout. That too
    few sweeps were made, or that features do not tell the state, costs the doubly robust
    estimators precision and no bias. Source: Le et al. 2019.

    Parameters
    ----------
    log, pi, reward : as `Sessions.of` takes them
    learner : an S-learner of few small trees by default
    sweeps : at least 1
    folds, seed : the users fall in so many folds, by a hash

    Raises
    ------
    InputError
        All users fall in one fold, or there is no sweep.
    """
    fold = fold_of(log.cluster, folds, seed + _OUTER)
    if len(np.unique(fold)) < 2 or sweeps < 1:
        raise InputError(
            f"values need users in at least two folds and at least one sweep; got {folds} folds, "
            f"{sweeps} sweeps."
        )
    from sklearn.base import clone

    encoder = FeatureEncoder.fit(log)
    X, following = encoder.transform(log.frame), _following(log)
    base = learner or SLearner(_FEW_ROUNDS, feature_types=encoder.types)
    value = np.empty(pi.shape)
    for held in fold_masks(fold):
        rows = np.flatnonzero(~held)
        model, target = clone(base), reward
        for _ in range(sweeps):
            groups = log.cluster[rows]
            model.fit(X[rows], target[rows], log.arm[rows], groups=groups)
            target = reward + _ahead(np.einsum("na,na->n", pi, model.predict_outcome(X)), following)
        value[held] = model.predict_outcome(X[held])
    return value


def _following(log: RequestLog) -> np.ndarray:
    """(n,) row of the session's next decision, or -1."""
    order = log.session_order
    same = np.diff(log.session[order]) == 0
    following = np.full(len(order), -1)
    following[order[:-1][same]] = order[1:][same]
    return following


def _ahead(value: FloatArray, following: np.ndarray) -> FloatArray:
    return np.where(following >= 0, value[following], 0.0)
