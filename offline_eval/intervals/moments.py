"""Moments of ratio sums: what an interval needs where no cluster has rows in two shards."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from offline_eval.intervals.ratios import RatioSums
from uplift.arrays import FloatArray
from uplift.clusters import LEVEL, Estimate
from uplift.errors import InputError

__all__ = ["RatioMoments"]

ROUND_OFF = 1e-13
"""Share of a sum of squares that may be left of terms that cancel."""


@dataclass(frozen=True, eq=False)
class RatioMoments:
    """The state of `RatioSums` in a few numbers, however many clusters there are.

    With s_c the (2 K,) sums of cluster c and m their mean, it holds G, m and ``M = sum_c (s_c - m)
    (s_c - m)'``. The influence of a cluster is linear in s_c and sums to 0, so that

        theta = sum_k sign_k N_k / D_k,   se^2 = G / (G - 1) v' M v,   v = d theta / d (sum s)

    States of shards add as long as each cluster lies in one of them; moments about the mean lose
    no digits to the size of the sums.

    Attributes
    ----------
    count : clusters G
    mean : (2 K,) mean of the sums by cluster
    spread : (2 K, 2 K) M
    sign : (K,) +1 or -1

    Source: Chan, Golub, LeVeque 1979 (the sum of two states).
    """

    count: int
    mean: FloatArray
    spread: FloatArray
    sign: FloatArray

    @classmethod
    def of(cls, sums: RatioSums) -> "RatioMoments":
        """Take the moments of a state that still knows its clusters."""
        mean = sums.sums.mean(axis=0)
        off = sums.sums - mean
        return cls(len(sums.cluster), mean, off.T @ off, sums.sign)

    def __add__(self, other: "RatioMoments") -> "RatioMoments":
        """Join two shards that share no cluster."""
        if not isinstance(other, RatioMoments):
            return NotImplemented
        if not np.array_equal(self.sign, other.sign):
            raise InputError("the states hold different ratios; add states of the same estimator.")
        count, off = self.count + other.count, other.mean - self.mean
        mean = self.mean + off * (other.count / count)
        between = np.outer(off, off) * (self.count * other.count / count)
        return RatioMoments(count, mean, self.spread + other.spread + between, self.sign)

    @property
    def total(self) -> FloatArray:
        """(2 K,) sums over all clusters."""
        return self.count * self.mean

    @property
    def value(self) -> float:
        """The estimate; NaN where a denominator is 0."""
        above, below = self.mean[::2], self.mean[1::2]
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.sum(self.sign * (above / below)))

    @property
    def error(self) -> float:
        """Clustered standard error."""
        above, below = self.total[::2], self.total[1::2]
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = np.column_stack([self.sign / below, -self.sign * above / below**2]).ravel()
        squares, size = slope @ self.spread @ slope, abs(slope) @ abs(self.spread) @ abs(slope)
        if squares <= ROUND_OFF * size:  # a constant ratio, but for rounding
            return 0.0
        return float(np.sqrt(self.count / max(self.count - 1, 1) * squares))

    def estimate(self, level: float = LEVEL) -> Estimate:
        """Put the clustered interval ``theta +- t(G - 1) se`` about the value."""
        value = self.value
        if self.count < 2 or not np.isfinite(value):
            return Estimate(value, -np.inf, np.inf)
        half = float(student.ppf((1 + level) / 2, self.count - 1)) * self.error
        return Estimate(value, value - half, value + half)
