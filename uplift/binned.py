"""Rows binned once: the quantile cuts that all boosters of a fit share."""

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import xgboost as xgb

from uplift.arrays import Float32Array, IntArray

__all__ = ["CHUNK_ROWS", "CUT_ROWS", "BinnedRows", "chunks"]

CHUNK_ROWS = 1 << 15
#: Rows that the cuts are found on: of 256 bins each then holds 1,024 rows, and the share of a bin
#: is known to 3 %.
CUT_ROWS = 1 << 18


class BinnedRows:
    """Features of n rows under one set of cuts, for every booster trained on some of the rows.

    Finding the cuts is most of the work of a quantile matrix, and it needs no outcome: it is done
    once, on all rows or on `CUT_ROWS` of them, evenly spread over their order. Rows are binned by
    these cuts chunk by chunk, without a copy of their features.

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
        if len(index) == self._cuts.num_row() == len(self.X):
            return self._cuts
        if key in self._kept:
            return self._kept[key]
        matrix = self._bin(index, ref=self._cuts)
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
    def _cuts(self) -> xgb.QuantileDMatrix:
        """The rows that the cuts are found on, binned."""
        n = len(self.X)
        if n <= CUT_ROWS:
            return self._bin(np.arange(n), ref=None)
        spread = np.linspace(0, n - 1, CUT_ROWS).astype(np.int64)
        return self._bin(np.union1d(spread, self._last_categories()), ref=None)

    def _last_categories(self) -> IntArray:
        """Return rows that hold the highest code of each category: codes up to it get a bin."""
        columns = [*self.X.T, *([] if self.extra is None else [self.extra])]
        codes = [column for column, kind in zip(columns, self.types, strict=True) if kind == "c"]
        return np.array([np.argmax(np.nan_to_num(code, nan=-1.0)) for code in codes], np.int64)

    @property
    def told_types(self) -> list[str] | None:
        """Types as XGBoost is told them: none without a category, which it then looks for."""
        return list(self.types) if "c" in self.types else None

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
        input_data(data=features, feature_types=self._rows.told_types)
        self._next += 1
        return True

    def reset(self) -> None:
        self._next = 0


def chunks(index: IntArray) -> list[IntArray]:
    """Cut an index into pieces that are small beside a matrix."""
    return [index[i : i + CHUNK_ROWS] for i in range(0, len(index), CHUNK_ROWS)]
