"""What happened after each decision.

``purchase_n = 1{a purchase of the session in slots [s, s + n), moments [t, t + settle]}`` after a
decision at slot s and moment t; ``gmv_n = sum of the events' values there``.
"""

import re
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pandas as pd

from policy.samples.columns import codes, micros, need, numbers, told_first, total_order, whole
from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError
from uplift.schema import LogSchema

__all__ = ["PLACE", "attributed_outcomes", "kinds_of"]

PLACE = ("session_id", "page", "position", "timestamp")
"""Columns that say where and when a decision was taken, or an event happened."""

_OUTCOME = re.compile(r"(\w+)_(\d+)")
_DECISIONS = 1 << 20


def attributed_outcomes(
    decisions: pd.DataFrame, events: pd.DataFrame, schema: LogSchema, settle: timedelta
) -> dict[str, FloatArray]:
    """Return each outcome of the schema, (n,), for n decisions.

    Parameters
    ----------
    decisions : `PLACE`
    events : `PLACE`, and a column of values for each kind of outcome; without a column
        ``purchase`` every event is one; an event told twice counts once where it has an
        ``event_id``
    schema : whose outcomes are named ``<kind>_<slots>``
    settle : time within which an event counts

    Raises
    ------
    InputError
        A column is missing or of the wrong type, or an outcome has no horizon in its name.
    """
    need(decisions, PLACE, "decisions")
    need(events, PLACE, "events")
    asked = kinds_of(schema)
    if "event_id" in events:
        micros(events, "timestamp", "events")
        events = events[told_first(events, "event_id")]
    happened = _Events(decisions, events, schema, sorted({kind for kind, _ in asked.values()}))
    found = {outcome: np.zeros(len(decisions)) for outcome in asked}
    most = max(slots for _, slots in asked.values())
    for part, decision, event in happened.pairs(most, settle):
        gap = happened.gap(part, decision, event)
        for outcome, (kind, slots) in asked.items():
            near = gap < slots
            values = happened.values[kind][event[near]]
            found[outcome][part] = np.bincount(decision[near], values, part.stop - part.start)
    for outcome, (kind, _) in asked.items():
        if kind == "purchase":
            found[outcome] = (found[outcome] > 0).astype(np.float64)
    return found


class _Events:
    """Events in the order of sessions and slots, and where each decision falls among them."""

    def __init__(
        self, decisions: pd.DataFrame, events: pd.DataFrame, schema: LogSchema, kinds: list[str]
    ) -> None:
        slot = _slot(decisions, schema, "decisions"), _slot(events, schema, "events")
        session = codes(decisions, events, "session_id", ("decisions", "events"))
        self._span = 1 + max((int(s.max()) for s in slot if len(s)), default=0)
        # Twice the span apart, so that no decision's slots reach into the next session.
        self._decision, event = (
            c.astype(np.int64) * 2 * self._span + s for c, s in zip(session, slot, strict=True)
        )
        self._time = micros(decisions, "timestamp", "decisions")
        moment = micros(events, "timestamp", "events")
        table = {kind: _values(events, kind) for kind in kinds}
        order = total_order([moment, event], pd.DataFrame(table))
        self._event, self._moment = event[order], moment[order]
        self.values = {kind: values[order] for kind, values in table.items()}

    def pairs(self, slots: int, settle: timedelta) -> Iterator[tuple[slice, IntArray, IntArray]]:
        """Yield parts of the decisions with each pair of a decision in it and an event after it."""
        wait = settle // timedelta(microseconds=1)
        for start in range(0, len(self._decision), _DECISIONS):
            part = slice(start, min(start + _DECISIONS, len(self._decision)))
            key, time = self._decision[part], self._time[part]
            begin = np.searchsorted(self._event, key)
            count = np.searchsorted(self._event, key + min(slots, self._span)) - begin
            decision = np.repeat(np.arange(len(key)), count)
            first = np.repeat(begin - np.append(0, np.cumsum(count)[:-1]), count)
            event = first + np.arange(len(decision))
            late = self._moment[event] - time[decision]
            within = (late >= 0) & (late <= wait)
            yield part, decision[within], event[within]

    def gap(self, part: slice, decision: IntArray, event: IntArray) -> IntArray:
        """Slots between the decisions and the events of some pairs."""
        gap: IntArray = self._event[event] - self._decision[part][decision]
        return gap


def kinds_of(schema: LogSchema) -> dict[str, tuple[str, int]]:
    """Return of each outcome its kind and its number of slots."""
    return {outcome: _parsed(outcome) for outcome in schema.outcomes}


def _values(events: pd.DataFrame, kind: str) -> FloatArray:
    if kind == "purchase" and kind not in events:
        return np.ones(len(events))
    need(events, (kind,), "events")
    return numbers(events, kind, "events")


def _slot(frame: pd.DataFrame, schema: LogSchema, what: str) -> IntArray:
    page, position = whole(frame, "page", what), whole(frame, "position", what)
    for name, values, end in (("page", page, 1 << 15), ("position", position, schema.page_length)):
        if len(values) and not 0 <= values.min() <= values.max() < end:
            raise InputError(
                f"column {name!r} of the {what} reaches from {values.min()} to {values.max()}; "
                f"count from 0 to {end - 1}, or set page_length in the schema."
            )
    return page * schema.page_length + position


def _parsed(outcome: str) -> tuple[str, int]:
    found = _OUTCOME.fullmatch(outcome)
    if found is None:
        raise InputError(
            f"outcome {outcome!r} has no horizon; name outcomes <kind>_<slots>, as purchase_10."
        )
    return found[1], int(found[2])
