"""The sample join on Spark: `policy.samples.join` on all that belongs to some users.

Decisions, events and snapshots become one DataFrame, each row marked with what it is, and are
shuffled once by the key that snapshots are found by; every partition then joins its own.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from policy.samples.asof import snapshot_features
from policy.samples.attribution import PLACE
from policy.samples.join import join_samples
from policy.samples.rules import SampleRules
from policy.samples.tables import frame_of, sample_columns, table_of
from policy.spark.score import arrow_schema, map_batches, selected
from policy.spark.session import read_log, told
from uplift.errors import InputError
from uplift.schema import LogSchema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["samples_on_spark"]

_KINDS = ("decisions", "events", "snapshots")
_KIND, _KEY, _ROW, _DAY = "__kind", "__key", "__row", "day"


def samples_on_spark(
    session: "SparkSession",
    decisions: str | Path,
    events: str | Path,
    out: str | Path,
    schema: LogSchema,
    rules: SampleRules | None = None,
    *,
    snapshots: str | Path | None = None,
    now: datetime | None = None,
    skip_corrupt: bool = False,
) -> int:
    """Write the samples of every complete day, in folders ``day=...``; return how many there are.

    The samples are those of `make_samples`; what is written already is not gone on with: name a
    new folder, or give the decisions of the days that are new.

    Parameters
    ----------
    session : of a cluster
    decisions, events, snapshots : Parquet that the cluster can read
    out : folder that is not there yet
    schema : of the samples
    rules : what may be chosen about the join
    now : the moment by which days are complete
    skip_corrupt : leave out parts that cannot be read

    Raises
    ------
    InputError
        The inputs are not what they should be, or `out` is there already.
    """
    from pyspark.sql import functions as f

    rules, moment = rules or SampleRules(), now or datetime.now(UTC)
    key = "session_id" if snapshots is None else rules.key
    with told():
        read = partial(read_log, session, skip_corrupt=skip_corrupt)
        frames = {"decisions": _decided(read(decisions), schema), "events": read(events)}
        _need(frames["decisions"], ("decision_id", *PLACE, "arm", key), "decisions")
        _need(frames["events"], PLACE, "events")
        frames["decisions"] = frames["decisions"].withColumn(_KEY, f.col(key))
        # An event is its session's, a snapshot its user's: it goes to all users of its session.
        users = frames["decisions"].select("session_id", _KEY).distinct()
        happened = frames["events"].withColumn(_ROW, f.monotonically_increasing_id())
        frames["events"] = happened.join(users, "session_id")
        if snapshots is not None:
            known = read(snapshots)
            _need(known, ("timestamp", key), "snapshots")
            frames["snapshots"] = _known(known, schema, rules).withColumn(_KEY, f.col(key))
        kinds = {kind: arrow_schema(frame.drop(_KEY)) for kind, frame in frames.items()}
        columns = sample_columns(kinds["decisions"], kinds.get("snapshots"), schema, rules)
        work = partial(_joined, schema, rules, kinds, columns)
        rows = map_batches(_marked(frames).repartition(_KEY), work, columns)
        complete = (moment - rules.settle).astimezone(UTC).replace(tzinfo=None)
        ends = f.date_trunc("day", f.col("timestamp")) + f.expr("interval 1 day")
        rows = rows.where(ends <= f.lit(complete.isoformat()).cast("timestamp"))
        rows = rows.withColumn(_DAY, f.date_format("timestamp", "yyyy-MM-dd"))
        try:
            rows.write.partitionBy(_DAY).parquet(str(out))
        except Exception as error:
            if "PATH_ALREADY_EXISTS" in str(error):
                raise InputError(
                    f"{str(out)!r} is there already; choose another folder."
                ) from error
            raise
        return int(session.read.parquet(str(out)).count())


def _decided(frame: Any, schema: LogSchema) -> Any:
    """Leave out outcomes that the decisions bring, for they are what is joined."""
    return frame.drop(*schema.outcomes, _DAY)


def _known(frame: Any, schema: LogSchema, rules: SampleRules) -> Any:
    used = {"timestamp", rules.key, rules.ingested_at}
    used |= set(snapshot_features(frame.columns, schema, rules))
    return selected(frame, [name for name in frame.columns if name in used])


def _need(frame: Any, columns: tuple[str, ...], what: str) -> None:
    missing = sorted(set(columns) - set(frame.columns))
    if missing:
        raise InputError(f"the {what} lack {missing}; they have {frame.columns[:12]}.")


def _marked(frames: dict[str, Any]) -> Any:
    """Return all rows as one DataFrame; columns are named after what they are of."""
    from pyspark.sql import functions as f

    marked = [
        frame.select(
            f.lit(kind).alias(_KIND),
            f.col(_KEY),
            *(f.col(f"`{n}`").alias(f"{kind} {n}") for n in frame.columns if n != _KEY),
        )
        for kind, frame in frames.items()
    ]
    whole = marked[0]
    for one in marked[1:]:
        whole = whole.unionByName(one, allowMissingColumns=True)
    return whole


def _joined(
    schema: LogSchema,
    rules: SampleRules,
    kinds: dict[str, pa.Schema],
    columns: pa.Schema,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Join what belongs to a partition's users."""
    some = [batch for batch in batches if batch.num_rows]
    if not some:
        return
    table = pa.Table.from_batches(some)
    parts = {kind: _unmarked(table, kind, told) for kind, told in kinds.items()}
    if not parts["decisions"].num_rows:
        return
    frames = {kind: frame_of(part) for kind, part in parts.items()}
    events = frames["events"].drop_duplicates(_ROW).drop(columns=_ROW)
    samples = join_samples(frames["decisions"], events, frames.get("snapshots"), schema, rules)
    yield from table_of(samples, columns).to_batches()


def _unmarked(table: pa.Table, kind: str, columns: pa.Schema) -> pa.Table:
    """Return the rows of one kind, under their own names."""
    rows = table.filter(pc.equal(table[_KIND], kind))
    return pa.table([rows[f"{kind} {name}"] for name in columns.names], schema=columns)
