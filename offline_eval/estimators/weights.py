"""What an estimator makes of importance weights: from none of them to all of them.

Large weights are rare and noisy; to shrink them trades a little bias for much variance. Each
function has a parameter `limit` > 0 and tends to the weight itself as the limit grows.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from uplift.arrays import FloatArray

__all__ = ["Shrink", "clipped", "none", "optimistic", "sub_gaussian", "switched", "whole"]

Shrink: TypeAlias = Callable[[FloatArray, float], FloatArray]


def whole(weight: FloatArray, limit: float) -> FloatArray:
    """Return ``w``: unbiased."""
    return weight


def none(weight: FloatArray, limit: float) -> FloatArray:
    """Return 0: the model alone speaks."""
    return np.zeros_like(weight)


def clipped(weight: FloatArray, limit: float) -> FloatArray:
    """Return ``min(w, limit)`` (Ionides 2008)."""
    return np.minimum(weight, limit)


def switched(weight: FloatArray, limit: float) -> FloatArray:
    """Return ``w 1{w <= limit}``: the model speaks where weights are large (Wang et al. 2017)."""
    return np.where(weight <= limit, weight, 0.0)


def optimistic(weight: FloatArray, limit: float) -> FloatArray:
    """Return ``limit w / (w^2 + limit)``: least bias and variance together (Su et al. 2020)."""
    if np.isinf(limit):
        return weight
    return limit * weight / (weight**2 + limit)


def sub_gaussian(weight: FloatArray, limit: float) -> FloatArray:
    """Return ``w / (1 - s + s w)`` with ``s = 1 / limit``: a tail like a Gaussian's.

    Source: Metelli, Russo and Restelli, Subgaussian and differentiable importance sampling
    (NeurIPS 2021).
    """
    share = min(1.0 / limit, 1.0)
    below = 1.0 - share + share * weight
    return np.divide(weight, below, out=np.zeros_like(weight), where=weight > 0)
