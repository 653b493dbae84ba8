"""Part: one file of an input, from when to when it reaches, and its rows between two moments."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from policy.samples.readers import MOMENT, Reader, reader_of
from uplift.errors import InputError

__all__ = ["Part"]


@dataclass(frozen=True)
class Part:
    """A file of an input.

    Attributes
    ----------
    path : Parquet, or a segment of a decision log
    columns : those that can be read, in the types that they are read as
    rows : how many
    first, last : its moments, in microseconds; of no meaning where there are no rows
    """

    path: Path
    columns: pa.Schema
    rows: int
    first: int
    last: int

    @classmethod
    def of(cls, path: Path) -> "Part":
        """Look at a file.

        Raises
        ------
        CorruptFile
            It is not whole.
        InputError
            Its rows have no ``timestamp``, or one without time zone.
        """
        reader = reader_of(path)
        if reader.rows == 0:
            return cls(path, reader.columns, 0, 0, -1)
        _check_moment(path, reader.columns)
        return cls(path, reader.columns, reader.rows, *(reader.ends() or _ends(path, reader)))

    def overlaps(self, low: int, high: int) -> bool:
        """Tell whether a row may lie in [low, high)."""
        return self.rows > 0 and self.first < high and self.last >= low

    def between(self, low: int, high: int, names: list[str]) -> Iterator[pa.Table]:
        """Yield the rows with moments in [low, high), table by table; columns as far as there."""
        there = [name for name in names if name in self.columns.names]
        for table in reader_of(self.path).tables(there, (low, high)):
            if low <= self.first and self.last < high:
                yield table
                continue
            moment = table.column("timestamp")
            inside = pc.and_(
                pc.greater_equal(moment, pa.scalar(low, MOMENT)),
                pc.less(moment, pa.scalar(high, MOMENT)),
            )
            yield table.filter(inside)


def _check_moment(path: Path, columns: pa.Schema) -> None:
    if "timestamp" not in columns.names:
        raise InputError(f"{str(path)!r} lacks 'timestamp'; it has {columns.names[:12]}.")
    kind = columns.field("timestamp").type
    if kind != MOMENT:
        told = "has no time zone" if pa.types.is_timestamp(kind) else f"is of type {kind}"
        raise InputError(
            f"column 'timestamp' of {str(path)!r} {told}; write moments in UTC, such as "
            "pandas.to_datetime(..., utc=True)."
        )


def _ends(path: Path, reader: Reader) -> tuple[int, int]:
    """Read the first and the last moment of a file whose footer does not tell."""
    low, high = [], []
    for table in reader.tables(["timestamp"], None):
        moment = table.column("timestamp")
        if moment.null_count:
            raise InputError(
                f"{str(path)!r} has rows without a timestamp ({moment.null_count}); every row "
                "needs one."
            )
        found = pc.min_max(moment)
        low.append(found["min"].value)
        high.append(found["max"].value)
    return min(low), max(high)
