"""RequestLog: a randomised request log, read, checked, split by user, cut into windows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.contract import check_columns
from uplift.errors import InputError
from uplift.hashing import hash_keys, hash_uniform
from uplift.parquet import Progress, column_names, read_frame, write_frame
from uplift.schema import LogSchema

__all__ = ["DAY_SECONDS", "RequestLog", "Windows", "draft_schema", "key_columns"]

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Windows:
    """Slices of the day, each with one capacity.

    Attributes
    ----------
    index : (n,) window of each row
    start : (W,) start of each window, seconds after midnight UTC
    seconds : length of a window; infinite where the log has no timestamps (one window)
    covered : (W,) seconds of each window that lie between the log's first and last row, over all
        its days
    """

    index: IntArray
    start: FloatArray
    seconds: float
    covered: FloatArray


class RequestLog:
    """One row a decision point, in the columns of the contract; the order of rows means nothing.

    Parameters
    ----------
    frame : columns of the log; not copied
    schema : roles of the columns

    Raises
    ------
    InputError
        A column is missing or doubled, of the wrong type, or holds values that a randomised log
        cannot hold: propensities outside (0, 1], unknown or empty arms, outcomes not finite, an
        outcome among the features.
    """

    def __init__(self, frame: pd.DataFrame, schema: LogSchema) -> None:
        check_columns(frame, schema)
        self.frame = frame
        self.schema = schema
        if "propensity" not in frame:
            self.frame = frame.assign(propensity=self._estimated_propensity())

    @classmethod
    def read(
        cls, path: str | Path, schema: LogSchema | str | Path, progress: Progress | None = None
    ) -> "RequestLog":
        """Read Parquet by batches; memory peaks at one copy of the log plus a batch."""
        roles = schema if isinstance(schema, LogSchema) else LogSchema.read(schema)
        return cls(read_frame(path, progress), roles)

    @classmethod
    def unchecked(cls, frame: pd.DataFrame, schema: LogSchema) -> "RequestLog":
        """Wrap rows that are known to fit the contract, or that were not decided yet."""
        log = cls.__new__(cls)
        log.frame, log.schema = frame, schema
        return log

    def write(self, path: str | Path) -> None:
        """Write the log as Parquet, whole or not at all."""
        write_frame(self.frame, path)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def arm(self) -> IntArray:
        """(n,) logged arm."""
        return self.frame["arm"].to_numpy()

    @property
    def propensity(self) -> FloatArray:
        """(n,) probability of the logged arm."""
        return self.frame["propensity"].to_numpy(dtype=np.float64)

    @property
    def cost(self) -> FloatArray:
        """(n,) requests spent by the logged arm."""
        if "cost" in self.frame:
            return self.frame["cost"].to_numpy(dtype=np.float64)
        return np.asarray(self.schema.arm_cost)[self.arm]

    def outcome(self, name: str | None = None) -> FloatArray:
        """(n,) an outcome column; the primary one by default."""
        return self.frame[name or self.schema.primary].to_numpy(dtype=np.float64)

    @cached_property
    def features(self) -> list[str]:
        """Names of the feature columns, sorted."""
        return self.schema.feature_columns(self.frame.columns)

    @cached_property
    def session(self) -> IntArray:
        """(n,) session codes; each row its own session where the log has none."""
        if "session_id" not in self.frame:
            return np.arange(len(self))
        return pd.factorize(self.frame["session_id"], sort=True)[0]

    @cached_property
    def session_key(self) -> NDArray[np.uint64]:
        """(n,) what tells a session from all others, in this log and in any other."""
        if "session_id" not in self.frame:
            return hash_keys(np.arange(len(self)))
        return hash_keys(self.frame["session_id"])

    @cached_property
    def cluster(self) -> IntArray:
        """(n,) codes of the column that folds and intervals are clustered by."""
        if self.schema.cluster not in self.frame:
            return self.session
        return pd.factorize(self.frame[self.schema.cluster], sort=True)[0]

    @property
    def page(self) -> IntArray:
        """(n,) page of the session."""
        return self._whole("page")

    @property
    def slot(self) -> IntArray:
        """(n,) slot in the session: ``page * page_length + position``."""
        return self.page * self.schema.page_length + self._whole("position")

    @cached_property
    def session_order(self) -> IntArray:
        """(n,) rows sorted by session, and by slot and time inside it."""
        keys: list[np.ndarray] = [self.slot, self.session]
        if "timestamp" in self.frame:
            keys.insert(0, self.frame["timestamp"].to_numpy(dtype="datetime64[us]"))
        return np.lexsort(keys)

    @property
    def page_starts(self) -> BoolArray:
        """(n,) true in one row of every page seen, that is for each page request."""
        pages = self.session * (int(self.page.max()) + 1) + self.page
        starts = np.zeros(len(self), dtype=bool)
        starts[np.unique(pages, return_index=True)[1]] = True
        return starts

    @property
    def n_pages(self) -> int:
        """Number of pages seen, that is of page requests behind this log."""
        return int(self.page_starts.sum())

    def take(self, rows: np.ndarray) -> "RequestLog":
        """Return the chosen rows (indices or a mask) as a log of their own."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        return RequestLog.unchecked(self.frame.take(index).reset_index(drop=True), self.schema)

    def keys(self) -> "RequestLog":
        """Return the log with only where each decision was taken, what was done, and the truth."""
        kept = key_columns(self.frame.columns, self.schema)
        return RequestLog.unchecked(self.frame[kept], self.schema)

    def split(
        self,
        by: str | None = None,
        share: float | Sequence[float] = 0.7,
        seed: int = 0,
    ) -> tuple["RequestLog", ...]:
        """Split so that all rows of one user fall on the same side.

        Parameters
        ----------
        by : column to split by; the schema's cluster by default
        share : share of the first part (the rest is the second), or the shares of all parts
        seed : another seed, another split; a user falls the same way in every log

        Raises
        ------
        InputError
            The shares are not positive or exceed 1, the column is not there, or a part is left
            empty.
        """
        parts = [share, 1 - share] if isinstance(share, int | float) else list(share)
        shares = np.array(parts, dtype=np.float64)
        if not (shares > 0).all() or shares.sum() > 1 + 1e-9:
            raise InputError(f"split: shares are {shares.tolist()}; expected > 0, summing to <= 1.")
        column = by or self.schema.cluster
        part = self.part(shares, seed, column)
        if np.bincount(part, minlength=len(shares))[: len(shares)].min() == 0:
            raise InputError(
                f"split: {len(np.unique(self._uniform(column, seed)))} users cannot fill "
                f"{len(shares)} parts; use a larger log."
            )
        return tuple(self.take(part == k) for k in range(len(shares)))

    def part(self, shares: ArrayLike, seed: int = 0, by: str | None = None) -> IntArray:
        """Return which part each row falls into when users are split so, (n,); see `split`."""
        uniform = self._uniform(by or self.schema.cluster, seed)
        return np.searchsorted(np.cumsum(shares), uniform, side="right")

    def windows(self, seconds: float = 3600.0) -> Windows:
        """Cut the day into windows of the given length; one window without timestamps."""
        if "timestamp" not in self.frame:
            return Windows(np.zeros(len(self), np.int32), np.zeros(1), np.inf, np.ones(1))
        count = max(1, int(np.ceil(DAY_SECONDS / seconds))) if seconds > 0 else 0
        if not 1 <= count <= 1440:
            raise InputError(f"a window of {seconds} seconds; expected 60 or more.")
        seconds = min(seconds, float(DAY_SECONDS))
        micros = self.frame["timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64)
        index = (micros // 1_000_000 % DAY_SECONDS // seconds).astype(np.int32)
        start = np.arange(count, dtype=np.float64) * seconds
        first, last = micros.min() / 1e6, micros.max() / 1e6
        return Windows(index, start, float(seconds), _covered(start, float(seconds), first, last))

    def _estimated_propensity(self) -> FloatArray:
        """Estimate who got which arm from all that is known before the decision."""
        from uplift.features import FeatureEncoder
        from uplift.propensity import estimate_propensity

        places = [c for c in ("page", "position") if c in self.frame]
        known = sorted({*self.features, *places})
        numbered = [c for c in known if self.schema.is_categorical(c)]
        encoder = FeatureEncoder.of(self.frame, known, numbered)
        X = encoder.transform(self.frame)
        return estimate_propensity(X, self.arm, self.cluster, encoder.types)

    def _whole(self, column: str) -> IntArray:
        if column not in self.frame:
            return np.zeros(len(self), np.int64)
        return self.frame[column].to_numpy(dtype=np.int64)

    def _uniform(self, column: str, seed: int) -> FloatArray:
        """(n,) uniform numbers from a column of identifiers; else from sessions, else from rows."""
        if column not in self.frame and column not in ("user_id", "session_id"):
            raise InputError(f"split: column {column!r} is not in the log; name one that is.")
        column = column if column in self.frame else "session_id"
        if column not in self.frame:
            return hash_uniform(np.arange(len(self)), seed)
        return hash_uniform(self.frame[column], seed)


def _covered(start: FloatArray, seconds: float, first: float, last: float) -> FloatArray:
    """Seconds of each window of the day between two moments; a moment alone lasts a second."""
    days = np.arange(first // DAY_SECONDS, last // DAY_SECONDS + 1)[:, None] * DAY_SECONDS
    end = np.minimum(start + seconds, DAY_SECONDS)
    overlap = np.minimum(days + end, max(last, first + 1)) - np.maximum(days + start, first)
    covered: FloatArray = np.clip(overlap, 0.0, None).sum(axis=0)
    return covered


def key_columns(names: Iterable[str], schema: LogSchema) -> list[str]:
    """Return, of a log's columns, those that its scores keep: place, decision and truth."""
    placed = ("session_id", "user_id", "timestamp", "page", "position", schema.cluster)
    done = ("arm", "propensity")
    return [c for c in names if c in placed + done or str(c).startswith("true_")]


def draft_schema(path: str | Path) -> LogSchema:
    """Guess the schema of a Parquet log from its columns, for a person to edit."""
    names = column_names(path)
    few = read_frame(path, columns=("arm", "position"))
    if "arm" not in few or not pd.api.types.is_integer_dtype(few["arm"].dtype) or few.empty:
        raise InputError(
            f"log {str(path)!r} has no rows with a column 'arm' of whole numbers; a request log "
            "needs one."
        )
    schema = LogSchema.draft(names, int(few["arm"].max()))
    length = int(few["position"].max()) + 1 if "position" in few else 1
    return replace(schema, page_length=max(length, schema.page_length))
