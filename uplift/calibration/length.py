"""The length of a vector of which only a noisy copy is known, with its interval."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtrc

from uplift.arrays import FloatArray
from uplift.clusters import LEVEL, Estimate

__all__ = ["length_estimate"]


def length_estimate(seen: FloatArray, covariance: FloatArray) -> Estimate:
    """Estimate ``theta = |m|`` from ``seen ~ N(m, A)``.

    ``theta^2 = max(0, Q - tr A)``, with ``Q = |seen|^2``, whose expectation is ``theta^2 + tr A``.
    The interval holds the thetas for which Q lies within its central 95 %, by a gamma distribution
    with Q's first three cumulants,

    ``kappa_k = 2^(k-1) (k-1)! (tr A^k + k m'A^(k-1) m)``,

    where m is taken to point to where A is greatest: the interval covers at least 95 %, whatever
    the direction. For the upper end Q counts as at least tr A, so that less than the noise's own
    part never passes for precision. Near 0 the interval is one-sided, [0, upper], and covers
    97.5 %. Without noise it has no width.

    Parameters
    ----------
    seen : (k,)
    covariance : (k, k) A
    """
    squared, noise = float(seen @ seen), float(np.trace(covariance))
    if noise == 0:
        return Estimate(*(float(np.sqrt(squared)),) * 3)
    spectrum = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
    tail = (1 - LEVEL) / 2
    ends = (
        _solve(lambda square: _above(squared, spectrum, square) - tail, noise),
        _solve(lambda square: _above(max(squared, noise), spectrum, square) - 1 + tail, noise),
    )
    value = max(squared - noise, 0.0)
    return Estimate(*(float(np.sqrt(v)) for v in (value, *ends)))


def _above(at: float, spectrum: FloatArray, square: float) -> float:
    """P(Q > at) where the squared length is `square` and A has this spectrum."""
    most = spectrum.max()
    mean = spectrum.sum() + square
    variance = 2 * (spectrum @ spectrum + 2 * square * most)
    third = 8 * ((spectrum**3).sum() + 3 * square * most**2)
    freedom = 8 * variance**3 / third**2
    place = freedom + np.sqrt(2 * freedom / variance) * (at - mean)
    return float(chdtrc(freedom, max(place, 0.0)))


def _solve(rising: Callable[[float], float], scale: float) -> float:
    """Return where a rising function crosses 0, or 0 if it starts above."""
    if rising(0.0) >= 0:
        return 0.0
    high = scale
    while rising(high) < 0:
        high *= 2
    return float(brentq(rising, 0.0, high, xtol=1e-12 * scale))
