"""What becomes of the weights: the bias that buys less noise."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["Clip", "Plain", "Shrink", "SubGaussian", "Switch", "Weighting"]


class Weighting(Protocol):
    """Maps weights (n,) to weights (n,)."""

    def __call__(self, weight: FloatArray) -> FloatArray:
        """Return the changed weights."""


@dataclass(frozen=True)
class Plain:
    """``w``: unbiased."""

    def __call__(self, weight: FloatArray) -> FloatArray:
        """Return the weights as they are."""
        return weight


@dataclass(frozen=True)
class Clip:
    """``min(w, limit)``. Source: Ionides 2008."""

    limit: float

    def __post_init__(self) -> None:
        _check("limit", self.limit, 0.0, np.inf)

    def __call__(self, weight: FloatArray) -> FloatArray:
        """Return the clipped weights."""
        return np.minimum(weight, self.limit)


@dataclass(frozen=True)
class Switch:
    """``w 1{w <= limit}``: beyond the limit the model alone speaks. Source: Wang et al. 2017."""

    limit: float

    def __post_init__(self) -> None:
        _check("limit", self.limit, 0.0, np.inf)

    def __call__(self, weight: FloatArray) -> FloatArray:
        """Return the weights, 0 beyond the limit."""
        return np.where(weight <= self.limit, weight, 0.0)


@dataclass(frozen=True)
class Shrink:
    """``strength w / (w^2 + strength)``: 0 trusts the model alone. Source: Su et al. 2020."""

    strength: float

    def __post_init__(self) -> None:
        _check("strength", self.strength, 0.0, np.finfo(float).max)

    def __call__(self, weight: FloatArray) -> FloatArray:
        """Return the optimistically shrunk weights."""
        if self.strength == 0:
            return np.zeros_like(weight)
        return self.strength * weight / (weight * weight + self.strength)


@dataclass(frozen=True)
class SubGaussian:
    """``w / (1 - share + share w)``: 0 is no change, 1 no weighting.

    Source: Metelli et al. 2021.
    """

    share: float

    def __post_init__(self) -> None:
        _check("share", self.share, 0.0, 1.0)

    def __call__(self, weight: FloatArray) -> FloatArray:
        """Return the harmonically shrunk weights; what is 0 stays 0."""
        if self.share == 1:
            return (weight > 0).astype(np.float64)
        return weight / (1 - self.share + self.share * weight)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{name} is {value}; expected a number in [{low:g}, {high:g}].")
