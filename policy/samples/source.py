"""Source: an input of many files, read between two moments."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from policy.decision_log.archive import log_parts
from policy.samples.parts import Part
from uplift.errors import InputError
from uplift.files import existing_file
from uplift.parquet import CorruptFile

__all__ = ["Source"]

_HIDDEN = re.compile(r"[._]")
Chosen = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Source:
    """The files of an input.

    Attributes
    ----------
    what : decisions, events or snapshots
    parts : files that hold rows
    columns : those that are used, of types that fit all parts
    skipped : names of the parts that were passed over, since they are not whole
    """

    what: str
    parts: tuple[Part, ...]
    columns: pa.Schema
    skipped: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str | Path, what: str, chosen: Chosen, skip_corrupt: bool) -> "Source":
        """Look at a Parquet file, a folder of them, or the folder of a decision log.

        Parameters
        ----------
        path : file or folder
        what : for errors
        chosen : which of a part's columns are used
        skip_corrupt : go on without parts that are not whole

        Raises
        ------
        InputError
            There is no part, one is not whole, or they differ in their columns. A decision log's
            parts may differ: what was not logged is missing.
        """
        files, from_log = _files(existing_file(path, what))
        looked = {file: _part(file, skip_corrupt) for file in files}
        parts = tuple(part for part in looked.values() if part is not None and part.rows)
        skipped = tuple(str(file) for file, part in looked.items() if part is None)
        if not parts:
            raise InputError(
                f"the {what} {str(path)!r} hold no rows in {len(files)} parts"
                f"{f' ({len(skipped)} not whole)' if skipped else ''}; check the path."
            )
        columns = _united(parts, chosen, from_log)
        return cls(what, parts, columns, skipped)

    def only(self, *names: str) -> "Source":
        """Return the same input with some of the columns."""
        return replace(self, columns=pa.schema([self.columns.field(name) for name in names]))

    def without(self, path: Path) -> "Source":
        """Return the same input but for a part that is not whole."""
        left = tuple(part for part in self.parts if part.path != path)
        gone = () if len(left) == len(self.parts) else (str(path),)
        return replace(self, parts=left, skipped=(*self.skipped, *gone))

    def need(self, names: Iterable[str]) -> None:
        """Refuse an input that lacks a column."""
        missing = [name for name in names if name not in self.columns.names]
        if missing:
            raise InputError(
                f"the {self.what} lack {missing}; they have {self.columns.names[:12]}."
            )

    def overlapping(self, low: int, high: int) -> list[Part]:
        """Return the parts that may have rows with moments in [low, high)."""
        return [part for part in self.parts if part.overlaps(low, high)]

    def tables(self, low: int, high: int) -> Iterator[pa.Table]:
        """Yield the rows with moments in [low, high)."""
        for part in self.overlapping(low, high):
            for table in part.between(low, high, self.columns.names):
                yield _widened(part, table, self.columns)

    def between(self, low: int, high: int) -> pa.Table:
        """Return the rows with moments in [low, high)."""
        return pa.concat_tables([self.columns.empty_table(), *self.tables(low, high)])


def _files(path: Path) -> tuple[list[Path], bool]:
    """Return the files of an input, and whether they are a decision log's."""
    if not path.is_dir():
        return [path], False
    log = log_parts(path)
    if log:
        return log, True
    files = [
        file
        for file in sorted(path.rglob("*.parquet"))
        if not any(_HIDDEN.match(name) for name in file.relative_to(path).parts)
    ]
    if not files:
        raise InputError(f"folder {str(path)!r} holds no *.parquet file; check the path.")
    return files, False


def _part(path: Path, skip_corrupt: bool) -> Part | None:
    try:
        return Part.of(path)
    except CorruptFile:
        if skip_corrupt:
            return None
        raise


def _united(parts: tuple[Part, ...], chosen: Chosen, may_lack: bool) -> pa.Schema:
    """Return columns and types that fit all parts."""
    first, united = parts[0], pa.schema([])
    for part in parts:
        used = pa.schema([part.columns.field(name) for name in chosen(part.columns.names)])
        try:
            wider = pa.unify_schemas([united, used], promote_options="permissive")
        except pa.ArrowException as error:
            raise InputError(
                f"{str(part.path)!r} has a column of another type than parts before it ({error}); "
                "write them alike."
            ) from error
        differing = sorted(set(wider.names) - set(used.names)) or sorted(
            set(wider.names) - set(united.names)
        )
        if differing and part is not first and not may_lack:
            raise InputError(
                f"{str(part.path)!r} and {str(first.path)!r} differ in their columns "
                f"({differing[:6]} in one of them only); write them alike."
            )
        united = wider
    kinds = [(f.name, pa.float64() if pa.types.is_null(f.type) else f.type) for f in united]
    return pa.schema(kinds)


def _widened(part: Part, table: pa.Table, columns: pa.Schema) -> pa.Table:
    """Bring a part's rows to the columns of all."""
    try:
        filled = [
            table.column(f.name).cast(f.type)
            if f.name in table.column_names
            else pa.nulls(len(table), f.type)
            for f in columns
        ]
    except pa.ArrowException as error:
        raise InputError(
            f"{str(part.path)!r} holds numbers that do not fit beside those of other parts "
            f"({error}); write them alike."
        ) from error
    return pa.table(filled, schema=columns)
