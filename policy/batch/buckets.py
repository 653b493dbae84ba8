"""Rows put apart by whom they belong to: each bucket holds whole users or sessions, and fits."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from uplift.arrays import IntArray
from uplift.hashing import hash_keys
from uplift.parquet import batch_frame

__all__ = ["Buckets", "bucket_count", "bucket_of", "scratch_folder"]

_BUFFER_ROWS = 1 << 14
"""Rows of a bucket that wait to be written together."""

_MOST = 512
"""Buckets: each has an open file and a buffer."""


def bucket_count(rows: int, bytes_per_row: int, memory: int) -> int:
    """Return how many buckets it takes that one of them fits into half of the memory."""
    return int(min(_MOST, max(1, -(-2 * rows * bytes_per_row // memory))))


def bucket_of(batch: pa.RecordBatch, key: str, count: int) -> IntArray:
    """Return the bucket of each row: of its user or session, the same in every log."""
    ids = batch_frame(batch.select([key]))[key]
    return (hash_keys(ids) % np.uint64(count)).astype(np.int64)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder for what is put aside; ``TMPDIR`` says on which disk."""
    with TemporaryDirectory(prefix="request-uplift-") as folder:
        yield Path(folder)


class Buckets:
    """Files of rows by bucket.

    Parameters
    ----------
    folder : where the files go
    key : column of identifiers; all rows of one land in one bucket
    count : number of buckets
    """

    def __init__(self, folder: Path, key: str, count: int) -> None:
        self._folder, self._key, self._count = folder, key, count
        self._writers: dict[int, pq.ParquetWriter] = {}
        self._waiting: dict[int, list[pa.RecordBatch]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Put each row into its bucket, after those that came before."""
        bucket = bucket_of(batch, self._key, self._count)
        order = np.argsort(bucket, kind="stable")
        sorted_rows = batch.take(pa.array(order))
        ends = np.cumsum(np.bincount(bucket, minlength=self._count))
        for k, (begin, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
            if end > begin:
                self._put(k, sorted_rows.slice(int(begin), int(end - begin)))

    def paths(self) -> list[Path]:
        """Return the files, in the order of the buckets; empty buckets have none."""
        return [self._path(k) for k in sorted(self._writers)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for k in list(self._waiting):
            self._write(k)
        for writer in self._writers.values():
            writer.close()

    def _put(self, k: int, rows: pa.RecordBatch) -> None:
        waiting = self._waiting.setdefault(k, [])
        waiting.append(rows)
        if sum(one.num_rows for one in waiting) >= _BUFFER_ROWS:
            self._write(k)

    def _write(self, k: int) -> None:
        table = pa.Table.from_batches(self._waiting.pop(k))
        if k not in self._writers:
            path, schema = self._path(k), table.schema
            self._writers[k] = pq.ParquetWriter(path, schema, compression="lz4")
        self._writers[k].write_table(table.cast(self._writers[k].schema))

    def _path(self, k: int) -> Path:
        return self._folder / f"bucket-{k:05}.parquet"
