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

_ROWS = 1 << 21
"""Decisions of a slice; more where more are of one moment."""


def joined_day(
    inputs: Inputs, day: int, schema: LogSchema, columns: pa.Schema
) -> Iterator[pa.Table]:
    """Yield the samples of a day in the order of time.

    How the day is sliced has no say in them: a decision that was told in an earlier slice, or in
    the time before the day, is known by its identifier.
    """
    start, settle = day * DAY, inputs.rules.settle // MICRO
    moments, users, again = _surveyed(inputs, start - settle, start, start + DAY)
    if not len(moments):
        return
    snapshots = None if inputs.snapshots is None else known_snapshots(inputs, day, users)
    events = _happened(inputs, start - settle, start + DAY + settle)
    _, told = _first(inputs.decisions.between(start - settle, start), again, again.slice(0, 0))
    for low, high in _slices(moments):
        decisions, told = _first(inputs.decisions.between(low, high), again, told)
        near = events[events["timestamp"].between(_moment(low), _moment(high + settle))]
        frames = [frame_of(decisions)]
        del decisions  # the slice is held once
        samples = join_samples(frames.pop(), near, snapshots, schema, inputs.rules)
        yield table_of(samples, columns)


def _surveyed(
    inputs: Inputs, before: int, low: int, high: int
) -> tuple[IntArray, pa.Array, pa.Array]:
    """Return the moments of a day's decisions, their users, and identifiers told more than once."""
    key = "timestamp" if inputs.snapshots is None else inputs.rules.key
    names = dict.fromkeys(("decision_id", "timestamp", key))
    found = inputs.decisions.only(*names).between(before, high)
    moments = found["timestamp"].cast(pa.int64()).to_numpy()
    counted = found["decision_id"].value_counts()
    again = counted.field("values").filter(pc.greater(counted.field("counts"), 1)).drop_null()
    return moments[moments >= low], found[key].unique(), again


def _first(decisions: pa.Table, again: pa.Array, told: pa.Array) -> tuple[pa.Table, pa.Array]:
    """Leave out decisions that were told; add those that will be told again to them."""
    new = decisions.filter(pc.invert(pc.is_in(decisions["decision_id"], told)))
    more = new["decision_id"].filter(pc.is_in(new["decision_id"], again))
    return new, pa.concat_arrays([told, *more.chunks])


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
