"""Scores on Spark: `policy.batch.score` on every executor."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from policy.batch.score import BatchScorer
from policy.spark.session import Shipped, read_log, ship, told
from uplift.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["arrow_schema", "map_batches", "score_on_spark", "selected"]


def score_on_spark(
    session: "SparkSession",
    bundle: str | Path,
    log: str | Path,
    out: str | Path,
    *,
    skip_corrupt: bool = False,
) -> int:
    """Score every row of a log; return how many there are.

    The scores are those of `score_parts`, bit for bit. Spark writes them beside and renames; what
    an executor had begun when it was lost is done anew by another.

    Parameters
    ----------
    session : of a cluster
    bundle : whose model scores; it is shipped to every executor once
    log, out : Parquet that the cluster can read, and a folder that is not there yet
    skip_corrupt : leave out parts that cannot be read

    Raises
    ------
    InputError
        A path cannot be read or is there already, or features are missing or of another kind.
    """
    with told():
        shared = ship(session, bundle)
        frame = read_log(session, log, skip_corrupt=skip_corrupt)
        scorer = BatchScorer(shared.bundle().model, arrow_schema(frame))
        scores = map_batches(
            selected(frame, scorer.columns), partial(_scored, shared), scorer.schema
        )
        try:
            scores.write.parquet(str(out))
        except Exception as error:
            if "PATH_ALREADY_EXISTS" in str(error):
                raise InputError(
                    f"{str(out)!r} is there already; choose another folder."
                ) from error
            raise
        return int(session.read.parquet(str(out)).count())


def map_batches(frame: Any, work: Any, schema: pa.Schema) -> Any:
    """Return what a function of batches makes of a DataFrame, under an Arrow schema."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return frame.mapInArrow(work, from_arrow_schema(schema))


def selected(frame: Any, columns: Sequence[str]) -> Any:
    """Return some columns of a DataFrame; a dot in a name is a dot."""
    return frame.select(*(f"`{name}`" for name in columns))


def arrow_schema(frame: Any) -> pa.Schema:
    """Return the schema of the batches that executors get of a DataFrame."""
    return frame.limit(0).toArrow().schema


def _scored(shared: Shipped, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    scorer = None
    for batch in batches:
        scorer = scorer or BatchScorer(shared.bundle().model, batch.schema)
        yield scorer(batch)
