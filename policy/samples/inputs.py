"""Inputs: decisions, events and snapshots as they lie on the disk, and one day of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

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

        def happened(names: list[str]) -> list[str]:
            return [name for name in names if name in told]

        decisions, events, snapshots = paths
        made = cls(
            Source.of(decisions, "decisions", decided, skip_corrupt),
            Source.of(events, "events", happened, skip_corrupt),
            None if snapshots is None else Source.of(snapshots, "snapshots", known, skip_corrupt),
            rules,
        )
        made.decisions.need(["decision_id", *PLACE, "arm"])
        made.events.need([*PLACE, *kinds - {"purchase"}])
        made._check_key()
        return made

    def _check_key(self) -> None:
        """Refuse keys by which no snapshot would ever be found."""
        key, kinds = self.rules.key, []
        if self.snapshots is None:
            return
        for source in (self.decisions, self.snapshots):
            source.need([key])
            kinds.append(source.columns.field(key).type)
        if pa.types.is_string(kinds[0]) != pa.types.is_string(kinds[1]):
            raise InputError(
                f"column {key!r} is of type {kinds[0]} in the decisions and of type {kinds[1]} in "
                "the snapshots; write both alike."
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
        return sorted({name for source in self.sources for name in source.skipped})

    def without(self, path: Path) -> "Inputs":
        """Return the same inputs but for a file that is not whole."""
        return replace(
            self,
            decisions=self.decisions.without(path),
            events=self.events.without(path),
            snapshots=None if self.snapshots is None else self.snapshots.without(path),
        )

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
