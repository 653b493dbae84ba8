"""Demand in Parquet files that need not fit in memory, read a piece at a time.

A pass adds up what the pieces' sessions do; the points that are worth a floor are taken out of all
pieces into memory. The next piece is read while one is planned.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from policy.growing import Growing
from policy.planner.narrowing import Part
from policy.planner.oracle import Pass, SessionOracle
from policy.planner.rows import Rows
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = ["DemandShards", "SampledSource", "ShardSource", "demand_of_columns"]

Table: TypeAlias = dict[str, np.ndarray]

MOST_ROWS = 1 << 22
"""Rows of a piece, about; whole sessions and whole row groups."""

HEADROOM = 4.0
"""Prices are looked for up to so many times the highest gain per request of the sample."""


@dataclass(frozen=True)
class DemandShards:
    """Decision points in Parquet files; rows of one session stand together, sorted by slot.

    Parameters
    ----------
    paths : files in any order; a session lies in one of them
    gain : columns of the arms' gains, arm 1 first; null forbids the arm there
    cost : requests that each arm spends
    n_windows : number of windows
    session, window, page, slot : names of columns; page and slot may be left out (None)
    """

    paths: Sequence[str | Path]
    gain: Sequence[str]
    cost: Sequence[float]
    n_windows: int
    session: str = "session"
    window: str = "window"
    page: str | None = "page"
    slot: str | None = "slot"
    n_points: int = field(init=False)

    def __post_init__(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.paths:
            raise InputError("there are no Parquet files to plan; name at least one.")
        wanted, count = set(self._columns()), 0
        for path in self.paths:
            try:
                file = pq.ParquetFile(path)
            except (OSError, pa.ArrowInvalid) as error:
                raise InputError(f"{str(path)!r} is not a Parquet file ({error}).") from error
            missing = wanted - set(file.schema_arrow.names)
            if missing:
                raise InputError(
                    f"{str(path)!r} lacks the columns {sorted(missing)}; it has "
                    f"{file.schema_arrow.names[:12]}."
                )
            count += file.metadata.num_rows
        if not count:
            raise InputError(f"the {len(self.paths)} files hold no decision point.")
        object.__setattr__(self, "n_points", count)

    def pieces(self, step: int = 1) -> Iterator[Demand]:
        """Yield the demand piece by piece; of every step-th row group alone, for a sample."""
        names = (self.session, self.window, self.page, self.slot)
        with ThreadPoolExecutor(1) as reader:
            for path in self.paths:
                tables = _ahead(reader, self._reads(path, step))
                # A sample's row groups do not follow on each other: cut sessions are left out.
                for columns in _whole_sessions(tables, self.session, skip_cut=step > 1):
                    yield demand_of_columns(columns, self.gain, self.cost, self.n_windows, *names)

    def sample(self, points: int) -> tuple[Demand, float]:
        """Return about so many points, and the share of all points that they are."""
        step = max(1, self.n_points // max(points, 1))
        read = sum(int(self._sizes(path)[::step].sum()) for path in self.paths)
        thin = max(1, read // max(points, 1))
        some = Demand.join(piece.every(thin) for piece in self.pieces(step))
        return some, some.n_points / self.n_points

    def _columns(self) -> list[str]:
        names = [self.session, self.window, self.page, self.slot, *self.gain]
        return [name for name in names if name is not None]

    def _reads(self, path: str | Path, step: int) -> Iterator[Callable[[], Table]]:
        """Yield readers of about MOST_ROWS rows of a file, or of every step-th row group."""
        import pyarrow.parquet as pq

        file, sizes = pq.ParquetFile(path), self._sizes(path)
        ends = np.cumsum(sizes) // MOST_ROWS
        sets = np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(ends)) + 1)
        sets = [np.array([g]) for g in range(0, len(sizes), step)] if step > 1 else sets
        for groups in sets:
            yield partial(self._read, file, groups.tolist())

    def _sizes(self, path: str | Path) -> IntArray:
        """Return the rows of each row group of a file."""
        import pyarrow.parquet as pq

        about = pq.read_metadata(path)
        return np.array([about.row_group(g).num_rows for g in range(about.num_row_groups)])

    def _read(self, file: Any, groups: list[int]) -> Table:
        """Read columns as arrays; sessions by any name as numbers that tell them apart."""
        table = file.read_row_groups(groups, columns=self._columns())
        columns = {}
        for name in self._columns():
            values = table[name].combine_chunks()
            if name == self.session and not str(values.type).startswith(("int", "uint")):
                values = values.cast("string")
            columns[name] = values.to_numpy(zero_copy_only=False)
        return columns


def demand_of_columns(
    columns: Table,
    gain: Sequence[str],
    cost: Sequence[float],
    n_windows: int,
    session: str = "session",
    window: str = "window",
    page: str | None = "page",
    slot: str | None = "slot",
) -> Demand:
    """Lay out rows of whole sessions, sorted by slot, as a demand: see `DemandShards`."""
    ids = columns[session]
    begins, n = np.flatnonzero(ids[1:] != ids[:-1]) + 1, len(ids)
    gains = np.column_stack([columns[name] for name in gain]).astype(np.float32, copy=False)
    nothing: Any = np.broadcast_to(np.int32(0), n)
    return Demand(
        gain=np.where(np.isnan(gains), -np.float32(np.inf), gains),
        cost=np.broadcast_to(np.asarray(cost, dtype=np.float64), gains.shape),
        window=columns[window],
        n_windows=n_windows,
        session_start=np.concatenate(([0], begins, [n])),
        page=nothing if page is None else columns[page],
        slot=nothing if slot is None else columns[slot],
    )


class SampledSource:
    """A source whose ceilings are those of a sample, with headroom.

    A lower ceiling could only make the bound looser, never wrong.
    """

    def __init__(self, sample: Demand, limits: Limits, rows: Rows) -> None:
        self._ceilings = HEADROOM * SessionOracle(sample, limits, rows).ceilings()

    def ceilings(self) -> FloatArray:
        """Return prices of the windows, (W,), above which none is looked for."""
        return np.full_like(self._ceilings, self._ceilings.max())


class ShardSource(SampledSource):
    """The sessions of Parquet files, as a source of passes: see `narrowing.Source`."""

    def __init__(self, shards: DemandShards, sample: Demand, limits: Limits, rows: Rows) -> None:
        super().__init__(sample, limits, rows)
        self._shards, self._limits, self._rows = shards, limits, rows

    @property
    def n_points(self) -> int:
        """Number of decision points."""
        return self._shards.n_points

    def best_plans(self, price: FloatArray) -> Pass:
        """Return what all sessions do at prices (W, L): one reading of all files."""
        whole: Pass | None = None
        for demand in self._shards.pieces():
            plans = SessionOracle(demand, self._limits, self._rows).best_plans(price)
            whole = plans if whole is None else whole + plans
        assert whole is not None
        return whole

    def worthwhile(self, price: FloatArray) -> Part:
        """Return the points that have an arm worth more than prices (W, L): one reading."""
        point = Growing(np.zeros(0, dtype=np.int64))
        parts = self._worthwhile(price, point)
        first = next(parts, None)
        part = None if first is None else Demand.join(chain([first], parts))
        return Part(part, point.array())

    def _worthwhile(self, price: FloatArray, point: Growing) -> Iterator[Demand]:
        """Yield the points of one piece after the other, and note which they are."""
        before = 0
        for demand in self._shards.pieces():
            found = SessionOracle(demand, self._limits, self._rows).worthwhile(price)
            point.extend(found + before)
            before += demand.n_points
            if len(found):
                yield demand.take(found)


def _ahead(reader: ThreadPoolExecutor, reads: Iterator[Callable[[], Table]]) -> Iterator[Table]:
    """Yield tables while the next one is read."""
    pending = None
    for read in reads:
        following = reader.submit(read)
        if pending is not None:
            yield pending.result()
        pending = following
    if pending is not None:
        yield pending.result()


def _whole_sessions(tables: Iterator[Table], session: str, *, skip_cut: bool) -> Iterator[Table]:
    """Cut tables where sessions end; the rows of a cut session wait for the next table."""
    rest: Table = {}
    for table in tables:
        whole = {k: np.concatenate((rest[k], v)) for k, v in table.items()} if rest else table
        ids = whole[session]
        changes = np.flatnonzero(ids[1:] != ids[:-1]) + 1
        first = changes[0] if skip_cut and len(changes) else 0
        last = changes[-1] if len(changes) else 0
        if last > first:
            yield {k: v[first:last] for k, v in whole.items()}
        rest = {} if skip_cut else {k: v[last:] for k, v in whole.items()}
    if rest:
        yield rest
