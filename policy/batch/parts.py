"""The Parquet files of a log: one file, or a folder of them, such as one by day."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from uplift.errors import InputError
from uplift.files import existing_file
from uplift.parquet import CorruptFile, column_kinds

__all__ = ["Part", "Parts"]

_TAIL = 8
"""Bytes at the end of a Parquet file: the length of the footer, and four letters."""


@dataclass(frozen=True)
class Part:
    """One Parquet file.

    Attributes
    ----------
    name : its path below the folder; its own name where the log is one file
    path : where it is
    rows : number of rows
    digest : of the file's footer, which holds the size and the range of every column
    """

    name: str
    path: Path
    rows: int
    digest: str

    def batches(self, rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield so many rows at once, without a second copy of the file in memory.

        Raises
        ------
        CorruptFile
            The file cannot be read to its end.
        """
        try:
            with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20) as file:
                yield from file.iter_batches(rows, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise CorruptFile(self.path, error) from error


@dataclass(frozen=True)
class Parts:
    """All parts of a log, in the order of their names.

    Attributes
    ----------
    folder : whose parts they are; the file itself where there is one
    parts : those that can be read
    schema : columns, the same in all parts
    corrupt : names of parts that cannot be read and were left out
    """

    folder: Path
    parts: tuple[Part, ...]
    schema: pa.Schema
    corrupt: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str | Path, *, skip_corrupt: bool = False) -> "Parts":
        """Find the parts of a log and look at the end of each.

        Parameters
        ----------
        path : Parquet file, or folder with ``*.parquet`` files at any depth; names that begin with
            a dot or an underscore are no parts
        skip_corrupt : leave out parts that cannot be read, and name them in `corrupt`

        Raises
        ------
        InputError
            There is no part; one cannot be read; or one has other columns than the first.
        """
        folder = existing_file(path, "log")
        files = _files(folder) if folder.is_dir() else [folder]
        parts, corrupt = list[Part](), list[str]()
        first: tuple[Path, pa.Schema] | None = None
        for file in files:
            name = file.relative_to(folder).as_posix() if folder.is_dir() else file.name
            try:
                part, schema = _part(file, name)
            except CorruptFile:
                if not skip_corrupt:
                    raise
                corrupt.append(name)
                continue
            first = first or (file, schema)
            _check_same(file, schema, *first)
            parts.append(part)
        if first is None:
            raise InputError(f"{str(path)!r} holds no *.parquet file to read; check the path.")
        return cls(folder, tuple(parts), first[1], tuple(corrupt))

    @property
    def rows(self) -> int:
        """Number of rows of all parts."""
        return sum(part.rows for part in self.parts)


def _files(folder: Path) -> list[Path]:
    found = []
    for file in folder.rglob("*.parquet"):
        below = file.relative_to(folder).parts
        if not any(name.startswith((".", "_")) for name in below):
            found.append(file)
    return sorted(found)


def _part(file: Path, name: str) -> tuple[Part, pa.Schema]:
    try:
        with pq.ParquetFile(file) as reader:
            rows, schema = reader.metadata.num_rows, reader.schema_arrow
        with file.open("rb") as raw:
            raw.seek(-_TAIL, 2)
            length = int.from_bytes(raw.read(4), "little")
            raw.seek(-_TAIL - length, 2)
            digest = hashlib.sha256(raw.read(length)).hexdigest()
    except (pa.ArrowException, OSError) as error:
        raise CorruptFile(file, error) from error
    return Part(name, file, rows, digest), schema


def _check_same(file: Path, schema: pa.Schema, first: Path, expected: pa.Schema) -> None:
    """Refuse a part whose columns are others, or of other kinds; number widths may differ."""
    found, wanted = dict(column_kinds(schema)), dict(column_kinds(expected))
    if found == wanted:
        return
    missing, more = sorted(wanted.keys() - found), sorted(found.keys() - wanted)
    other = sorted(name for name in found.keys() & wanted if found[name] != wanted[name])
    told = [
        f"{what} {names[:5]}"
        for what, names in (("lacks", missing), ("has besides", more), ("has otherwise", other))
        if names
    ]
    raise InputError(
        f"part {str(file)!r} {', '.join(told)}, compared with {str(first)!r}; all parts need the "
        "same columns."
    )
