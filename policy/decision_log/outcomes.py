"""What happened after each decision: outcome events joined to a `RequestLog`.

``purchase_n = 1{an event of the session in slots [s, s + n) after a decision at slot s}``,
``gmv_n = sum of the events' values there``.
"""

import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.schema import LogSchema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["join_outcomes"]

_OUTCOME = re.compile(r"(\w+)_(\d+)")


def join_outcomes(
    decisions: "pd.DataFrame", events: "pd.DataFrame", schema: LogSchema
) -> RequestLog:
    """Give each decision its outcomes.

    Parameters
    ----------
    decisions : as `archive.read_decisions` returns them
    events : ``session_id``, ``page``, ``position``, and a column of values for each kind of outcome
        but ``purchase`` (``gmv`` for ``gmv_10``); an event told twice counts once where it has an
        ``event_id``
    schema : whose outcomes are named ``<kind>_<slots>``

    Raises
    ------
    InputError
        A column is missing, or an outcome has no horizon in its name.

    Warns
    -----
    UserWarning
        Decisions have no session; they are left out.
    """
    _need(decisions, ("decision_id", "session_id", "page", "position", "arm"), "decisions")
    _need(events, ("session_id", "page", "position"), "events")
    if "event_id" in events:
        known = events["event_id"].notna()
        events = events[~(known & events.duplicated("event_id"))]
    decisions = _of_sessions(decisions)
    joined = decisions.copy(deep=False)
    windows = _Windows(decisions, events, schema.page_length)
    for outcome in schema.outcomes:
        kind, slots = _parsed(outcome)
        joined[outcome] = windows.found(kind, slots, events)
    return RequestLog(joined, schema)


def _of_sessions(decisions: "pd.DataFrame") -> "pd.DataFrame":
    """Leave out decisions of no known session: what happened after them cannot be known."""
    known = decisions["session_id"].notna()
    if known.all():
        return decisions
    warnings.warn(
        f"{int((~known).sum()):,} of {len(known):,} decisions have no session_id and are left out; "
        "give one with each decision.",
        UserWarning,
        stacklevel=3,
    )
    return decisions[known]


class _Windows:
    """Events in the order of sessions and slots, and where each decision falls among them."""

    def __init__(self, decisions: "pd.DataFrame", events: "pd.DataFrame", length: int) -> None:
        import pandas as pd

        both = pd.concat([decisions["session_id"], events["session_id"]])
        codes = pd.factorize(both)[0]
        self._span = 1 << 40
        self._decision = self._key(codes[: len(decisions)], decisions, length)
        event = self._key(codes[len(decisions) :], events, length)
        self._order = np.argsort(event, kind="stable")
        self._event = event[self._order]

    def found(self, kind: str, slots: int, events: "pd.DataFrame") -> FloatArray:
        """Return the sum of a kind's values (purchases: whether any) within some slots, (n,)."""
        purchase = kind == "purchase"
        if not purchase:
            _need(events, (kind,), "events")
        values = np.ones(len(events)) if purchase else events[kind].to_numpy(dtype=np.float64)
        total = np.append(0.0, np.cumsum(values[self._order]))
        begin = np.searchsorted(self._event, self._decision, side="left")
        end = np.searchsorted(self._event, self._decision + slots, side="left")
        some = end > begin
        within: FloatArray = np.where(some, total[end] - total[begin], 0.0)
        return some.astype(np.float64) if purchase else within

    def _key(self, session: IntArray, frame: "pd.DataFrame", length: int) -> IntArray:
        place = frame["page"].to_numpy(np.int64) * length + frame["position"].to_numpy(np.int64)
        if len(place) and not 0 <= place.min() <= place.max() < self._span // 2:
            raise InputError("a page or position is below 0 or too large; count slots from 0.")
        key: IntArray = session.astype(np.int64) * self._span + place
        return key


def _parsed(outcome: str) -> tuple[str, int]:
    found = _OUTCOME.fullmatch(outcome)
    if found is None:
        raise InputError(
            f"outcome {outcome!r} has no horizon; name outcomes <kind>_<slots>, as purchase_10."
        )
    return found[1], int(found[2])


def _need(frame: "pd.DataFrame", columns: Sequence[str], what: str) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"the {what} lack {missing}; they have {list(frame.columns)[:12]}.")
