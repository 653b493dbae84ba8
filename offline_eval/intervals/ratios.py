"""Sums of ratios by cluster: the state behind every estimate, its interval and bootstrap."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.clusters import (
    LEVEL,
    Estimate,
    bootstrap,
    bootstrap_draws,
    influence_estimate,
    standard_error,
)
from uplift.errors import InputError
from uplift.hashing import hash_keys

__all__ = ["Ratio", "RatioSums"]

#: Integer clusters below this many times the rows are summed by place, without sorting them.
_SPARSE_CODES = 4


@dataclass(frozen=True, eq=False)
class Ratio:
    """Rows (n,) of a numerator and of a denominator; without a denominator the ratio is a mean."""

    numerator: FloatArray
    denominator: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class RatioSums:
    """``theta = sum_k sign_k N_k / D_k``, with the sums N_k, D_k kept by cluster.

    A mean has one ratio with the number of rows below; SNDR has two ratios; a paired difference
    has those of both sides, the second side's with the sign -1. States of shards add, also where a
    cluster has rows in both, as long as clusters are identifiers and not codes by shard.

    Attributes
    ----------
    cluster : (G,) identifiers, sorted, each once
    sums : (G, 2 K) numerators and denominators in turn
    sign : (K,) +1 or -1
    """

    cluster: NDArray[Any]
    sums: FloatArray
    sign: FloatArray

    @classmethod
    def of(cls, ratios: tuple[Ratio, ...], cluster: NDArray[Any]) -> "RatioSums":
        """Sum rows by cluster.

        Parameters
        ----------
        ratios : K ratios of (n,) rows
        cluster : (n,) whom each row belongs to: integers or strings

        Raises
        ------
        InputError
            There are no rows, or shapes differ.
        """
        shapes = {np.shape(cluster), *(np.shape(r.numerator) for r in ratios)}
        if len(shapes) > 1 or np.shape(cluster) in ((), (0,)):
            raise InputError(f"rows to sum have shapes {sorted(shapes)}; expected one (n,), n > 0.")
        names, code = _codes(np.asarray(cluster))
        sums, seen = _summed_by(code, ratios, len(names))
        there = np.flatnonzero(seen)
        if len(there) < len(names):
            names, sums = names[there], sums.take(there, axis=0)
        return cls(names, sums, np.ones(len(ratios)))

    def __add__(self, other: "RatioSums") -> "RatioSums":
        """Join two shards; the clusters of both are merged."""
        if not isinstance(other, RatioSums):
            return NotImplemented
        if not np.array_equal(self.sign, other.sign):
            raise InputError("the states hold different ratios; add states of the same estimator.")
        names, code = np.unique(np.r_[self.cluster, other.cluster], return_inverse=True)
        both = np.r_[self.sums, other.sums]
        sums = np.column_stack([_summed(code, column, len(names)) for column in both.T])
        return RatioSums(names, sums, self.sign)

    def __sub__(self, other: "RatioSums") -> "RatioSums":
        """Pair two estimates on the same clusters: the state of their difference."""
        if not isinstance(other, RatioSums):
            return NotImplemented
        if not np.array_equal(self.cluster, other.cluster):
            raise InputError(
                "the states speak of different clusters; a paired difference needs both sides "
                "from the same log."
            )
        return RatioSums(self.cluster, np.c_[self.sums, other.sums], np.r_[self.sign, -other.sign])

    @property
    def value(self) -> float:
        """The estimate; NaN where a denominator is 0."""
        return float(self._value(self._total[:, None])[0, 0])

    @property
    def influence(self) -> FloatArray:
        """(G,) ``sum_k sign_k (N_kc - N_k / D_k D_kc) / D_k`` of each cluster c."""
        above, below = self._total[::2], self._total[1::2]
        with np.errstate(invalid="ignore", divide="ignore"):
            of_above = self.sign / below
            sides = np.column_stack([of_above, -of_above * (above / below)]).ravel()
            influence: FloatArray = self.sums @ sides
        return influence

    def estimate(self, level: float = LEVEL) -> Estimate:
        """Put the clustered interval of the influence function about the value."""
        return influence_estimate(self.value, self.influence, level)

    @property
    def error(self) -> float:
        """Clustered standard error."""
        return standard_error(self.influence)

    def bootstrap(self, draws: int = 1000, seed: int = 0) -> Estimate:
        """Put the interval of a Poisson bootstrap of the clusters about the value."""
        lower, upper = bootstrap(self.sums, self._value, draws, seed, self._key)
        return Estimate(self.value, float(lower[0]), float(upper[0]))

    def draws(self, draws: int = 1000, seed: int = 0) -> FloatArray:
        """Return the estimate of each draw of the bootstrap, (draws,)."""
        drawn: FloatArray = bootstrap_draws(self.sums, self._value, draws, seed, self._key)[0]
        return drawn

    @cached_property
    def _total(self) -> FloatArray:
        """(2 K,) sums of all clusters; a product is quicker than a sum over narrow rows."""
        total: FloatArray = np.ones(len(self.sums)) @ self.sums
        return total

    @cached_property
    def _key(self) -> NDArray[np.uint64]:
        """(G,) what draws know the clusters by: the same in every shard."""
        return hash_keys(self.cluster)

    def _value(self, totals: FloatArray) -> FloatArray:
        """Return the statistic (1, m) of totals (2 K, m)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            rate: FloatArray = totals[::2] / totals[1::2]
            signed: FloatArray = np.sum(self.sign[:, None] * rate, axis=0, keepdims=True)
        return signed


def _codes(cluster: NDArray[Any]) -> tuple[NDArray[Any], IntArray]:
    """Name the clusters, and give each row's place among the names; a name may have no row."""
    if cluster.dtype.kind in "iu" and int(cluster.min()) >= 0:
        size = int(cluster.max()) + 1
        if size <= _SPARSE_CODES * len(cluster) + 1024:
            return np.arange(size), cluster
    names, code = np.unique(cluster, return_inverse=True)
    return names, code


def _summed_by(
    code: IntArray, ratios: tuple[Ratio, ...], size: int
) -> tuple[FloatArray, BoolArray]:
    """Sum both sides of each ratio by cluster, (size, 2 K), and tell which clusters have rows."""
    from offline_eval.intervals.sums import add_mean, add_ratio

    sums, seen = np.zeros((size, 2 * len(ratios))), np.zeros(size, dtype=np.bool_)
    for k, ratio in enumerate(ratios):
        above = np.asarray(ratio.numerator, dtype=np.float64)
        if ratio.denominator is None:
            add_mean(code, above, 2 * k, sums, seen)
        else:
            below = np.asarray(ratio.denominator, dtype=np.float64)
            add_ratio(code, above, below, 2 * k, sums, seen)
    return sums, seen


def _summed(code: IntArray, column: FloatArray, size: int) -> FloatArray:
    sums: FloatArray = np.bincount(code, column, size).astype(np.float64, copy=False)
    return sums
