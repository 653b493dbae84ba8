"""Rows binned once: the quantile cuts that all boosters of a fit share."""

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import xgboost as xgb

from uplift.arrays import Float32Array, IntArray

__all__ = ["CHUNK_ROWS", "BinnedRows", "chunks"]

CHUNK_ROWS = 1 << 17


class BinnedRows:
    """Features of n rows under one set of cuts, for every booster trained on some of the rows.

    Finding the cuts is most of the work of a quantile matrix, and it needs no outcome: it is done
    once, on all rows. A subset of rows is binned by these cuts chunk by chunk, without a copy of
    its features.

    Parameters
    ----------
    X : (n, features), NaN is missing
    types : ``q`` or ``c`` for each feature, `extra` included
    extra : (n,) a last feature beside X, such as the arm
    max_bin, n_threads : as in `BoostParams`

    Attributes
    ----------
    keep : whether subsets stay binned under their key, so that one matrix serves several labels;
        takes the memory of all of them
    """

    def __init__(
        self,
        X: Float32Array,
        types: Sequence[str],
        *,
        extra: Float32Array | None = None,
        max_bin: int = 256,
        n_threads: int = 0,
    ) -> None:
        self.X, self.types, self.extra = X, tuple(types), extra
        self._options = {"max_bin": max_bin, "nthread": n_threads}
        self.keep = False
        self._kept: dict[Hashable, xgb.QuantileDMatrix] = {}

    def matrix(self, key: Hashable, index: IntArray) -> xgb.QuantileDMatrix:
        """Return the binned rows of an index; the same key means the same index."""
        if len(index) == len(self.X):
            return self._all
        if key in self._kept:
            return self._kept[key]
        matrix = self._bin(index, ref=self._all)
        if self.keep:
            self._kept[key] = matrix
        return matrix

    def take(self, index: IntArray) -> "BinnedRows":
        """Return some of the rows, to be binned anew."""
        extra = None if self.extra is None else self.extra[index]
        max_bin, n_threads = self._options["max_bin"], self._options["nthread"]
        return BinnedRows(
            self.X[index], self.types, extra=extra, max_bin=max_bin, n_threads=n_threads
        )

    def gather(self, index: IntArray) -> Float32Array:
        """Return the features of some rows, `extra` included."""
        chosen = self.X[index]
        if self.extra is None:
            return chosen
        return np.column_stack([chosen, self.extra[index]])

    @cached_property
    def _all(self) -> xgb.QuantileDMatrix:
        return self._bin(np.arange(len(self.X)), ref=None)

    def _bin(self, index: IntArray, ref: xgb.DMatrix | None) -> xgb.QuantileDMatrix:
        return xgb.QuantileDMatrix(
            _Chunks(self, index), ref=ref, enable_categorical=True, missing=np.nan, **self._options
        )


class _Chunks(xgb.DataIter):
    """Rows handed to XGBoost a chunk at a time."""

    def __init__(self, rows: BinnedRows, index: IntArray) -> None:
        self._rows, self._pieces, self._next = rows, list(chunks(index)), 0
        super().__init__(release_data=True)

    def next(self, input_data: Any) -> bool:
        if self._next == len(self._pieces):
            return False
        features = self._rows.gather(self._pieces[self._next])
        input_data(data=features, feature_types=list(self._rows.types))
        self._next += 1
        return True

    def reset(self) -> None:
        self._next = 0


def chunks(index: IntArray) -> list[IntArray]:
    """Cut an index into pieces that are small beside a matrix."""
    return [index[i : i + CHUNK_ROWS] for i in range(0, len(index), CHUNK_ROWS)]
