"""The samples of one day, slice by slice, so that few decisions are in memory at once."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from policy.samples.columns import told_first
from policy.samples.inputs import DAY, MICRO, Inputs
from policy.samples.join import join_samples
from policy.samples.known import known_snapshots
from policy.samples.tables import frame_of, table_of
from uplift.arrays import IntArray
from uplift.schema import LogSchema

__all__ = ["joined_day"]

_ROWS = 1 << 20
"""Decisions of a slice; more where more are of one moment."""


def joined_day(
    inputs: Inputs, day: int, schema: LogSchema, columns: pa.Schema
) -> Iterator[pa.Table]:
    """Yield the samples of a day in the order of time.

    How the day is sliced has no say in them: a decision that was told in an earlier slice, or in
    the time before the day, is known by its identifier.
    """
    moments, users = _surveyed(inputs, day)
    if not len(moments):
        return
    snapshots = None if inputs.snapshots is None else known_snapshots(inputs, day, users)
    start, settle = day * DAY, inputs.rules.settle // MICRO
    events = _happened(inputs, start - settle, start + DAY + settle)
    told = inputs.decisions.only("decision_id", "timestamp").between(start - settle, start)
    before = told["decision_id"].chunks
    for low, high in _slices(moments):
        decisions = inputs.decisions.between(low, high)
        known = pa.chunked_array(before, decisions["decision_id"].type)
        decisions = decisions.filter(pc.invert(pc.is_in(decisions["decision_id"], known)))
        before += decisions["decision_id"].chunks
        near = events[events["timestamp"].between(_moment(low), _moment(high + settle))]
        frames = [frame_of(decisions)]
        del decisions  # the slice is held once
        samples = join_samples(frames.pop(), near, snapshots, schema, inputs.rules)
        yield table_of(samples, columns)


def _surveyed(inputs: Inputs, day: int) -> tuple[IntArray, pa.Array]:
    """Return the moments of a day's decisions, and whose they are where snapshots are asked for."""
    key = inputs.rules.key if inputs.snapshots is not None else "timestamp"
    moments, users = (
        [np.zeros(0, np.int64)],
        [pa.array([], inputs.decisions.columns.field(key).type)],
    )
    source = inputs.decisions.only(*dict.fromkeys((key, "timestamp")))
    for table in source.tables(day * DAY, (day + 1) * DAY):
        moments.append(table["timestamp"].cast(pa.int64()).to_numpy())
        if key != "timestamp":
            users.append(table[key].unique())
    return np.concatenate(moments), pa.concat_arrays(users).unique()


def _slices(moments: IntArray) -> list[tuple[int, int]]:
    """Return ends [low, high) of slices that hold about as many decisions each."""
    ordered = np.sort(moments)
    ends = np.unique(np.append(ordered[::_ROWS], ordered[-1] + 1))
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


def _happened(inputs: Inputs, low: int, high: int) -> pd.DataFrame:
    events = frame_of(inputs.events.between(low, high))
    return events[told_first(events, "event_id")] if "event_id" in events else events


def _moment(micros: int) -> pd.Timestamp:
    return pd.Timestamp(micros, unit="us", tz="UTC")
