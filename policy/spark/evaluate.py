"""Off-policy evaluation on Spark: states of whole users on executors, added up in a tree."""

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from policy.batch.evaluate import (
    EvaluationScorer,
    Shard,
    report_of,
    shard_states,
    spent_by,
    user_column,
)
from policy.spark.score import arrow_schema, map_batches, selected
from policy.spark.session import Shipped, read_log, ship, told
from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.parquet import batch_frame
from uplift.schema import LogSchema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["evaluate_on_spark"]

_STATE = pa.schema([("state", pa.binary())])


def evaluate_on_spark(
    session: "SparkSession",
    bundle: str | Path,
    log: str | Path,
    schema: LogSchema,
    *,
    fixed_position: int = 25,
    seed: int = 0,
    all_users: bool = False,
    skip_corrupt: bool = False,
) -> dict[str, Any]:
    """Estimate what a bundle's plan and the baselines would have earned on a log.

    The numbers are those of `evaluate_parts`; the log is scored once, and of it a few columns are
    shuffled by user.

    Parameters
    ----------
    session : of a cluster
    bundle : model and plan, shipped to every executor once
    log, schema : Parquet that the cluster can read, and the roles of its columns
    fixed_position, seed : of the fixed baseline; of a policy that draws
    all_users : keep users that `fit` may have seen
    skip_corrupt : leave out parts that cannot be read

    Raises
    ------
    InputError
        The bundle holds no plan, columns are missing, or values cannot be.
    """
    with told():
        shared = ship(session, bundle)
        if shared.bundle().plan is None:
            raise InputError("the bundle holds no plan yet; make one with `request-uplift plan`.")
        frame = read_log(session, log, skip_corrupt=skip_corrupt)
        scorer = EvaluationScorer(shared.bundle(), schema, arrow_schema(frame), all_users=all_users)
        key = user_column(schema, frame.columns)
        work = partial(_kept, shared, schema, all_users)
        rows = map_batches(selected(frame, scorer.columns), work, scorer.schema)
        users = rows.repartition(key).persist()
        try:
            spent = _added(users, partial(_spent, shared, schema, seed))
            if spent is None:
                raise InputError("the log holds no rows of users that the model was not fitted on.")
            states = _added(users, partial(_states, shared, schema, spent, fixed_position, seed))
        finally:
            users.unpersist()
    return report_of(schema, list(states))


def _kept(
    shared: Shipped, schema: LogSchema, all_users: bool, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    scorer = None
    for batch in batches:
        scorer = scorer or EvaluationScorer(
            shared.bundle(), schema, batch.schema, all_users=all_users
        )
        yield scorer(batch)


def _added(users: Any, work: Callable[[Iterator[pa.RecordBatch]], Iterator[Any]]) -> Any:
    """Add up what a function makes of each partition, in a tree; None where there are no rows."""
    states = map_batches(users, partial(_pickled, work), _STATE).rdd.map(
        lambda row: pickle.loads(row.state)
    )
    return None if states.isEmpty() else states.treeReduce(_add_each)


def _add_each(a: Any, b: Any) -> Any:
    return [one + other for one, other in zip(a, b, strict=True)]


def _pickled(
    work: Callable[[Iterator[pa.RecordBatch]], Iterator[Any]], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for state in work(batches):
        yield pa.RecordBatch.from_pydict({"state": [pickle.dumps(state)]}, schema=_STATE)


def _shard(schema: LogSchema, batches: Iterator[pa.RecordBatch]) -> Shard | None:
    """Return a partition's rows; None where it has none."""
    some = [batch for batch in batches if batch.num_rows]
    if not some:
        return None
    table = pa.Table.from_batches(some).combine_chunks()
    return Shard.of(batch_frame(table.to_batches()[0]), schema)


def _spent(
    shared: Shipped, schema: LogSchema, seed: int, batches: Iterator[pa.RecordBatch]
) -> Iterator[FloatArray]:
    shard = _shard(schema, batches)
    if shard is not None:
        yield np.asarray(spent_by(shard, shared.bundle(), seed))


def _states(
    shared: Shipped,
    schema: LogSchema,
    spent: Any,
    fixed_position: int,
    seed: int,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[Any]:
    shard = _shard(schema, batches)
    if shard is not None:
        yield shard_states(shard, shared.bundle(), np.asarray(spent), fixed_position, seed)
