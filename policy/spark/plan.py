"""Planning on Spark: sessions answer on executors, the prices are found on the driver.

Each partition holds whole sessions, sorted, as one `Demand`. A pass broadcasts the prices, lets the
session oracle answer on every executor, and adds what they spend and gain in a tree; the points
above a floor of prices come to the driver, as they do on one machine.
"""

import pickle
from collections.abc import Iterator
from functools import partial
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from policy.batch.demand import Counts, DemandRows, sort_sessions
from policy.batch.plan import plan_source, sample_points
from policy.budget import Budget
from policy.plan import RequestPlan
from policy.planner.narrowing import Part
from policy.planner.oracle import Pass, SessionOracle
from policy.planner.rows import Rows
from policy.planner.shards import SampledSource, demand_of_columns
from policy.problem import Demand, Limits
from policy.spark.score import arrow_schema, map_batches
from policy.spark.session import read_log, told
from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.parquet import batch_frame
from uplift.schema import LogSchema
from uplift.scores import Scores

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SparkSource", "plan_on_spark"]

_PACKED = pa.schema([("part", pa.binary())])


class SparkSource(SampledSource):
    """The sessions of an RDD of (partition's counts, demand): see `narrowing.Source`."""

    def __init__(
        self, demands: Any, counts: list[Counts], sample: Demand, limits: Limits, rows: Rows
    ) -> None:
        super().__init__(sample, limits, rows)
        self._demands, self._limits, self._rows = demands, limits, rows
        self._before = np.cumsum([0, *(len(c) for c in counts)])

    @property
    def n_points(self) -> int:
        """Number of decision points."""
        return int(self._before[-1])

    def best_plans(self, price: FloatArray) -> Pass:
        """Return what all sessions do at prices (W, L): one pass over all executors."""
        sent = self._demands.context.broadcast(price)
        limits, rows = self._limits, self._rows
        try:
            answers = self._demands.map(
                lambda demand: SessionOracle(demand, limits, rows, threads=1).best_plans(sent.value)
            )
            whole: Pass = answers.treeReduce(add)
        finally:
            sent.unpersist()
        return whole

    def worthwhile(self, price: FloatArray) -> Part:
        """Return the points that have an arm worth more than prices (W, L)."""
        limits, rows = self._limits, self._rows

        def found(demand: Demand) -> tuple[Any, Demand | None]:
            point = SessionOracle(demand, limits, rows, threads=1).worthwhile(price)
            return point, demand.take(point) if len(point) else None

        parts = self._demands.map(found).collect()
        offsets = self._before[:-1]
        point = [before + p for before, (p, _) in zip(offsets, parts, strict=True)]
        kept = [demand for _, demand in parts if demand is not None]
        joined = np.concatenate(point) if point else np.zeros(0, np.int64)
        return Part(Demand.join(kept) if kept else None, joined.astype(np.int64))


def plan_on_spark(
    session: "SparkSession",
    scores: str | Path,
    schema: LogSchema,
    budget: Budget,
    limits: Limits,
    *,
    window_seconds: float = 3600.0,
    gap: float = 1e-4,
    memory: int = 4 << 30,
) -> RequestPlan:
    """Plan scores wherever they are; the plan and its certificate are those of `plan_parts`.

    Parameters
    ----------
    session : of a cluster
    scores : Parquet of `score_on_spark`
    schema : of their model
    budget, limits, window_seconds, gap : as in `plan_requests`
    memory : bytes that the driver may take for the sample that the rule is tuned on

    Raises
    ------
    InputError
        The scores lack columns or hold no rows, or the budget does not fit them.
    """
    with told():
        frame = read_log(session, scores)
        points = frame.count()
        if not points:
            raise InputError(f"{str(scores)!r} holds no rows; score a log that does.")
        columns = arrow_schema(frame)
        rows_of = DemandRows(schema, columns, window_seconds, sample_points(memory) / points)
        demands, counts = _laid_out(frame, rows_of)
        try:
            total = sum(counts[1:], counts[0])
            if "timestamp" not in columns.names:
                total = total.without_time()
            some = map_batches(frame, partial(_sampled, rows_of), columns).toArrow()
            sample = _scores(some.combine_chunks(), schema)
            return plan_source(
                lambda first, rows: SparkSource(demands, counts, first, limits, rows),
                sample,
                total,
                budget,
                limits,
                window_seconds=window_seconds,
                gap=gap,
            )
        finally:
            demands.unpersist()


def _scores(table: pa.Table, schema: LogSchema) -> Scores:
    frame = batch_frame(table.to_batches()[0])
    outcome = frame[[f"outcome_{arm}" for arm in schema.arms]].to_numpy(dtype=np.float64)
    return Scores(RequestLog.unchecked(frame, schema).keys(), outcome)


def _laid_out(frame: Any, rows_of: DemandRows) -> tuple[Any, list[Counts]]:
    """Keep every partition's demand on its executor; return them, and what is in each."""
    by_session = map_batches(frame, partial(_demanded, rows_of), rows_of.schema)
    packed = map_batches(by_session.repartition("session"), partial(_packed, rows_of), _PACKED)
    from pyspark import StorageLevel

    parts = packed.rdd.map(lambda row: pickle.loads(row.part))
    parts = parts.persist(StorageLevel.MEMORY_AND_DISK)
    counts = parts.map(lambda part: part[0]).collect()
    return parts.map(lambda part: part[1]), counts


def _demanded(rows_of: DemandRows, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from pyspark import TaskContext

    context = TaskContext.get()
    before = 0 if context is None else context.partitionId() << 40  # rows of a partition in a row
    for batch in batches:
        yield rows_of(batch, before)
        before += batch.num_rows


def _sampled(rows_of: DemandRows, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield rows_of.sampled(batch, rows_of(batch))


def _packed(rows_of: DemandRows, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    some = [batch for batch in batches if batch.num_rows]
    if not some:
        return
    table, counts = sort_sessions(pa.Table.from_batches(some))
    columns = {name: table[name].to_numpy() for name in table.column_names}
    demand = demand_of_columns(columns, rows_of.gains, rows_of.cost, rows_of.n_windows)
    part = pickle.dumps((counts, demand), protocol=5)
    yield pa.RecordBatch.from_pydict({"part": [part]}, schema=_PACKED)
