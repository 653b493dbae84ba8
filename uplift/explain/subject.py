"""What is explained: the uplift of one arm, as a function of features, on some rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from uplift.arrays import BoolArray, Float32Array, FloatArray, IntArray
from uplift.errors import InputError
from uplift.hashing import hash_uniform

__all__ = ["Predict", "Subject", "check_rows", "sample_clusters"]

#: A fitted learner's `predict`: (n, features) to (n, A) uplifts over arm 0.
Predict = Callable[[Float32Array], FloatArray]

_CHUNK_ROWS = 1 << 16
#: Codes may have gaps, of rows left out, but not be identifiers: sums have a place for each.
_CODES_PER_ROW = 1_000


@dataclass(frozen=True)
class Subject:
    """The uplift of one arm over the rows of a matrix.

    Attributes
    ----------
    predict : maps (n, features) to (n, A) uplifts, as a fitted learner's `predict` does
    X : (n, features) float32; NaN is missing
    names : name of each column
    arm : the arm that is explained, 1 .. A
    vocabulary : for each categorical feature its categories, in the order of their codes in X

    Raises
    ------
    InputError
        X is no matrix of finite numbers and NaN, or names or categories do not fit it; later, when
        `predict` does not answer with finite (n, A) uplifts.
    """

    predict: Predict
    X: Float32Array
    names: Sequence[str]
    arm: int = 1
    vocabulary: Mapping[str, Sequence[object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        X = self.X
        if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype != np.float32 or len(X) == 0:
            raise InputError("X must be a float32 array of (rows, features) with at least one row.")
        if np.isinf(X).any():
            raise InputError("X holds infinite values; use finite numbers, or NaN where unknown.")
        if len(set(self.names)) != X.shape[1] or len(self.names) != X.shape[1]:
            raise InputError(
                f"names has {len(set(self.names))} different names; X has {X.shape[1]} columns."
            )
        for place, name in enumerate(self.names):
            if name in self.vocabulary:
                _check_codes(X[:, place], name, len(self.vocabulary[name]))

    @property
    def types(self) -> tuple[str, ...]:
        """XGBoost's type of each column: ``c`` for categories, ``q`` for quantities."""
        return tuple("c" if name in self.vocabulary else "q" for name in self.names)

    @cached_property
    def uplift(self) -> FloatArray:
        """(n,) uplift of every row."""
        return self._in_chunks(lambda rows: self.X[rows])

    def place(self, name: str) -> int:
        """Return the column of a feature."""
        if name not in self.names:
            raise InputError(f"feature {name!r} is unknown; choose among {list(self.names)[:20]}.")
        return list(self.names).index(name)

    def with_column(self, place: int, values: Float32Array) -> FloatArray:
        """Return the (n,) uplift of every row with one column replaced; X is copied by chunks."""

        def replaced(rows: slice) -> Float32Array:
            chunk = self.X[rows].copy()
            chunk[:, place] = values[rows]
            return chunk

        return self._in_chunks(replaced)

    def take(self, rows: np.ndarray) -> "Subject":
        """Return the subject on some of its rows."""
        return Subject(self.predict, self.X[rows], self.names, self.arm, self.vocabulary)

    def _in_chunks(self, chunk: Callable[[slice], Float32Array]) -> FloatArray:
        n = len(self.X)
        pieces = (slice(start, start + _CHUNK_ROWS) for start in range(0, n, _CHUNK_ROWS))
        return np.concatenate([self._predicted(chunk(rows)) for rows in pieces])

    def _predicted(self, X: Float32Array) -> FloatArray:
        answer: Any = np.asarray(self.predict(X), dtype=np.float64)
        if answer.ndim != 2 or len(answer) != len(X):
            raise InputError(f"predict gave shape {answer.shape}; expected ({len(X)}, arms).")
        if not 1 <= self.arm <= answer.shape[1]:
            raise InputError(f"arm is {self.arm}; expected one of 1 .. {answer.shape[1]}.")
        uplift: FloatArray = answer[:, self.arm - 1]
        if not np.isfinite(uplift).all():
            raise InputError("predict gave uplifts that are not finite; fit the model anew.")
        return uplift


def _check_codes(column: Float32Array, name: str, count: int) -> None:
    known = column[~np.isnan(column)]
    if ((known < 0) | (known >= count) | (known % 1 != 0)).any():
        raise InputError(
            f"feature {name!r} holds numbers that are no codes of its {count} categories, 0 .. "
            f"{count - 1}; encode it first."
        )


def check_rows(n: int, cluster: IntArray, **columns: FloatArray) -> None:
    """Refuse columns that are not (n,) finite numbers, and clusters that are not (n,) codes."""
    for name, values in columns.items():
        if values.shape != (n,) or not np.isfinite(values).all():
            raise InputError(f"{name} has shape {values.shape}; expected ({n},) finite numbers.")
    if cluster.shape != (n,) or cluster.dtype.kind not in "iu" or cluster.min(initial=0) < 0:
        raise InputError(f"cluster has shape {cluster.shape}; expected ({n},) codes 0, 1, ...")
    if cluster.max(initial=0) >= _CODES_PER_ROW * n + _CODES_PER_ROW:
        raise InputError(
            f"cluster holds {cluster.max()} in {n} rows; expected codes 0, 1, ...: "
            "numpy.unique(ids, return_inverse=True)[1] makes them of identifiers."
        )


def sample_clusters(cluster: IntArray, rows: int, seed: int) -> BoolArray:
    """Choose whole clusters at random until they hold `rows` rows; returns an (n,) mask."""
    codes, code, size = np.unique(cluster, return_inverse=True, return_counts=True)
    order = np.argsort(hash_uniform(codes, seed), kind="stable")
    before = np.cumsum(size[order]) - size[order]
    chosen = np.zeros(len(codes), dtype=bool)
    chosen[order[before < rows]] = True
    return chosen[code]
