"""From files of decisions, events and snapshots to a folder of samples, day by day.

    OUT/day=YYYY-MM-DD/samples.parquet    OUT/_manifest.json

A day is held in memory, never two. Its file is written beside and renamed; what was made before of
the same inputs stays.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from policy.samples.inputs import Inputs, day_name
from policy.samples.join import join_samples
from policy.samples.known import known_snapshots
from policy.samples.manifest import DayMade, SampleManifest, digest
from policy.samples.rules import SampleRules
from policy.samples.tables import frame_of, sample_columns, table_of
from uplift.errors import InputError
from uplift.files import atomic_file, check_writable, lock_folder
from uplift.schema import LogSchema

__all__ = ["SamplesMade", "make_samples"]

_GROUP = 1 << 18


@dataclass(frozen=True)
class SamplesMade:
    """What a run did.

    Attributes
    ----------
    rows : samples in the folder
    written, rewritten : days that are new; days whose samples are others than before
    kept : days that stay as they were
    waiting : days whose outcomes are not complete yet
    skipped : files that are not whole and were passed over
    """

    rows: int
    written: list[str]
    rewritten: list[str]
    kept: list[str]
    waiting: list[str]
    skipped: list[str]


def make_samples(
    decisions: str | Path,
    out: str | Path,
    schema: LogSchema,
    rules: SampleRules | None = None,
    *,
    events: str | Path | None = None,
    snapshots: str | Path | None = None,
    now: datetime | None = None,
    skip_corrupt: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SamplesMade:
    """Write the samples of every complete day that is not written yet.

    Parameters
    ----------
    decisions : folder of a decision log, or Parquet
    out : folder of the samples
    schema : of the samples
    rules : what may be chosen about the join
    events : Parquet or a decision log; that in ``events`` of the decisions' folder by default
    snapshots : Parquet
    now : the moment by which days are complete
    skip_corrupt : pass over files that are not whole
    progress : called with (days done, days in all)

    Raises
    ------
    InputError
        The inputs are not what they should be; the days before the one that shows it are written.
    """
    rules = SampleRules() if rules is None else rules
    told = Path(decisions) / "events" if events is None else Path(events)
    paths = Path(decisions), told, None if snapshots is None else Path(snapshots)
    out = Path(out)
    _check_apart(out, [path for path in paths if path is not None])
    inputs = Inputs.of(paths, schema, rules, skip_corrupt)
    now = datetime.now(UTC) if now is None else now
    inputs.refuse_future(now)
    with _Job(inputs, schema, out) as job:
        return job.run(now, progress)


class _Job:
    """The days of one folder of samples."""

    def __init__(self, inputs: Inputs, schema: LogSchema, out: Path) -> None:
        self._inputs, self._schema = inputs, schema
        self._rules = inputs.rules
        snapshots = None if inputs.snapshots is None else inputs.snapshots.columns
        self._columns = sample_columns(inputs.decisions.columns, snapshots, schema, self._rules)
        self._made_by = self._fingerprint()
        SampleManifest.of(out)  # nothing is put where something else is
        check_writable(out / "manifest")
        self._lock = lock_folder(out, "writes samples to")
        self._manifest = SampleManifest.of(out)
        for scratch in (*out.glob(".*manifest*"), *out.glob("day=*/.samples*")):
            scratch.unlink()  # of a run that was killed
        self._manifest.write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *how: object) -> None:
        os.close(self._lock)

    def run(self, now: datetime, progress: Callable[[int, int], None] | None) -> SamplesMade:
        """Go through the days."""
        did: dict[str, list[str]] = {k: [] for k in ("written", "rewritten", "kept", "waiting")}
        days = self._inputs.days
        for done, day in enumerate(days):
            complete = self._inputs.complete(day, now)
            what = self._brought_up_to_date(day) if complete else "waiting"
            if what:
                did[what].append(day_name(day))
            if progress is not None:
                progress(done + 1, len(days))
        self._manifest.forget_all_but(p for source in self._inputs.sources for p in source.parts)
        self._manifest.write()
        rows = sum(made.rows for made in self._manifest.days.values())
        return SamplesMade(rows, **did, skipped=self._inputs.skipped)

    def _brought_up_to_date(self, day: int) -> str:
        """Make a day unless it stands; return what was done, nothing for a day of no decision."""
        name, manifest = day_name(day), self._manifest
        inputs = manifest.digests(self._inputs.parts_of(day))
        if manifest.is_made(name, inputs, self._made_by):
            return "kept" if manifest.days[name].rows else ""
        samples = self._joined(day)
        before = manifest.days.get(name)
        sha256, changed = self._put(samples, manifest.file(name))
        manifest.days[name] = DayMade(inputs, self._made_by, sha256, len(samples))
        manifest.write()
        if not changed:
            return "kept" if len(samples) else ""
        return "written" if before is None or not before.rows else "rewritten"

    def _joined(self, day: int) -> pa.Table:
        decisions = self._inputs.decided(day)
        if not len(decisions):
            return self._columns.empty_table()
        snapshots = None
        if self._inputs.snapshots is not None:
            users = self._users(decisions)
            snapshots = known_snapshots(self._inputs, day, users)
        events = frame_of(self._inputs.happened(day))
        frames = [frame_of(decisions)]
        del decisions  # a day's are held once
        samples = join_samples(frames.pop(), events, snapshots, self._schema, self._rules)
        return table_of(samples, self._columns)

    def _users(self, decisions: pa.Table) -> pa.Array:
        key, snapshots = self._rules.key, self._inputs.snapshots
        assert snapshots is not None
        for source in (self._inputs.decisions, snapshots):
            if key not in source.columns.names:
                raise InputError(
                    f"the {source.what} lack {key!r}, by which snapshots are found; they have "
                    f"{source.columns.names[:12]}."
                )
        kinds = [source.columns.field(key).type for source in (self._inputs.decisions, snapshots)]
        if pa.types.is_string(kinds[0]) != pa.types.is_string(kinds[1]):
            raise InputError(
                f"column {key!r} is of type {kinds[0]} in the decisions and of type {kinds[1]} in "
                "the snapshots; write both alike."
            )
        return decisions[key].unique()

    def _put(self, samples: pa.Table, file: Path) -> tuple[str, bool]:
        """Bring a day's file to what it should hold; return its digest, and whether it changed."""
        if not len(samples):
            there = file.exists()
            file.unlink(missing_ok=True)
            return "", there
        with atomic_file(file) as scratch:
            repeat = [f.name for f in samples.schema if f.type == pa.string()][1:]  # but the id
            options = {"compression": "zstd", "use_dictionary": repeat}
            pq.write_table(samples, scratch, row_group_size=_GROUP, **options)
            sha256 = digest(scratch)
            changed = not file.exists() or digest(file) != sha256
            if not changed:
                scratch.unlink()  # the file that stands stays, with its time
        return sha256, changed

    def _fingerprint(self) -> str:
        """Return a digest of all beside the inputs that has a say in the samples."""
        rules: dict[str, Any] = {name: str(value) for name, value in asdict(self._rules).items()}
        table = [rules, self._schema.to_dict(), str(self._columns)]
        return hashlib.sha256(json.dumps(table).encode()).hexdigest()


def _check_apart(out: Path, inputs: list[Path]) -> None:
    """Refuse to write where we read: samples would be taken for decisions."""
    place = out.absolute()
    for path in inputs:
        source = path.absolute()
        if place == source or source in place.parents or place in source.parents:
            raise InputError(
                f"cannot write samples to {str(out)!r}, which is read from ({str(path)!r}); choose "
                "another folder."
            )
