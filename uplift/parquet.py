"""Parquet into numpy columns, batch by batch, without a second copy of the table."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from uplift.errors import InputError
from uplift.files import atomic_file, existing_file

__all__ = [
    "CorruptFile",
    "batch_frame",
    "column_kinds",
    "column_names",
    "read_frame",
    "write_frame",
]

_BATCH_ROWS = 1 << 16
Progress = Callable[[int, int], None]


class CorruptFile(InputError):
    """A file that is not whole Parquet; the only trouble with a file that a job may pass over.

    Attributes
    ----------
    path : of the file
    """

    def __init__(self, path: Path, error: Exception) -> None:
        reason = " ".join(str(error).split())[:160]
        super().__init__(
            f"{str(path)!r} is not a whole Parquet file ({reason}); write it again, or convert a "
            "CSV with pandas.read_csv(...).to_parquet(...)."
        )
        self.path = path


def read_frame(
    path: str | Path, progress: Progress | None = None, columns: Collection[str] | None = None
) -> pd.DataFrame:
    """Read a Parquet file, or a folder of them, into a frame.

    Every column is allocated once at its full length and filled batch by batch, so that memory
    peaks at the frame plus one batch. Strings become categories; integers with missing values
    become floats; timestamps become UTC microseconds; nested columns are left out.

    Parameters
    ----------
    path : Parquet file, or folder whose ``*.parquet`` files hold the same columns
    progress : called with (rows read, rows in all) after each batch
    columns : read these only, as far as they are there

    Raises
    ------
    InputError
        The path is missing, not Parquet, truncated, or its files differ in their columns.
    """
    files = _files(path)
    readers = [_open(file) for file in files]
    names = _supported(readers[0].schema_arrow)
    kinds = column_kinds(readers[0].schema_arrow)
    for file, reader in zip(files, readers, strict=True):
        if column_kinds(reader.schema_arrow) != kinds:
            raise InputError(f"{str(file)!r} has other columns than {str(files[0])!r}.")
    names = [name for name in names if columns is None or name in columns]
    n = sum(reader.metadata.num_rows for reader in readers)
    columns = {name: _column(readers[0].schema_arrow.field(name).type, n) for name in names}
    start = 0
    for batch in _batches(files, readers, names):
        for name, column in columns.items():
            column.fill(start, batch.column(name))
        start += batch.num_rows
        if progress is not None:
            progress(start, n)
    return pd.DataFrame({name: c.finish() for name, c in columns.items()}, copy=False)


def column_names(path: str | Path) -> list[str]:
    """Return the names of the columns that `read_frame` would read."""
    return _supported(_open(_files(path)[0]).schema_arrow)


def column_kinds(schema: pa.Schema) -> list[tuple[str, str]]:
    """Return the name and kind, text, time or number, of the columns that `read_frame` reads."""
    kinds = [(name, schema.field(name).type) for name in _supported(schema)]
    return [(name, _kind(kind)) for name, kind in kinds]


def batch_frame(batch: pa.RecordBatch) -> pd.DataFrame:
    """Return the columns of a batch as `read_frame` would have them."""
    columns = {}
    for name in _supported(batch.schema):
        column = _column(batch.schema.field(name).type, batch.num_rows)
        column.fill(0, batch.column(name))
        columns[name] = column.finish()
    return pd.DataFrame(columns, copy=False)


def write_frame(frame: pd.DataFrame, path: str | Path, rows_per_group: int = 1 << 18) -> None:
    """Write a frame as Parquet, whole or not at all."""
    with atomic_file(path) as scratch:
        frame.to_parquet(scratch, index=False, row_group_size=rows_per_group, engine="pyarrow")


@dataclass
class _Numbers:
    """A numeric, boolean or time column under construction."""

    values: np.ndarray

    def fill(self, start: int, chunk: pa.Array) -> None:
        if pa.types.is_timestamp(chunk.type):
            chunk = chunk.cast(pa.timestamp("us"), safe=False)
        elif pa.types.is_decimal(chunk.type):
            chunk = chunk.cast(pa.float64())
        part = chunk.to_numpy(zero_copy_only=False)
        if part.dtype == object:  # booleans with missing values
            part = np.array([np.nan if v is None else float(v) for v in part])
        kind = np.promote_types(self.values.dtype, part.dtype)
        if kind != self.values.dtype:  # integers with missing values, or wider than before
            self.values = self.values.astype(kind)
        self.values[start : start + len(part)] = part

    def finish(self) -> np.ndarray:
        return self.values


@dataclass
class _Names:
    """A column of strings under construction: codes into a growing vocabulary."""

    codes: np.ndarray
    vocabulary: dict[Any, int] = field(default_factory=dict)

    def fill(self, start: int, chunk: pa.Array) -> None:
        coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        known = self.vocabulary
        table = [known.setdefault(v, len(known)) for v in coded.dictionary.to_pylist()]
        local = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        self.codes[start : start + len(local)] = np.array([*table, -1], dtype=np.int32)[local]

    def finish(self) -> pd.Categorical:
        names = sorted(self.vocabulary)  # whatever the order of rows
        place = np.empty(len(names) + 1, dtype=np.int32)
        place[[*(self.vocabulary[name] for name in names), -1]] = [*range(len(names)), -1]
        return pd.Categorical.from_codes(place[self.codes], categories=pd.Index(names))


def _column(kind: pa.DataType, n: int) -> _Numbers | _Names:
    if _is_text(kind):
        return _Names(np.empty(n, dtype=np.int32))
    if pa.types.is_timestamp(kind):
        return _Numbers(np.empty(n, dtype="datetime64[us]"))
    if pa.types.is_decimal(kind):
        return _Numbers(np.empty(n, dtype=np.float64))
    return _Numbers(np.empty(n, dtype=kind.to_pandas_dtype()))


def _is_text(kind: pa.DataType) -> bool:
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(text) or pa.types.is_large_string(text))


def _kind(kind: pa.DataType) -> str:
    return "text" if _is_text(kind) else "time" if pa.types.is_timestamp(kind) else "number"


def _supported(schema: pa.Schema) -> list[str]:
    types = pa.types
    plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_timestamp)
    return [
        f.name
        for f in schema
        if _is_text(f.type) or types.is_decimal(f.type) or any(is_(f.type) for is_ in plain)
    ]


def _files(path: str | Path) -> list[Path]:
    source = existing_file(path, "log")
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not files:
        raise InputError(f"folder {str(path)!r} holds no *.parquet file; check the path.")
    return files


def _open(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file, pre_buffer=False)  # it would keep the whole file in memory
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(file, error) from error


def _batches(
    files: list[Path], readers: list[pq.ParquetFile], names: list[str]
) -> Iterator[pa.RecordBatch]:
    for file, reader in zip(files, readers, strict=True):
        try:
            yield from reader.iter_batches(_BATCH_ROWS, columns=names)
        except (pa.ArrowException, OSError) as error:
            raise CorruptFile(file, error) from error
