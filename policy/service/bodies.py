"""What requests and answers hold; unknown fields are refused, NaN and infinity are no JSON."""

from typing import Annotated

import msgspec

from policy.engine import Decision
from policy.session_state import SessionState

__all__ = ["Accepted", "Answers", "Batch", "Event", "Point", "Reload", "Reloaded"]

Name = Annotated[str, msgspec.Meta(max_length=200)]
Value = Annotated[str, msgspec.Meta(max_length=1000)] | float | bool | None
Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | Whole
Place = Annotated[int, msgspec.Meta(ge=0, lt=1 << 15)]

MOST_POINTS = 10_000
MOST_VALUES = 100

_OF_AN_EVENT = ("event_id", "page", "position", "session_id")
ValueName = Annotated[
    str, msgspec.Meta(max_length=200, extra_json_schema={"not": {"enum": list(_OF_AN_EVENT)}})
]


class Point(msgspec.Struct, forbid_unknown_fields=True):
    """One decision point; null is a missing feature."""

    features: dict[Name, Value]
    session_id: Identifier | None = None
    user_id: Identifier | None = None
    page: Place = 0
    position: Place = 0
    state: SessionState | None = None


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """Several decision points, decided one after the other."""

    points: Annotated[list[Point], msgspec.Meta(min_length=1, max_length=MOST_POINTS)]


class Answers(msgspec.Struct):
    """Decisions in the order of the points."""

    decisions: list[Decision]


class Event(msgspec.Struct, forbid_unknown_fields=True):
    """What happened in a session: a purchase, with values such as ``gmv``."""

    session_id: Identifier
    page: Place
    position: Place
    event_id: Identifier | None = None
    values: Annotated[dict[ValueName, float], msgspec.Meta(max_length=MOST_VALUES)] = {}

    def __post_init__(self) -> None:
        if not self.values.keys().isdisjoint(_OF_AN_EVENT):
            raise ValueError(f"no value may be named as one of {list(_OF_AN_EVENT)}")


class Accepted(msgspec.Struct):
    """An event that waits to be written."""

    accepted: bool


class Reload(msgspec.Struct, forbid_unknown_fields=True):
    """A bundle to serve from now on; the path that is served already by default."""

    bundle: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None


class Reloaded(msgspec.Struct):
    """What is served now."""

    plan_version: str
