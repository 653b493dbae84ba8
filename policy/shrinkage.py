"""Shrinkage: gains are uncertain, so the spread of their predictions is not taken at its word."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.log import RequestLog

__all__ = ["Shrinkage", "Shrunk"]


@dataclass(frozen=True)
class Shrinkage:
    """``(1 - share) gain + share mean``: gains moved towards their mean.

    Attributes
    ----------
    share : of the distance to the mean that a gain is moved, in [0, 1)
    mean : (A,) mean gain of each arm on the planned log
    """

    share: float
    mean: FloatArray

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError(
                f"shrink is {self.share}; expected a share in [0, 1): 0 takes the gains as they "
                "are, and 1 would make all of them equal."
            )

    @classmethod
    def of(cls, gain: FloatArray, share: float) -> "Shrinkage":
        """Shrink towards the mean of these gains, (n, A)."""
        return cls(share, np.asarray(gain).mean(axis=0))

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "Shrinkage":
        """Rebuild a shrinkage from plain values."""
        return cls(float(table["share"]), np.array(table["mean"], dtype=np.float64))

    def __call__(self, gain: FloatArray) -> FloatArray:
        """Return (n, A) gains, shrunk."""
        shrunk: FloatArray = (1 - self.share) * gain + self.share * self.mean
        return shrunk


@dataclass(frozen=True)
class Shrunk:
    """A source of gains, shrunk."""

    gain: Callable[[RequestLog], FloatArray]
    shrinkage: Shrinkage

    def __call__(self, log: RequestLog) -> FloatArray:
        """Return the (n, A) gains of a log, shrunk."""
        return self.shrinkage(self.gain(log))
