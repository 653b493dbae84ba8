"""Outcome models for doubly robust estimators, fitted on a log's own users out of fold."""

import numpy as np

from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.learners import LEARNERS, UpliftLearner
from uplift.log import RequestLog

__all__ = ["cross_fit_outcome", "more_robust_weight"]


def cross_fit_outcome(
    log: RequestLog, learner: str | UpliftLearner = "s", *, pi: FloatArray | None = None
) -> FloatArray:
    """Model the primary outcome under each arm, every user by users of other folds.

    Parameters
    ----------
    log : randomised log
    learner : name or learner of `uplift.learners`; only what it predicts of outcomes is used
    pi : (n, A + 1) a policy's probabilities: rows are then weighted as MRDR asks for that policy,
        see `more_robust_weight`

    Returns
    -------
    (n, A + 1)

    Raises
    ------
    InputError
        As `UpliftLearner.fit`.

    Source: MRDR, Farajtabar, Chow and Ghavamzadeh, More robust doubly robust off-policy evaluation
    (ICML 2018).
    """
    from sklearn.base import clone

    encoder = FeatureEncoder.fit(log)
    model = LEARNERS[learner]() if isinstance(learner, str) else clone(learner)
    model.set_params(feature_types=encoder.types)
    return model.fit_out_of_fold(
        encoder.transform(log.frame),
        log.outcome(),
        log.arm,
        propensity=log.propensity,
        sample_weight=None if pi is None else more_robust_weight(log, pi),
        groups=log.cluster,
    ).outcome


def more_robust_weight(log: RequestLog, pi: FloatArray) -> FloatArray:
    """Return ``pi(a_i | x_i) (1 - p_i) / p_i^2``, (n,): MRDR's weight of squared residuals.

    A model fitted with it makes the variance of DR least, not its own error.
    """
    target, p = pi[np.arange(len(log)), log.arm], log.propensity
    weight: FloatArray = target * (1 - p) / p**2
    if not weight.any():
        raise InputError(
            "the policy never does what the log did, so no row tells of it; log arms that it gives."
        )
    return weight
