"""Sealed segments become Parquet: one file a segment, whole or not at all, nothing twice.

    python -m policy.decision_log.archive SEGMENT

does it in a process of its own, as `archiver` wants it.
"""

import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy.decision_log.segment import Scan, decoded, scan, segments
from uplift.files import atomic_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["archive_segment", "log_parts", "read_decisions", "read_part"]

_NUMBERED = re.compile(r"\d{12}")

_BATCH_ROWS = 1 << 14


def archive_segment(path: Path) -> Path | None:
    """Write a sealed segment as Parquet beside it and remove it; None where it holds nothing.

    A crash in between leaves both: `read_decisions` then reads the Parquet file alone. A segment
    with damaged records is kept beside, as ``.damaged``.
    """
    found, target = scan(path.read_bytes()), path.with_suffix(".parquet")
    if found.payloads:
        with atomic_file(target) as scratch:
            _write(found, scratch)
            _on_disk(scratch)
        _on_disk(target.parent)  # before the segment goes
    if found.damaged:
        path.rename(path.with_suffix(".damaged"))
    else:
        path.unlink()
    return target if found.payloads else None


def read_decisions(folder: str | Path) -> "pd.DataFrame":
    """Read all decisions of a folder, from Parquet and from segments; one row a decision."""
    import pandas as pd

    from uplift.errors import InputError

    frames = [frame for part in log_parts(folder) if len(frame := read_part(part))]
    if not frames:
        raise InputError(f"folder {str(folder)!r} holds no decisions; check the path.")
    whole = pd.concat(frames, ignore_index=True)
    mixed = [name for name in whole if whole[name].dtype == object]  # of two kinds in two files
    for name in mixed:
        values = whole[name].where(whole[name].notna(), None).tolist()
        whole[name] = _column(values, _kind({_type(v) for v in values})).to_pandas()
    return whole.drop_duplicates("decision_id")


def log_parts(folder: str | Path) -> list[Path]:
    """Return the files that hold the records of a log's folder, archived or not, each once."""
    left = segments(Path(folder))  # before what is archived, which a service may do meanwhile
    archived = [path for path in Path(folder).glob("*.parquet") if _NUMBERED.fullmatch(path.stem)]
    done = {path.stem for path in archived}
    return sorted(archived) + [path for path in left if path.stem not in done]


def read_part(path: Path) -> "pd.DataFrame":
    """Read the records of one of the `log_parts`; times are in UTC."""
    from uplift.parquet import read_frame

    frame = read_frame(path) if path.suffix == ".parquet" else _frame(path)
    if "timestamp" in frame:
        frame["timestamp"] = frame["timestamp"].dt.tz_localize("UTC")
    return frame


def _frame(segment: Path) -> "pd.DataFrame":
    """Return a segment as `read_frame` returns what becomes of it."""
    import pyarrow as pa

    from uplift.parquet import read_frame

    try:
        data = segment.read_bytes()
    except FileNotFoundError:  # archived meanwhile
        return read_frame(segment.with_suffix(".parquet"))
    tables = list(_tables(scan(data))) or [pa.table({})]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    if "timestamp" in frame:
        frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    return frame


def _write(found: Scan, path: Path) -> None:
    import pyarrow.parquet as pq

    tables = _tables(found)
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _tables(found: Scan) -> Iterator["pa.Table"]:
    """Yield a segment's records as columns of one kind each, missing where a record has none.

    Some rows at a time, since rows take ten times the memory of columns.
    """
    import pyarrow as pa

    seen: dict[str, set[type]] = {}
    for record in decoded(found):
        for name, value in record.items():
            seen.setdefault(name, set()).add(_type(value))
    kinds = {name: _kind(types) for name, types in seen.items()}
    for rows in _batches(decoded(found)):
        columns = {n: _column([row.get(n) for row in rows], kind) for n, kind in kinds.items()}
        if "timestamp" in columns:
            columns["timestamp"] = columns["timestamp"].cast(pa.timestamp("us", "UTC"))
        yield pa.table(columns)


def _batches(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while rows := list(itertools.islice(records, _BATCH_ROWS)):
        yield rows


def _type(value: Any) -> type:
    """Return a value's type; whole numbers beyond 64 bits count as texts, which keep them."""
    return str if type(value) is int and value >= 1 << 63 else type(value)


def _kind(types: set[type]) -> "pa.DataType":
    """Return the kind of a column: numbers and booleans are numbers, anything else is texts."""
    import pyarrow as pa

    known = types - {type(None)}
    if known == {int}:
        return pa.int64()
    if known == {bool}:
        return pa.bool_()
    return pa.float64() if known <= {int, float, bool} else pa.string()


def _column(values: Sequence[Any], kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa

    if kind in (pa.float64(), pa.string()):
        convert = float if kind == pa.float64() else _text
        values = [None if value is None else convert(value) for value in values]
    return pa.array(values, kind)


def _text(value: Any) -> str:
    """Return a value as text: a whole number alike, whether it was read as an int or a float."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _on_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


if __name__ == "__main__":
    os.nice(10)  # decisions come first
    asked = Path(sys.argv[1])
    if asked.exists():  # else the child of a service that is gone was faster
        archive_segment(asked)
