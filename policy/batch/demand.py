"""Demand of scores: the columns that planning needs, session by session, and how much there is."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from uplift.errors import InputError
from uplift.hashing import hash_keys, hash_uniform
from uplift.log import RequestLog, Windows
from uplift.parquet import batch_frame
from uplift.schema import LogSchema

__all__ = ["Counts", "DemandRows", "sort_sessions"]

_SAMPLE_SEED = 0x5E5510
"""Of the hash that picks sessions; not one that users are split by."""


@dataclass(frozen=True)
class Counts:
    """What a budget must know of a log that is not in memory; those of shards add.

    Attributes
    ----------
    points, n_pages : decision points; page requests
    first, last : microseconds since 1970 of the first and the last, where there are times
    """

    points: int
    n_pages: int
    first: int | None
    last: int | None

    def __len__(self) -> int:
        return self.points

    def __add__(self, other: "Counts") -> "Counts":
        """Join two shards of whole sessions."""
        firsts = [t for t in (self.first, other.first) if t is not None]
        lasts = [t for t in (self.last, other.last) if t is not None]
        return Counts(
            self.points + other.points,
            self.n_pages + other.n_pages,
            min(firsts, default=None),
            max(lasts, default=None),
        )

    def without_time(self) -> "Counts":
        """Return the counts of a log that tells no times."""
        return replace(self, first=None, last=None)

    def windows(self, seconds: float, schema: LogSchema) -> Windows:
        """Return the windows of a day that the log spans; their index is of no rows here."""
        frame = pd.DataFrame()
        if self.first is not None:
            times = np.array([self.first, self.last], dtype="datetime64[us]")
            frame = pd.DataFrame({"timestamp": times})
        return RequestLog.unchecked(frame, schema).windows(seconds)


class DemandRows:
    """Batches of scores to the columns that planning needs.

    Parameters
    ----------
    schema : roles of the scored log
    columns : of the scores
    window_seconds : length of a window
    sample_share : share of the sessions that the rule is tuned on

    Attributes
    ----------
    columns, schema : those that are read; those that come out, with their types
    gains, cost, n_windows : the gains among them, the arms' costs, the windows of a day
    """

    def __init__(
        self, schema: LogSchema, columns: pa.Schema, window_seconds: float, sample_share: float
    ) -> None:
        self._schema, self._seconds, self.sample_share = schema, window_seconds, sample_share
        needed = [f"outcome_{arm}" for arm in schema.arms]
        missing = [c for c in needed if c not in columns.names]
        if missing:
            raise InputError(
                f"the scores have no column {missing[0]!r}; write them with `request-uplift score` "
                "and the same model."
            )
        places = ("session_id", "timestamp", "page", "position")
        self._own = [c for c in (*places, *needed) if c in columns.names]
        self.columns = columns.names
        self.gains = [f"gain_{a}" for a in range(1, schema.n_arms + 1)]
        self.cost = schema.arm_cost[1:]
        day = Counts(0, 0, 0, 0) if "timestamp" in columns.names else Counts(0, 0, None, None)
        self.n_windows = len(day.windows(window_seconds, schema).start)
        whole = [("session", pa.int64()), ("window", pa.int32()), ("page", pa.int32())]
        when = [("slot", pa.int64()), ("time", pa.int64())]
        self.schema = pa.schema([*whole, *when, *((gain, pa.float32()) for gain in self.gains)])

    def __call__(self, batch: pa.RecordBatch, before: int = 0) -> pa.RecordBatch:
        """Return the demand of some rows; `before` is how many there were, to number rows by."""
        log = RequestLog.unchecked(batch_frame(batch.select(self._own)), self._schema)
        outcome = log.frame[[f"outcome_{arm}" for arm in self._schema.arms]].to_numpy(np.float64)
        if not np.isfinite(outcome).all():
            raise InputError("the scores hold outcomes that are not finite; score the log anew.")
        time = np.zeros(len(log), np.int64)
        if "timestamp" in log.frame:
            time = log.frame["timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64)
        columns = {
            "session": self._session(log, before).view(np.int64),
            "window": log.windows(self._seconds).index.astype(np.int32),
            "page": log.page.astype(np.int32),
            "slot": log.slot.astype(np.int64),
            "time": time,
        }
        for name, gain in zip(self.gains, (outcome[:, 1:] - outcome[:, :1]).T, strict=True):
            columns[name] = gain.astype(np.float32)
        return pa.RecordBatch.from_pydict(columns, schema=self.schema)

    def sampled(self, batch: pa.RecordBatch, demand: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows, as they are scored, of the sessions that the rule is tuned on."""
        session = demand.column("session").to_numpy()
        return batch.filter(pa.array(hash_uniform(session, _SAMPLE_SEED) < self.sample_share))

    def _session(self, log: RequestLog, before: int) -> np.ndarray:
        if "session_id" in log.frame:
            return log.session_key
        return hash_keys(np.arange(before, before + len(log)))


def sort_sessions(table: pa.Table) -> tuple[pa.Table, Counts]:
    """Put rows of whole sessions in their order by slot and time; count them."""
    session, page, slot, time = (
        table[name].to_numpy() for name in ("session", "page", "slot", "time")
    )
    order = np.lexsort((time, slot, session))
    session, page = session[order], page[order]
    turns = (session[1:] != session[:-1]) | (page[1:] != page[:-1])
    counts = Counts(len(order), 1 + int(turns.sum()), int(time.min()), int(time.max()))
    return table.take(pa.array(order)).drop_columns("time"), counts
