"""What requests and answers hold; unknown fields are refused, NaN and infinity are no JSON.

A decision point has the features of the model in service: its type is made from the engine.
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import msgspec

from policy.engine import Decision, DecisionEngine
from policy.session_state import SessionState

__all__ = ["PLACES", "Accepted", "Answers", "Event", "Points", "Reload", "Reloaded"]

LARGEST = float.fromhex("0x1.fffffep127")
"""Of float32, which features become."""

Number: TypeAlias = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | bool | None
Category: TypeAlias = Annotated[str, msgspec.Meta(max_length=1000)] | float | bool | None
Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | Whole
Place = Annotated[int, msgspec.Meta(ge=0, lt=1 << 15)]

PLACES = ("page", "position", "user_id")
"""Of these a decision point tells by itself, as far as they are features."""

MOST_POINTS = 10_000
MOST_VALUES = 100

_OF_AN_EVENT = ("event_id", "page", "position", "session_id")
ValueName = Annotated[
    str, msgspec.Meta(max_length=200, extra_json_schema={"not": {"enum": list(_OF_AN_EVENT)}})
]


@dataclass(frozen=True)
class Points:
    """The bodies of decisions with one engine.

    Attributes
    ----------
    one : features by name, null is a missing one; session_id, user_id, page, position, state
    many : several of them, decided one after the other
    told : those of `PLACES` that are features too
    """

    one: type
    many: type
    told: tuple[str, ...]

    @classmethod
    def of(cls, engine: DecisionEngine) -> "Points":
        """Return the bodies that an engine takes."""
        one = msgspec.defstruct(
            "Point",
            [
                ("features", _features(engine)),
                ("session_id", Identifier | None, None),
                ("user_id", Identifier | None, None),
                ("page", Place, 0),
                ("position", Annotated[int, msgspec.Meta(ge=0, lt=engine.schema.page_length)], 0),
                ("state", SessionState | None, None),
            ],
            namespace={"__doc__": "One decision point; null is a missing feature."},
            forbid_unknown_fields=True,
        )
        list_of: Any = Annotated[list[one], msgspec.Meta(min_length=1, max_length=MOST_POINTS)]  # type: ignore[valid-type]
        many = msgspec.defstruct(
            "Batch",
            [("points", list_of)],
            namespace={"__doc__": "Several decision points, decided one after the other."},
            forbid_unknown_fields=True,
        )
        return cls(one, many, tuple(name for name in PLACES if name in engine.features))


def _features(engine: DecisionEngine) -> type:
    """Return the features of a point, in the order of the model's."""
    fields: list[Any] = []
    for k, feature in enumerate(engine.model_about["features"]):
        name, kinds = feature["name"], feature["categories"]
        value: Any = Number
        if kinds is not None:
            value = Annotated[Category, msgspec.Meta(examples=list(kinds[:3]))]
        if name in PLACES:
            fields.append((name, value, None))
        else:  # any string may be a feature's name, not only an identifier
            fields.append((f"f{k}", value, msgspec.field(name=name)))
    return msgspec.defstruct("Features", fields, forbid_unknown_fields=True, gc=False, kw_only=True)


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
