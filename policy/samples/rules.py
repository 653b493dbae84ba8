"""SampleRules: how decisions, events and snapshots are joined; durations as people write them."""

import re
from dataclasses import dataclass
from datetime import timedelta

from uplift.errors import InputError

__all__ = ["SampleRules", "duration"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class SampleRules:
    """What may be chosen about the join.

    Attributes
    ----------
    settle : an event counts for a decision from its moment until so long after it; a day is
        complete so long after its end
    max_age : a snapshot older than that at the decision is not used; no limit by default
    key : column that snapshots are found by, ``user_id`` or ``session_id``
    ingested_at : column of the snapshots that says when they arrived; one that arrived after the
        decision is not used. Without it a snapshot is known from its ``timestamp`` on

    Raises
    ------
    InputError
        A time is not above 0.
    """

    settle: timedelta = timedelta(hours=1)
    max_age: timedelta | None = None
    key: str = "user_id"
    ingested_at: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("settle", self.settle), ("max_age", self.max_age)):
            if value is not None and value <= timedelta(0):
                raise InputError(f"{name} is {value}; expected a time above 0, such as 1h.")


def duration(text: str) -> timedelta:
    """Return the time that a text such as ``90s``, ``30m``, ``1h`` or ``7d`` means.

    Raises
    ------
    InputError
        The text is no such time, or one beyond 10,000 days.
    """
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else -1
    if not 0 <= seconds <= 10_000 * _SECONDS["d"]:
        raise InputError(f"{text!r} is no time; write a number and s, m, h or d, such as 1h.")
    return timedelta(seconds=seconds)
