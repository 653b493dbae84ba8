"""What an estimate is a function of: sums by cluster, of a size that users set and not rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from uplift.arrays import FloatArray, IntArray
from uplift.clusters import LEVEL, Estimate, bootstrap
from uplift.errors import InputError
from uplift.hashing import hash_keys

__all__ = ["ValueState"]


@dataclass(frozen=True, eq=False)
class ValueState:
    """Sums by cluster of an estimate ``theta = sum_k sign[k] N[k] / D[k]``.

    ``a + b`` is the state of both shards' rows together, also where a cluster has rows in both;
    ``a - b`` the paired difference of two estimates on the same rows. For shards, clusters must be
    identifiers, not codes by shard.

    Attributes
    ----------
    key : (G,) what each cluster is known by, rising
    sums : (G, 2 K) numerators N, then denominators D
    sign : (K,) +1 or -1
    """

    key: NDArray[np.uint64]
    sums: FloatArray
    sign: FloatArray

    @classmethod
    def of(
        cls, numerators: list[FloatArray], denominators: list[FloatArray], cluster: NDArray[Any]
    ) -> "ValueState":
        """Sum rows: K columns (n,) each, and whom each row belongs to (integers or strings)."""
        codes, known = _codes(cluster)
        sums = _sums((*numerators, *denominators), codes, len(known))
        order = np.argsort(known)
        return cls(known[order], sums[order], np.ones(len(numerators)))

    def __add__(self, other: "ValueState") -> "ValueState":
        if not np.array_equal(self.sign, other.sign):
            raise InputError("the states are of different estimates; add shards of one estimate.")
        key, place = np.unique(np.concatenate((self.key, other.key)), return_inverse=True)
        both = np.concatenate((self.sums, other.sums))
        return ValueState(key, _sums(both.T, place, len(key)), self.sign)

    def __sub__(self, other: "ValueState") -> "ValueState":
        if not np.array_equal(self.key, other.key):
            raise InputError("the states are of different users; estimate both on the same rows.")
        terms, others = len(self.sign), len(other.sign)
        own, theirs = self.sums, other.sums
        sums = np.column_stack(
            [own[:, :terms], theirs[:, :others], own[:, terms:], theirs[:, others:]]
        )
        return ValueState(self.key, sums, np.concatenate((self.sign, -other.sign)))

    @property
    def value(self) -> float:
        """The estimate itself."""
        return float(self._theta(self.sums.sum(axis=0)[:, None])[0])

    @property
    def error(self) -> float:
        """Standard error by the influence function, clustered; infinite for one cluster.

        ``psi_c = sum_k sign[k] (N_ck - theta_k D_ck) / D_k``, ``se^2 = G / (G - 1) sum_c psi_c^2``
        """
        total, terms, count = self.sums.sum(axis=0), len(self.sign), len(self.sums)
        numerator, denominator = total[:terms], total[terms:]
        if count < 2 or not denominator.all():
            return np.inf
        share = self.sign / denominator
        influence = self.sums @ np.concatenate((share, -share * numerator / denominator))
        return float(np.sqrt(count / (count - 1) * (influence @ influence)))

    def estimate(self) -> Estimate:
        """Return ``theta +- t(G - 1) se``.

        A self-normalised estimate of a constant reward has no width.
        """
        theta, error = self.value, self.error
        if np.isinf(error):
            return Estimate(theta, -np.inf, np.inf)
        half = float(student.ppf((1 + LEVEL) / 2, len(self.sums) - 1)) * error
        return Estimate(theta, theta - half, theta + half)

    def bootstrap(self, draws: int = 1000, seed: int = 0) -> Estimate:
        """Return the estimate with the interval of a bootstrap of clusters."""
        lower, upper = bootstrap(
            self.sums, lambda totals: self._theta(totals)[None], draws, seed, self.key
        )
        return Estimate(self.value, float(lower[0]), float(upper[0]))

    def _theta(self, totals: FloatArray) -> FloatArray:
        """(2 K, draws) -> (draws,); NaN where a denominator is 0."""
        terms = len(self.sign)
        below = totals[terms:]
        ratio = np.divide(totals[:terms], below, out=np.full_like(below, np.nan), where=below != 0)
        theta: FloatArray = self.sign @ ratio
        return theta


def _sums(columns: Iterable[FloatArray], code: IntArray, count: int) -> FloatArray:
    """Sum columns (n,) by code, (count, columns)."""
    return np.stack([np.bincount(code, c, count) for c in columns], axis=1).astype(np.float64)


def _codes(cluster: NDArray[Any]) -> tuple[IntArray, NDArray[np.uint64]]:
    """Return codes of rows and the hashed identifier of each code."""
    cluster = np.asarray(cluster)
    if (
        cluster.dtype.kind in "iu"
        and cluster.min() >= 0
        and cluster.max() < 4 * len(cluster) + 1024
    ):
        seen = np.zeros(int(cluster.max()) + 1, dtype=bool)
        seen[cluster] = True
        names = np.flatnonzero(seen)
        if len(names) == len(seen):
            return cluster.astype(np.int64, copy=False), hash_keys(names)
        place = np.cumsum(seen) - 1
        return place[cluster], hash_keys(names)
    names, codes = np.unique(cluster, return_inverse=True)
    return codes, hash_keys(names)
