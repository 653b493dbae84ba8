"""Several logging policies in one log."""

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = ["mixture_propensity"]


def mixture_propensity(propensity: FloatArray, logger: IntArray) -> FloatArray:
    """Return the propensity of the logged arm under the mixture of all logging policies, (n,).

    ``p_i = sum_l n_l / n p_l(a_i | x_i)``

    Weighting by it (balanced weighting) is unbiased as each logger's own propensities are, and
    never gives the large weights that one careful logger alone gives. The mixture's shares are
    those of the rows, so the contexts must not depend on the logger. Source: Agarwal et al. 2017.

    Parameters
    ----------
    propensity : (n, L) probability of the logged arm under each logging policy; 0 where a policy
        would not have given it
    logger : (n,) which policy logged the row, 0 .. L - 1

    Raises
    ------
    InputError
        Shapes do not match, a probability is outside [0, 1], or a row's own logger gives it none.
    """
    n = len(logger)
    if propensity.ndim != 2 or len(propensity) != n or n == 0:
        raise InputError(f"propensity has shape {propensity.shape}; expected ({n}, loggers).")
    if int(logger.min()) < 0 or int(logger.max()) >= propensity.shape[1]:
        raise InputError(f"logger must number the {propensity.shape[1]} columns of propensity.")
    if not ((propensity >= 0) & (propensity <= 1)).all():
        raise InputError("propensities must lie in [0, 1] everywhere.")
    if not (propensity[np.arange(n), logger] > 0).all():
        raise InputError("a row's own logging policy must give its arm a probability above 0.")
    mixed: FloatArray = propensity @ (np.bincount(logger, minlength=propensity.shape[1]) / n)
    return mixed
