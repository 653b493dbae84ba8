"""A day's samples into its file, whole or not at all; a file that holds them already stays."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from policy.samples.manifest import digest
from uplift.files import atomic_file

__all__ = ["put_day"]

_GROUP = 1 << 18


def put_day(tables: Iterable[pa.Table], columns: pa.Schema, file: Path) -> tuple[str, int, bool]:
    """Bring a file to what it should hold.

    Returns
    -------
    Its sha256 (empty where there are no rows, and no file), its rows, and whether it changed.
    """
    with atomic_file(file) as scratch:
        rows = _written(tables, columns, scratch)
        sha256 = digest(scratch) if rows else ""
        there = digest(file) if file.exists() else ""
        if sha256 == there or not rows:
            scratch.unlink()  # the file that stands stays, with its time
    if not rows:
        file.unlink(missing_ok=True)
        file.parent.rmdir()
    return sha256, rows, sha256 != there


def _written(tables: Iterable[pa.Table], columns: pa.Schema, path: Path) -> int:
    """Write tables one behind the other; their number has no say in the bytes."""
    texts = [f.name for f in columns if f.type == pa.string() and f.name != "decision_id"]
    rows = 0
    with pq.ParquetWriter(path, columns, compression="zstd", use_dictionary=texts) as writer:
        for group in _groups(tables):
            writer.write_table(group, row_group_size=_GROUP)
            rows += len(group)
    return rows


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Cut tables anew, into row groups of equal size."""
    rest: pa.Table | None = None
    for table in tables:
        rest = table if rest is None else pa.concat_tables([rest, table])
        while len(rest) >= _GROUP:
            yield rest.slice(0, _GROUP).combine_chunks()
            rest = rest.slice(_GROUP)
    if rest is not None and len(rest):
        yield rest.combine_chunks()
