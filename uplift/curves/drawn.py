"""Statistics of a log with their half-sample draws: intervals, and paired differences."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from uplift.arrays import FloatArray
from uplift.clusters import LEVEL, Estimate
from uplift.errors import InputError

__all__ = ["Drawn"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Statistics of a log, and the same statistics of its half samples.

    Attributes
    ----------
    values : (m, 1 + draws) of the log, then of each draw
    mass : (1 + draws,) total weight of each, which tells the rows apart that they come from
    clusters : number of clusters
    """

    values: FloatArray
    mass: FloatArray
    clusters: float

    def __sub__(self, other: "Drawn") -> "Drawn":
        """Difference draw by draw: what both rankings share by chance cancels."""
        if self.values.shape != other.values.shape or not np.allclose(self.mass, other.mass):
            raise InputError(
                "the curves are not of the same rows and draws; compare models on one log, with "
                "the same clusters, weights, draws, seed and grid."
            )
        return Drawn(self.values - other.values, self.mass, self.clusters)

    def interval(self) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the 95 % intervals, ``value -+ t(v) sd sqrt(G / (G - 1))``.

        sd is that of the R draws, G the number of clusters, and ``1 / v = 1 / (G - 1) +
        1 / (R - 1)``: both few clusters and few draws leave the spread uncertain. One cluster
        alone, or a statistic that is undefined in a draw, has an infinite interval.
        """
        value, drawn = self.values[:, 0], self.values[:, 1:]
        half = np.full(len(value), np.inf)
        if self._has_spread():
            half = self._stretch() * drawn.std(axis=1, ddof=1)
        half = np.where(np.isnan(half), np.inf, half)
        middle = np.where(np.isnan(value), 0.0, value)
        return middle - half, middle + half

    def quantiles(self) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the middle 95 % of the draws, for statistics that may be infinite.

        Outward to a draw, and stretched about the value as the ends of `interval` are.
        """
        value, drawn = self.values[:, 0], self.values[:, 1:]
        if not self._has_spread():
            return np.full(len(value), -np.inf), np.full(len(value), np.inf)
        stretch = self._stretch() / norm.ppf((1 + LEVEL) / 2)
        middle = np.where(np.isfinite(value), value, 0.0)
        lower = np.quantile(drawn, (1 - LEVEL) / 2, axis=1, method="lower")
        upper = np.quantile(drawn, (1 + LEVEL) / 2, axis=1, method="higher")
        return middle + stretch * (lower - middle), middle + stretch * (upper - middle)

    def _has_spread(self) -> bool:
        return self.values.shape[1] > 2 and self.clusters > 1.5

    def _stretch(self) -> float:
        others, draws = self.clusters - 1, self.values.shape[1] - 1
        freedom = 1 / (1 / others + 1 / (draws - 1))
        return float(student.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(1 + 1 / others))

    def estimates(self) -> list[Estimate]:
        """Return the statistics one by one."""
        lower, upper = self.interval()
        triples = zip(self.values[:, 0], lower, upper, strict=True)
        return [Estimate(*map(float, triple)) for triple in triples]
