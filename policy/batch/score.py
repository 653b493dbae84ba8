"""Scores of a log of any size: part by part, in bounded memory, to be gone on with when killed."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from policy.batch.memory import rows_at_once
from policy.batch.overlap import overlapped
from policy.batch.parts import Part, Parts
from uplift.errors import InputError
from uplift.files import atomic_file, check_writable, lock_folder
from uplift.log import key_columns
from uplift.model import UpliftModel
from uplift.parquet import CorruptFile, batch_frame

__all__ = ["BatchScorer", "Scored", "score_parts"]

_MADE_OF = b"request-uplift"
"""Key of the footer under which a part of scores says what it was made of."""


class BatchScorer:
    """A model that scores record batches, the same bytes on one machine and on a cluster.

    Parameters
    ----------
    model : what scores
    schema : columns of the batches

    Attributes
    ----------
    columns : those that are read
    schema : of the scores: the log's key columns as they are, ``outcome_<arm>``, ``uplift_<arm>``
    """

    def __init__(self, model: UpliftModel, schema: pa.Schema) -> None:
        model.encoder.check_there(schema.names)
        self._model, arms = model, model.schema.arms
        self._keys = key_columns(schema.names, model.schema)
        self.columns = [n for n in schema.names if n in {*self._keys, *model.encoder.names}]
        told = [f"outcome_{arm}" for arm in arms] + [f"uplift_{arm}" for arm in arms[1:]]
        keys = [schema.field(name).with_metadata(None) for name in self._keys]
        self.schema = pa.schema([*keys, *(pa.field(name, pa.float64()) for name in told)])

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the scores of a batch's rows."""
        arms = self._model.schema.n_arms + 1
        features = batch.select(list(self._model.encoder.names))
        outcome = np.empty((0, arms))
        if batch.num_rows:
            outcome = self._model.outcome_of(batch_frame(features))
        uplift = outcome[:, 1:] - outcome[:, :1]
        numbers = [*outcome.T.copy(), *uplift.T.copy()]
        keys = [batch.column(name).cast(self.schema.field(name).type) for name in self._keys]
        return pa.RecordBatch.from_arrays([*keys, *map(pa.array, numbers)], schema=self.schema)


@dataclass(frozen=True)
class Scored:
    """What a scoring job did.

    Attributes
    ----------
    rows : rows of all parts that were scored, now or earlier
    parts, kept : number of parts; those that an earlier run had finished
    corrupt : parts that could not be read
    """

    rows: int
    parts: int
    kept: int
    corrupt: tuple[str, ...]


def score_parts(
    model: UpliftModel,
    parts: Parts,
    out: str | Path,
    *,
    digest: str,
    memory: int,
    skip_corrupt: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score every row of a log; part ``x`` of the log becomes part ``x`` of the scores.

    A part of the scores is there whole or not at all, and says of what part and model it was made:
    a job that is started again keeps what is finished, and ends with the same bytes.

    Parameters
    ----------
    model : what scores
    parts : of the log
    out : folder of the scores; a file where the log is one
    digest : what tells this model from others, such as its bundle's
    memory : bytes that the job may take
    skip_corrupt : leave out a part whose rows cannot be read, and name it
    progress : called with (rows done, rows in all)

    Raises
    ------
    InputError
        A feature is missing or of another kind; a part cannot be read; or `out` holds parts that
        do not come from this log.
    """
    target, scorer = Path(out), BatchScorer(model, parts.schema)
    files = _targets(parts, target)
    rows = rows_at_once(memory, len(scorer.columns) + len(scorer.schema))
    done, kept, corrupt = 0, 0, list(parts.corrupt)
    with _alone(target):
        for part, file in zip(parts.parts, files, strict=True):
            made_of = {"part": part.digest, "rows": part.rows, "model": digest}
            if _made_of(file) == made_of:
                kept += 1
            else:
                try:
                    _score(scorer, part, file, made_of, rows, _after(done, parts.rows, progress))
                except CorruptFile:
                    if not skip_corrupt:
                        raise
                    corrupt.append(part.name)
                    continue
            done += part.rows
            if progress is not None:
                progress(done, parts.rows)
    return Scored(done, len(files), kept, tuple(corrupt))


def _score(
    scorer: BatchScorer,
    part: Part,
    file: Path,
    made_of: dict[str, object],
    rows: int,
    progress: Callable[[int], None],
) -> None:
    schema = scorer.schema.with_metadata({_MADE_OF: json.dumps(made_of).encode()})
    with atomic_file(file) as scratch, pq.ParquetWriter(scratch, schema) as writer:

        def write(scores: pa.RecordBatch) -> None:
            writer.write_batch(scores)
            progress(scores.num_rows)

        overlapped(part.batches(rows, scorer.columns), scorer, write)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold a folder of scores, and remove what a killed job left in it."""
    if not out.is_dir():
        yield
        return
    lock = lock_folder(out, "writes scores to")
    try:
        for left in out.rglob(".*.parquet.*"):
            left.unlink()
        yield
    finally:
        os.close(lock)


def _targets(parts: Parts, out: Path) -> list[Path]:
    """Return where each part's scores go; refuse a folder with other parts in it."""
    if not parts.folder.is_dir():
        check_writable(out)
        return [out]
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is a file and the log a folder; name a folder for scores.")
    files = [out / part.name for part in parts.parts]
    known = {*files, *(out / name for name in parts.corrupt)}
    strange = sorted(set(out.rglob("*.parquet")) - known) if out.is_dir() else []
    if strange:
        raise InputError(
            f"{str(out)!r} holds {len(strange)} part(s) that do not come from this log, such as "
            f"{strange[0].name!r}; choose an empty folder."
        )
    check_writable(out / "part")  # makes the folder
    return files


def _made_of(file: Path) -> object:
    """Return what a part of scores was made of; nothing where there is none, or it is no such."""
    try:
        told = (pq.read_schema(file).metadata or {}).get(_MADE_OF)
    except (OSError, pa.ArrowException):
        return None
    return None if told is None else json.loads(told)


def _after(
    done: int, total: int, progress: Callable[[int, int], None] | None
) -> Callable[[int], None]:
    """Return what counts rows on from those that are done."""
    count = done

    def add(rows: int) -> None:
        nonlocal count
        count += rows
        if progress is not None:
            progress(count, total)

    return add
