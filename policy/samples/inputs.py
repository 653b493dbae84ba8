"""Inputs: decisions, events and snapshots as they lie on the disk, and one day of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from policy.samples.asof import snapshot_features
from policy.samples.attribution import PLACE, kinds_of
from policy.samples.parts import Part
from policy.samples.rules import SampleRules
from policy.samples.source import Source
from uplift.errors import InputError
from uplift.schema import LogSchema

__all__ = ["DAY", "MICRO", "Inputs", "day_name"]

MICRO = timedelta(microseconds=1)
DAY = timedelta(days=1) // MICRO
_SKEW = timedelta(minutes=5) // MICRO
"""Clocks of machines differ by less; what is further ahead is no moment that was."""


def day_name(day: int) -> str:
    """Return the date of a day that is counted from 1970, in UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d")


@dataclass(frozen=True)
class Inputs:
    """What samples are made of."""

    decisions: Source
    events: Source
    snapshots: Source | None
    rules: SampleRules

    @classmethod
    def of(
        cls,
        paths: tuple[Path, Path, Path | None],
        schema: LogSchema,
        rules: SampleRules,
        skip_corrupt: bool,
    ) -> "Inputs":
        """Look at the files of decisions, events and snapshots.

        Raises
        ------
        InputError
            Of an input there is nothing, or its files are not what they should be.
        """
        kinds = {kind for kind, _ in kinds_of(schema).values()}
        told = {*PLACE, "event_id", "purchase", *kinds}

        def decided(names: list[str]) -> list[str]:
            made = {"day", *schema.outcomes}  # by us: the folder of a day says which it is
            return [n for n in names if n not in made and not n.startswith("__index_level_")]

        def known(names: list[str]) -> list[str]:
            used = {"timestamp", rules.key, rules.ingested_at}
            used |= set(snapshot_features(names, schema, rules))
            return [name for name in names if name in used]

        decisions, events, snapshots = paths
        return cls(
            Source.of(
                decisions,
                "decisions",
                decided,
                skip_corrupt,
            ),
            Source.of(
                events,
                "events",
                lambda names: [name for name in names if name in told],
                skip_corrupt,
            ),
            None if snapshots is None else Source.of(snapshots, "snapshots", known, skip_corrupt),
            rules,
        )

    @property
    def sources(self) -> list[Source]:
        """The inputs that there are."""
        return [one for one in (self.decisions, self.events, self.snapshots) if one is not None]

    @property
    def days(self) -> list[int]:
        """Days that may have decisions, counted from 1970."""
        spans = (range(p.first // DAY, p.last // DAY + 1) for p in self.decisions.parts)
        return sorted({day for span in spans for day in span})

    @property
    def skipped(self) -> list[str]:
        """Names of the files that are not whole and were passed over."""
        return sorted({name for source in self.sources for name in source.skipped or ()})

    def refuse_future(self, now: datetime) -> None:
        """Refuse moments that have not come yet."""
        for source in self.sources:
            for part in source.parts:
                if part.last > now.timestamp() * 1e6 + _SKEW:
                    moment = datetime(1970, 1, 1, tzinfo=UTC) + part.last * MICRO
                    raise InputError(
                        f"{str(part.path)!r} of the {source.what} reaches to {moment:%F %T} UTC, "
                        f"but now is {now:%F %T}; correct the clock that wrote it, or take those "
                        "rows out."
                    )

    def complete(self, day: int, now: datetime) -> bool:
        """Tell whether all outcomes of a day's decisions can be there."""
        return (day + 1) * DAY + self.rules.settle // MICRO <= now.timestamp() * 1e6

    def parts_of(self, day: int) -> Iterator[Part]:
        """Yield the files that may have a say in a day's samples."""
        start, end, settle = day * DAY, (day + 1) * DAY, self.rules.settle // MICRO
        yield from self.decisions.overlapping(start - settle, end)
        yield from self.events.overlapping(start - settle, end + settle)
        if self.snapshots is not None:
            yield from self.snapshots.overlapping(self.oldest(day), end)

    def oldest(self, day: int) -> int:
        """Return the first moment whose snapshots can be used on a day."""
        age = self.rules.max_age
        return -(1 << 62) if age is None else day * DAY - age // MICRO

    def decided(self, day: int) -> pa.Table:
        """Return a day's decisions, but those that were told already in the time before it."""
        start, settle = day * DAY, self.rules.settle // MICRO
        found = self.decisions.between(start, start + DAY)
        if not len(found) or "decision_id" not in found.column_names:
            return found
        before = self.decisions.only("decision_id").between(start - settle, start)["decision_id"]
        told = pc.is_in(found["decision_id"], before.combine_chunks())
        return found.filter(pc.invert(told)) if pc.any(told).as_py() else found

    def happened(self, day: int) -> pa.Table:
        """Return the events that can count for a day's decisions."""
        start, settle = day * DAY, self.rules.settle // MICRO
        return self.events.between(start - settle, start + DAY + settle)
