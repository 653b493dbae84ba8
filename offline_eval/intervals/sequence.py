"""An interval that may be looked at every day: valid at all times at once."""

from dataclasses import dataclass

import numpy as np

from offline_eval.intervals.ratios import RatioSums
from uplift.clusters import LEVEL, Estimate
from uplift.errors import InputError

__all__ = ["ConfidenceSequence"]


@dataclass(frozen=True)
class ConfidenceSequence:
    """Asymptotic confidence sequence of an estimate on a log that grows.

    ``theta +- se sqrt(G) sqrt(2 (G rho^2 + 1) / (G^2 rho^2) log(sqrt(G rho^2 + 1) / (1 - level)))``
    with the clustered standard error se of G clusters.

    Whoever looks every day, and stops when the interval leaves 0, is wrong with probability
    1 - level at most over all days together, in the limit of many clusters at the first look; a
    fixed-time interval has no such guarantee. Clusters must not come back after they are complete,
    or be summed anew (states add). Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024,
    theorem 2.2; rho is best at the number of clusters `best_at`.

    Parameters
    ----------
    best_at : number of clusters at which the interval shall be narrowest
    level : coverage over all times
    first : clusters before which no interval is given
    """

    best_at: int = 10_000
    level: float = LEVEL
    first: int = 100

    def __post_init__(self) -> None:
        if self.best_at < 1 or self.first < 2 or not 0 < self.level < 1:
            raise InputError(
                f"best_at is {self.best_at}, first {self.first}, level {self.level}; expected at "
                "least 1, at least 2, and a number in (0, 1)."
            )

    def at(self, sums: RatioSums) -> Estimate:
        """Return the interval of the log so far; infinite before the first look."""
        count = len(sums.cluster)
        value = sums.value
        if count < self.first or not np.isfinite(value):
            return Estimate(value, -np.inf, np.inf)
        half = sums.error * np.sqrt(count) * self._width(count)
        return Estimate(value, value - half, value + half)

    def _width(self, count: int) -> float:
        """Half width for independent values of variance 1."""
        delta = 1 - self.level
        rho2 = (-2 * np.log(delta) + np.log(-2 * np.log(delta) + 1)) / self.best_at
        grown = count * rho2 + 1
        return float(np.sqrt(2 * grown / (count**2 * rho2) * np.log(np.sqrt(grown) / delta)))
