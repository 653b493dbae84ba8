"""From files of decisions, events and snapshots to a folder of samples, day by day.

    OUT/day=YYYY-MM-DD/samples.parquet    OUT/_manifest.json

A day's file is written beside and renamed; what was made before of the same inputs stays.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from policy.samples.day import joined_day
from policy.samples.inputs import Inputs, day_name
from policy.samples.manifest import DayMade, SampleManifest
from policy.samples.put import put_day
from policy.samples.rules import SampleRules
from policy.samples.tables import sample_columns
from uplift.errors import InputError
from uplift.files import check_writable, lock_folder
from uplift.parquet import CorruptFile
from uplift.schema import LogSchema

__all__ = ["SamplesMade", "make_samples"]


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
    if now.tzinfo is None:
        raise InputError(f"now is {now} without a time zone; give it one, such as UTC.")
    inputs.refuse_future(now)
    with _Job(inputs, schema, out, skip_corrupt) as job:
        return job.run(now, progress)


class _Job:
    """The days of one folder of samples."""

    def __init__(self, inputs: Inputs, schema: LogSchema, out: Path, skip_corrupt: bool) -> None:
        self._inputs, self._schema, self._skip_corrupt = inputs, schema, skip_corrupt
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
            what = self._whole_day(day) if complete else "waiting"
            if what:
                did[what].append(day_name(day))
            if progress is not None:
                progress(done + 1, len(days))
        self._manifest.forget_all_but(p for source in self._inputs.sources for p in source.parts)
        self._manifest.write()
        rows = sum(made.rows for made in self._manifest.days.values())
        return SamplesMade(rows, **did, skipped=self._inputs.skipped)

    def _whole_day(self, day: int) -> str:
        """Make a day; again without a file that shows not to be whole, if it may be skipped."""
        while True:
            try:
                return self._brought_up_to_date(day)
            except CorruptFile as error:
                if not self._skip_corrupt:
                    raise
                self._inputs = self._inputs.without(error.path)

    def _brought_up_to_date(self, day: int) -> str:
        """Make a day unless it stands; return what was done, nothing for a day of no decision."""
        name, manifest = day_name(day), self._manifest
        inputs = manifest.digests(self._inputs.parts_of(day))
        if manifest.is_made(name, inputs, self._made_by):
            return "kept" if manifest.days[name].rows else ""
        samples = joined_day(self._inputs, day, self._schema, self._columns)
        before = manifest.days.get(name)
        file = manifest.file(name)
        sha256, rows, changed = put_day(samples, self._columns, file)
        size = file.stat().st_size if rows else 0
        manifest.days[name] = DayMade(inputs, self._made_by, sha256, rows, size)
        manifest.write()
        if not changed:
            return "kept" if rows else ""
        return "written" if before is None or not before.rows else "rewritten"

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
