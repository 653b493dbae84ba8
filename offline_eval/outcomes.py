"""Outcome models for DM and DR: cross-fitted by user, plain or as MRDR wants them."""

from uplift.arrays import FloatArray
from uplift.features import FeatureEncoder
from uplift.learners import SLearner, UpliftLearner
from uplift.log import RequestLog

__all__ = ["cross_fitted_outcome", "mrdr_weights"]


def cross_fitted_outcome(
    log: RequestLog, learner: UpliftLearner | None = None, *, weight: FloatArray | None = None
) -> FloatArray:
    """Return the modelled outcome under each arm, by a model that has not seen the user.

    For a log that is evaluated on without a model of other users at hand. What the folds share is
    the number of rounds (`UpliftLearner.fit_out_of_fold`).

    Parameters
    ----------
    log : randomised log
    learner : an S-learner by default, with its folds
    weight : (n,) sample weights, such as `mrdr_weights`

    Returns
    -------
    (n, A + 1)

    Raises
    ------
    InputError
        All users fall in one fold, or the learner refuses the log.
    """
    encoder = FeatureEncoder.fit(log)
    fitted = (learner or SLearner(feature_types=encoder.types)).fit_out_of_fold(
        encoder.transform(log.frame),
        log.outcome(),
        log.arm,
        propensity=log.propensity,
        sample_weight=weight,
        groups=log.cluster,
    )
    return fitted.outcome


def mrdr_weights(target: FloatArray, propensity: FloatArray) -> FloatArray:
    """Return the sample weights that make an outcome model minimise DR's variance, (n,).

    ``pi(a_i | x_i) (1 - p_i) / p_i^2``. Source: Farajtabar et al. 2018.

    Parameters
    ----------
    target, propensity : (n,) probability of the logged arm under the policy and in the log
    """
    return target * (1 - propensity) / propensity**2
