"""The snapshots that can be used on a day, of its users alone, however many there are in all."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from policy.samples.asof import latest_rows
from policy.samples.inputs import DAY, Inputs
from policy.samples.rules import SampleRules
from policy.samples.tables import frame_of
from uplift.arrays import BoolArray

__all__ = ["known_snapshots"]

_BYTES = 1 << 28
"""Of snapshots that are held before the superseded ones are left out."""


def known_snapshots(inputs: Inputs, day: int, users: pa.Array) -> pd.DataFrame:
    """Return the snapshots of some users that a decision of a day may see.

    Of what was known as the day began, only the latest of each user is held: so memory follows the
    users and the day's own snapshots.
    """
    assert inputs.snapshots is not None
    rules, start = inputs.rules, day * DAY
    held, since = [inputs.snapshots.columns.empty_table()], 0
    for table in inputs.snapshots.tables(inputs.oldest(day), start + DAY):
        held.append(table.filter(pc.is_in(table[rules.key].cast(users.type), users)))
        since += held[-1].nbytes
        if since > max(_BYTES, held[0].nbytes):
            held, since = [_pruned(pa.concat_tables(held), rules, users, start)], 0
    return frame_of(pa.concat_tables(held))


def _pruned(table: pa.Table, rules: SampleRules, users: pa.Array, start: int) -> pa.Table:
    """Leave out what no decision from `start` on can see."""
    frame = frame_of(table)
    own = ("timestamp", rules.key, rules.ingested_at)
    names = [name for name in table.column_names if name not in own]
    moment = pd.to_datetime([start], unit="us", utc=True).as_unit("us").repeat(len(users))
    asked = pd.DataFrame(
        {rules.key: frame_of(pa.table({"key": users}))["key"], "timestamp": moment}
    )
    latest = latest_rows(asked, frame, rules, names)
    kept = np.zeros(len(frame), dtype=bool)
    kept[latest[latest >= 0]] = True
    return table.filter(pa.array(kept | _later(frame, rules, start)))


def _later(frame: pd.DataFrame, rules: SampleRules, start: int) -> BoolArray:
    """(m,) whether a snapshot was known only after a moment."""
    moment = pd.Timestamp(start, unit="us", tz="UTC")
    arrived = frame["timestamp" if rules.ingested_at is None else rules.ingested_at]
    later: BoolArray = ((frame["timestamp"] > moment) | (arrived > moment)).to_numpy()
    return later
