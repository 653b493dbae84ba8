"""What the engine did earlier in a session: given by the caller, or kept here."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Annotated

import msgspec

from uplift.errors import InputError

__all__ = ["FRESH", "SessionState", "SessionTable"]

LONG_AGO = 1 << 40
"""Slots since a request where there was none."""


Count = Annotated[int, msgspec.Meta(ge=0, le=LONG_AGO)]


class SessionState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a session stands.

    Attributes
    ----------
    requests : extra requests so far in the session
    on_page : those among them on the present page
    slots_since : slots since the last of them; very large where there was none
    """

    requests: Count = 0
    on_page: Count = 0
    slots_since: Count = LONG_AGO

    def __post_init__(self) -> None:
        if not (0 <= self.on_page <= self.requests <= LONG_AGO and self.slots_since >= 0):
            raise InputError(
                f"the session has made {self.requests} requests, {self.on_page} of them on this "
                f"page, the last {self.slots_since} slots ago; expected counts from 0 on that fit."
            )


FRESH = SessionState()


@dataclass(frozen=True, slots=True)
class _Entry:
    requests: int
    page: int
    on_page: int
    slot: int
    seen: float


class SessionTable:
    """Sessions that made a request, as many as there is room for; the least recent go first.

    Parameters
    ----------
    size : most sessions kept, about 200 bytes each
    seconds : a session not heard of for so long is over
    """

    def __init__(self, size: int = 1_000_000, seconds: float = 3600.0) -> None:
        if size < 1 or not seconds > 0:
            raise InputError(f"a table of {size} sessions for {seconds} s; expected more than 0.")
        self._size, self._seconds = size, seconds
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def state(self, session: Hashable, page: int, slot: int, now: float) -> SessionState:
        """Return where a session stands at a slot."""
        entry = self._entries.get(session)
        if entry is None or now - entry.seen > self._seconds:
            return FRESH
        on_page = entry.on_page if entry.page == page else 0
        return SessionState(entry.requests, on_page, max(slot - entry.slot, 0))

    def record(
        self, session: Hashable, page: int, slot: int, now: float, seen: SessionState
    ) -> bool:
        """Note a request that was decided on where the session stood so.

        False, and nothing noted, where it no longer stands so: another thread has decided.
        """
        with self._lock:
            if self.state(session, page, slot, now) != seen:
                return False
            entry = self._entries.pop(session, None)
            if entry is None or now - entry.seen > self._seconds:
                entry = _Entry(0, page, 0, slot, now)
            on_page = entry.on_page + 1 if entry.page == page else 1
            self._entries[session] = _Entry(entry.requests + 1, page, on_page, slot, now)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return True
