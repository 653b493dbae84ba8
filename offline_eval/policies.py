"""Policies: the probability of each arm at a decision point, and the baselines to beat.

A policy may look at what it did earlier in the session itself (limits, gaps). `walk` leads it
through the sessions of a log, a roll-out leads it through a simulated feed; both keep its past in
a `SessionMemory`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.errors import InputError
from uplift.hashing import hash_uniform
from uplift.log import RequestLog

__all__ = [
    "Always",
    "ByPosition",
    "Fixed",
    "Moment",
    "Never",
    "Policy",
    "Random",
    "SessionMemory",
    "draw_arms",
    "walk",
]


@dataclass(frozen=True)
class Moment:
    """Where m sessions stand when a policy is asked, each array of shape (m,).

    Attributes
    ----------
    page, slot : place of the decision point in the session
    requests : extra requests that the policy made so far in the session
    requests_on_page : those among them on this page
    slots_since : slots since the last of them; very large where there was none
    """

    page: IntArray
    slot: IntArray
    requests: IntArray
    requests_on_page: IntArray
    slots_since: IntArray


class Policy(Protocol):
    """The probability of each arm at a decision point.

    `prepare` does once for many rows what needs their features; `probabilities` decides at some
    of these rows, given where their sessions stand. A policy with `has_memory` false ignores the
    moment.
    """

    @property
    def name(self) -> str:
        """What the policy is called in results."""

    @property
    def has_memory(self) -> bool:
        """Whether the past of the session matters."""

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return what the decisions need of each row, shape (n, ...)."""

    def probabilities(self, prepared: FloatArray, moment: Moment) -> FloatArray:
        """Return P(arm) for each row, (m, A + 1), summing to 1 over the arms."""


class SessionMemory:
    """What a policy did earlier in each of n sessions."""

    def __init__(self, n_sessions: int) -> None:
        self._requests = np.zeros(n_sessions, np.int64)
        self._on_page = np.zeros(n_sessions, np.int64)
        self._page = np.full(n_sessions, -1, np.int64)
        self._last_slot = np.full(n_sessions, -(2**40), np.int64)

    def moment(self, session: IntArray, page: IntArray, slot: IntArray) -> Moment:
        """Return where some sessions stand at their next decision points."""
        on_page = np.where(self._page[session] == page, self._on_page[session], 0)
        since = slot - self._last_slot[session]
        return Moment(page, slot, self._requests[session], on_page, since)

    def record(self, session: IntArray, moment: Moment, requested: BoolArray) -> None:
        """Remember which of these sessions made a request at that moment."""
        who = session[requested]
        self._requests[who] += 1
        self._on_page[who] = moment.requests_on_page[requested] + 1
        self._page[who] = moment.page[requested]
        self._last_slot[who] = moment.slot[requested]


def walk(
    policy: Policy, log: RequestLog, seed: int = 0, *, logged_past: bool = False
) -> FloatArray:
    """Lead a policy through every session of a log; return its probabilities, (n, A + 1).

    The features are the logged ones; the past is the policy's own: had it made a request five
    slots ago, its limits count that request, whatever the log did. All sessions take their first
    decision together, then their second, and so on. Where a policy with memory is random, its
    past is drawn by a hash of its session, its step there and `seed`: whatever the order of the
    rows, and whichever other sessions are in the log.

    With `logged_past` the policy's limits count the requests that the log made: the probabilities
    given the history as it was, which importance weights along a session are made of.
    """
    prepared = policy.prepare(log)
    if not policy.has_memory:
        zeros = np.zeros(len(log), np.int64)
        return policy.probabilities(prepared, Moment(log.page, log.slot, zeros, zeros, zeros))
    session, page, slot, key = log.session, log.page, log.slot, log.session_key
    memory = SessionMemory(int(session.max()) + 1)
    result = np.empty((len(log), log.schema.n_arms + 1))
    for step, rows in enumerate(_steps(session, log.session_order)):
        moment = memory.moment(session[rows], page[rows], slot[rows])
        result[rows] = policy.probabilities(prepared[rows], moment)
        uniform = hash_uniform(key[rows] + np.uint64(step), seed)
        made = log.arm[rows] if logged_past else draw_arms(result[rows], uniform)
        memory.record(session[rows], moment, made > 0)
    return result


def draw_arms(probabilities: FloatArray, uniform: FloatArray) -> IntArray:
    """Draw an arm for each row of (m, A + 1) probabilities, with (m,) numbers from [0, 1)."""
    edges = np.cumsum(probabilities[:, :-1], axis=1)
    arms: IntArray = (uniform[:, None] >= edges).sum(axis=1)
    return arms


def _steps(session: IntArray, order: IntArray) -> list[IntArray]:
    """Rows of every session's first decision, of every second, and so on."""
    sorted_session = session[order]
    first = np.flatnonzero(np.r_[True, sorted_session[1:] != sorted_session[:-1]])
    length = np.diff(np.r_[first, len(order)])
    rank = np.arange(len(order)) - np.repeat(first, length)
    by_rank = order[np.argsort(rank, kind="stable")]
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])


@dataclass(frozen=True)
class Random:
    """Give an arm with the same probability everywhere.

    `arm` is the arm given; without it all arms share equally.
    """

    share: float
    arm: int | None = None
    name: str = "random"
    has_memory: bool = False

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return the probabilities, which are the decision already."""
        return self._spread(np.full(len(log), self.share), log.schema.n_arms)

    def probabilities(self, prepared: FloatArray, moment: Moment) -> FloatArray:
        """Return the prepared probabilities."""
        return prepared

    def _spread(self, share: FloatArray, n_arms: int) -> FloatArray:
        result = np.zeros((len(share), n_arms + 1))
        result[:, 0] = 1 - share
        if self.arm is None:
            result[:, 1:] = share[:, None] / n_arms
        else:
            result[:, self.arm] = share
        return result


@dataclass(frozen=True)
class Never(Random):
    """Make no extra request."""

    share: float = 0.0
    name: str = "never"


@dataclass(frozen=True)
class Always(Random):
    """Give an arm at every decision point."""

    share: float = 1.0
    name: str = "always"


@dataclass(frozen=True)
class Fixed(Random):
    """Give an arm once a page, at the first decision point at or after a position."""

    share: float = 1.0
    position: int = 25
    name: str = "fixed"
    has_memory: bool = True

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return the probabilities where the page's request is not made yet."""
        position = log.slot - log.page * log.schema.page_length
        due = np.where(position >= self.position, self.share, 0.0)
        return self._spread(due, log.schema.n_arms)

    def probabilities(self, prepared: FloatArray, moment: Moment) -> FloatArray:
        """Return the prepared probabilities, or no request where the page had one."""
        result = prepared.copy()
        result[moment.requests_on_page > 0] = np.eye(1, prepared.shape[1])
        return result


@dataclass(frozen=True)
class ByPosition:
    """Give each arm with a probability that depends on the position in the page alone.

    `table` has shape (positions, A + 1); its rows sum to 1.
    """

    table: FloatArray
    name: str = "by_position"
    has_memory: bool = False

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return the table's row for each decision point."""
        position = log.slot - log.page * log.schema.page_length
        arms = log.schema.n_arms + 1
        if self.table.shape[1:] != (arms,) or position.max() >= len(self.table):
            raise InputError(
                f"policy {self.name!r} has a table of shape {self.table.shape}; the log has "
                f"{int(position.max()) + 1} positions and {arms} arms."
            )
        chosen: FloatArray = self.table[position]
        return chosen

    def probabilities(self, prepared: FloatArray, moment: Moment) -> FloatArray:
        """Return the prepared probabilities."""
        return prepared
