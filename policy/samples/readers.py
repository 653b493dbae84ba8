"""What a file of an input holds, whether Parquet or a segment of a decision log."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from policy.decision_log.archive import read_part
from uplift.errors import InputError
from uplift.parquet import CorruptFile

__all__ = ["MOMENT", "Reader", "reader_of"]

MOMENT = pa.timestamp("us", tz="UTC")
_ROWS = 1 << 18


class Reader(Protocol):
    """An open file.

    Attributes
    ----------
    rows : how many it has
    columns : those that can be read, in the types that they are read as
    """

    rows: int
    columns: pa.Schema

    def ends(self) -> tuple[int, int] | None:
        """Return the first and the last moment, if that is known without reading."""

    def tables(self, names: list[str], window: tuple[int, int] | None) -> Iterator[pa.Table]:
        """Yield some columns of the rows that may lie in a window [low, high) of moments."""


def reader_of(path: Path) -> Reader:
    """Open a file.

    Raises
    ------
    CorruptFile
        It is not whole.
    """
    return _Parquet(path) if path.suffix == ".parquet" else _Segment(path)


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = pq.ParquetFile(path, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise CorruptFile(path, error) from error
        self._meta = self._file.metadata
        self.rows = self._meta.num_rows
        self.columns = _plain_schema(self._file.schema_arrow)

    def ends(self) -> tuple[int, int] | None:
        told = [self._group_ends(g) for g in self._groups()]
        known = [pair for pair in told if pair is not None]
        if not known or len(known) < len(told):
            return None
        return min(low for low, _ in known), max(high for _, high in known)

    def tables(self, names: list[str], window: tuple[int, int] | None) -> Iterator[pa.Table]:
        kinds = pa.schema([self.columns.field(name) for name in names])
        groups = [g for g in self._groups() if self._may_hold(g, window)]
        try:
            for batch in self._file.iter_batches(_ROWS, groups, names):
                yield pa.Table.from_batches([batch]).select(names).cast(kinds, safe=False)
        except (pa.ArrowException, OSError) as error:
            raise CorruptFile(self._path, error) from error

    def _groups(self) -> list[int]:
        return [g for g in range(self._meta.num_row_groups) if self._meta.row_group(g).num_rows]

    def _may_hold(self, group: int, window: tuple[int, int] | None) -> bool:
        ends = None if window is None else self._group_ends(group)
        return window is None or ends is None or (ends[0] < window[1] and ends[1] >= window[0])

    def _group_ends(self, group: int) -> tuple[int, int] | None:
        """Return the moments that a row group lies between, if its statistics tell."""
        leaves = self._file.schema
        place = [leaves.column(i).path for i in range(len(leaves))].index("timestamp")
        found = self._meta.row_group(group).column(place).statistics
        if found is None or not found.has_min_max or found.null_count:
            return None  # what has no moment is found by reading
        kind = self._file.schema_arrow.field("timestamp").type
        low, high = (
            pa.scalar(end, kind).cast(MOMENT, safe=False) for end in (found.min, found.max)
        )
        return low.value, high.value


class _Segment:
    def __init__(self, path: Path) -> None:
        try:
            table = pa.Table.from_pandas(read_part(path), preserve_index=False)
        except pa.ArrowException as error:
            raise InputError(
                f"{str(path)!r} holds values of several types in one column ({error}); log one."
            ) from error
        self.columns = _plain_schema(table.schema)
        self._table = table.select(self.columns.names).cast(self.columns)
        self.rows = table.num_rows

    def ends(self) -> tuple[int, int] | None:
        found = pc.min_max(self._table.column("timestamp"))
        return found["min"].value, found["max"].value

    def tables(self, names: list[str], window: tuple[int, int] | None) -> Iterator[pa.Table]:
        yield self._table.select(names)


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    kinds = [(field.name, _plain(field.type)) for field in schema]
    return pa.schema([(name, kind) for name, kind in kinds if kind is not None])


def _plain(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that a column is read as; None where it is left out."""
    types = pa.types
    if types.is_dictionary(kind):
        return _plain(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_decimal(kind):
        return pa.float64()
    if types.is_timestamp(kind):
        return MOMENT if kind.tz else pa.timestamp("us")
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return kind if numbers or types.is_null(kind) else None
