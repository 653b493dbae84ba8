"""What a log was like, in few enough numbers to keep them beside what was learned from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from offline_eval.rates import effects
from uplift.arrays import FloatArray, IntArray
from uplift.clusters import Estimate, standard_error
from uplift.hashing import hash_uniform
from uplift.log import RequestLog

__all__ = ["ColumnProfile", "LogProfile", "profile_rows"]

#: Columns are looked at in whole users with about so many rows.
MOST_ROWS = 200_000
_BINS = 10
_MOST_NAMES = 20
_SAMPLE = 1 << 42
MISSING, OTHER = "missing", "other"


@dataclass(frozen=True)
class ColumnProfile:
    """Shares of the rows by the bins of one column.

    Attributes
    ----------
    kind : ``feature``, ``outcome``, or ``propensity``: the arms drawn, and with which probability
    edges : (K,) rising; numbers fall in the bins below, between and from these on, then missing
    names : the most frequent categories in place of edges, then other, then missing
    share, error : (B,) share of the rows in each bin, and its standard error, clustered
    mean : of the numbers
    """

    kind: str
    edges: tuple[float, ...] | None
    names: tuple[str, ...] | None
    share: FloatArray
    error: FloatArray
    mean: float | None = None

    @classmethod
    def of(cls, values: pd.Series, kind: str, named: bool, cluster: IntArray) -> "ColumnProfile":
        """Choose the bins by the column: its values, deciles, or most frequent categories."""
        if named or not pd.api.types.is_numeric_dtype(values.dtype):
            counts = values.astype(object).map(str, na_action="ignore").value_counts()
            frequent = counts[counts > 0].index[:_MOST_NAMES]
            return cls(kind, None, tuple(sorted(frequent)), *_nothing()).seen(values, cluster)
        known = values.to_numpy(dtype=np.float64, na_value=np.nan)
        known = known[np.isfinite(known)]
        return cls(kind, _edges(known), None, *_nothing()).seen(values, cluster)

    def seen(self, values: pd.Series, cluster: IntArray) -> "ColumnProfile":
        """Return the shares of other rows in these bins."""
        mean = None
        if self.edges is None:
            place = {name: k for k, name in enumerate(self.names or ())}
            texts = values.astype(object).map(str, na_action="ignore")
            found = texts.map(place).fillna(len(place)).to_numpy(dtype=np.int64)
            code = np.where(texts.isna(), len(place) + 1, found)
        else:
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
            gone = np.isnan(numbers)
            code = np.searchsorted(self.edges, numbers, side="right")
            code = np.where(gone, len(self.edges) + 1, code)
            mean = float(numbers[~gone].mean()) if not gone.all() else None
        shares = [_share(code == k, cluster) for k in range(len(self.labels))]
        share, error = np.array(shares).T
        return ColumnProfile(self.kind, self.edges, self.names, share, error, mean)

    @property
    def labels(self) -> list[str]:
        """What each bin is called."""
        if self.edges is None:
            return [*(self.names or ()), OTHER, MISSING]
        ends = [f"{edge:.4g}" for edge in self.edges]
        if not ends:
            return ["any number", MISSING]
        between = [f"{a} to {b}" for a, b in pairwise(ends)]
        return [f"below {ends[0]}", *between, f"from {ends[-1]}", MISSING]

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "ColumnProfile":
        """Rebuild from plain values."""
        share, error = (np.array(table[key], dtype=np.float64) for key in ("share", "error"))
        edges, names = (tuple(table[k]) if k in table else None for k in ("edges", "names"))
        return cls(table["kind"], edges, names, share, error, table.get("mean"))


@dataclass(frozen=True)
class LogProfile:
    """What a log was like.

    Attributes
    ----------
    columns : by name: features, ``arm`` and ``propensity`` as they were logged, outcomes
    effect : mean effect of a random request on every outcome
    """

    columns: Mapping[str, ColumnProfile]
    effect: Mapping[str, Estimate]

    @classmethod
    def of(cls, log: RequestLog) -> "LogProfile":
        """Look at a log."""
        some = profile_rows(log)
        kinds = dict.fromkeys(some.features, "feature")
        kinds |= {"arm": "propensity", "propensity": "propensity"}
        kinds |= dict.fromkeys(log.schema.outcomes, "outcome")
        named = {name for name in kinds if name == "arm" or log.schema.is_categorical(name)}
        columns = {
            name: ColumnProfile.of(some.frame[name], kind, name in named, some.cluster)
            for name, kind in kinds.items()
        }
        return cls(columns, effects(log))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "LogProfile":
        """Rebuild from plain values, as a bundle's evidence has them."""
        return cls(
            {name: ColumnProfile.from_dict(part) for name, part in table["columns"].items()},
            {name: _estimate(part) for name, part in table["effect"].items()},
        )


def profile_rows(log: RequestLog) -> RequestLog:
    """Return the rows of so many whole users that a profile is made of."""
    if len(log) <= MOST_ROWS:
        return log
    return log.take(hash_uniform(log.cluster, _SAMPLE) < MOST_ROWS / len(log))


def _edges(known: FloatArray) -> tuple[float, ...]:
    """Return where bins begin: at each value if there are few, else at deciles.

    The least value ends its own bin where it fills a decile, as it does where most are 0.
    """
    values = np.unique(known)
    if len(values) <= _BINS:
        return tuple(values[1:].tolist())
    cuts = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS))
    return tuple(np.unique(np.maximum(cuts, values[1])).tolist())


def _share(inside: np.ndarray, cluster: IntArray) -> tuple[float, float]:
    """Return the share of rows inside, and its standard error over clusters."""
    share = float(inside.mean())
    counts = np.bincount(cluster)
    influence = (np.bincount(cluster, inside) - share * counts)[counts > 0] / len(inside)
    return share, standard_error(influence)


def _estimate(table: Mapping[str, float | None]) -> Estimate:
    """Rebuild an estimate; what was not finite is None in plain values."""
    unknown = {"value": np.nan, "lower": -np.inf, "upper": np.inf}
    return Estimate(**{key: unknown[key] if v is None else v for key, v in table.items()})


def _nothing() -> tuple[FloatArray, FloatArray]:
    return np.empty(0), np.empty(0)
