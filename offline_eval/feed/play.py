"""A policy led through fresh sessions, chunk by chunk: the one loop behind every simulation."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from offline_eval.feed.params import FEED_SCHEMA, PAGE_LENGTH, STEP, FeedParams, Rates
from offline_eval.feed.step import OBSERVED, Block, State, act, advance, observe, open_state
from offline_eval.feed.world import (
    CATEGORIES,
    DEVICES,
    FIRST_DAY,
    Sessions,
    draw_sessions,
    session_traits,
    users_of,
)
from offline_eval.policies import Policy, SessionMemory, draw_arms
from uplift.arrays import BoolArray, Float32Array, FloatArray, IntArray
from uplift.errors import InputError
from uplift.log import DAY_SECONDS, RequestLog

__all__ = ["Chunk", "Decision", "Feed", "LoggingPolicy", "labelled"]

#: Sessions simulated together. Another size, another draw of the arms.
CHUNK_SESSIONS = 1 << 15
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Feed:
    """Fresh sessions to lead policies through.

    Parameters
    ----------
    n_sessions : number of sessions
    seed : another seed, other users; 0 to 2**31 - 1
    rate : factor of all purchase rates, so that small samples are informative
    days : days that the sessions spread over
    params : what the feed is like

    Raises
    ------
    InputError
        No session, no day, a rate that is not positive or makes a probability exceed 1.
    """

    n_sessions: int
    seed: int = 0
    rate: float = 1.0
    days: int = 1
    params: FeedParams = field(default_factory=FeedParams)

    def __post_init__(self) -> None:
        _check_count("n_sessions", self.n_sessions, 1, 2**31 - 1)
        _check_count("days", self.days, 1, 3660)
        _check_count("seed", self.seed, 0, 2**31 - 1)
        if not 0 < self.rate <= self.params.largest_rate:
            raise InputError(
                f"feed: rate is {self.rate}; expected > 0 and at most "
                f"{self.params.largest_rate:.4g}, beyond which a purchase probability exceeds 1."
            )

    def chunks(self) -> Iterator["Chunk"]:
        """Yield all sessions, chunk by chunk."""
        users = users_of(self.n_sessions, self.seed, self.params)
        for first in range(0, self.n_sessions, CHUNK_SESSIONS):
            user_id = users[first : first + CHUNK_SESSIONS]
            session_id = (self.seed << 32) + first + np.arange(len(user_id))
            sessions = draw_sessions(session_id, user_id, self.rate, self.days, self.params)
            yield Chunk(self, sessions)


@dataclass(frozen=True)
class Decision:
    """One decision of every session of a chunk that is still there.

    Attributes
    ----------
    step : number of steps before it
    slot : the slot that it follows
    rows : (m,) sessions, as numbers in the chunk
    columns : what is known before the decision, (m,) each; categories as codes
    arm, propensity : (m,) what the policy drew, and with which probability
    latent : (n,) states of all sessions before the arms act
    """

    step: int
    slot: int
    rows: IntArray
    columns: dict[str, np.ndarray]
    arm: np.ndarray
    propensity: FloatArray
    latent: np.ndarray


class Chunk:
    """Some sessions of a feed, to be led through once.

    Attributes
    ----------
    sessions, rates : the world
    state : where the sessions stand
    blocks : what happened in each step so far
    requests : (n,) extra requests made
    """

    def __init__(self, feed: Feed, sessions: Sessions) -> None:
        self.sessions = sessions
        self.rates: Rates = feed.params.rates()
        self.state: State = open_state(len(sessions.key))
        self.blocks: list[Block] = []
        self.requests = np.zeros(len(sessions.key), np.int64)
        self._traits = session_traits(sessions, feed.params)
        self._closes = FIRST_DAY + feed.days * DAY_SECONDS * _MICROSECONDS - 1
        self._rng = np.random.default_rng([feed.seed, int(sessions.session_id[0])])

    def decisions(self, policy: Policy) -> Iterator[Decision]:
        """Lead the sessions to their ends; yield the decisions, all first ones, all second ones."""
        memory = SessionMemory(len(self.requests))
        rows, first = np.arange(len(self.requests)), 0
        while len(rows):
            slot = STEP * len(self.blocks)
            self.blocks.append(advance(rows, first, slot, self.state, self.sessions, self.rates))
            rows, first = rows[self.state.here[rows]], slot + 1
            if slot % PAGE_LENGTH and len(rows):
                yield self._decide(policy, memory, rows, slot)

    def bought_within(self, step: int, steps: int) -> BoolArray:
        """(n,) whether anything was bought in the steps after a decision."""
        bought: BoolArray = np.any([b.bought for b in self._after(step, steps)], axis=0)
        return bought

    def spent_within(self, step: int, steps: int) -> Float32Array:
        """(n,) money of the purchases in the steps after a decision."""
        money: Float32Array = np.sum([b.money for b in self._after(step, steps)], axis=0)
        return money

    def chance_within(self, step: int, steps: int) -> FloatArray:
        """(n,) P(purchase | latent path) in the steps after a decision: 1 - product of kept."""
        kept = [b.kept for b in self._after(step, steps)]
        chance: FloatArray = 1 - np.prod(kept, axis=0, dtype=np.float64)
        return chance

    def _after(self, step: int, steps: int) -> list[Block]:
        # The step after a decision always exists; later ones only while somebody was there.
        return self.blocks[step + 1 : step + 1 + steps]

    def _decide(self, policy: Policy, memory: SessionMemory, rows: IntArray, slot: int) -> Decision:
        columns = self._columns(rows, slot)
        log = RequestLog.unchecked(pd.DataFrame(labelled(columns), copy=False), FEED_SCHEMA)
        places = np.full(len(rows), slot)
        moment = memory.moment(rows, places // PAGE_LENGTH, places)
        probabilities = policy.probabilities(policy.prepare(log), moment)
        arm = self._draw(rows, probabilities)
        latent = self.state.latent.copy()
        memory.record(rows, moment, arm > 0)
        self.requests[rows] += arm > 0
        act(rows[arm > 0], slot, self.state, self.sessions, self.rates)
        propensity = np.take_along_axis(probabilities, arm[:, None], axis=1)[:, 0]
        step = len(self.blocks) - 1
        return Decision(step, slot, rows, columns, arm.astype(np.int8), propensity, latent)

    def _draw(self, rows: IntArray, probabilities: FloatArray) -> IntArray:
        # One number for every session of the chunk, gone or not: what a session draws must not
        # depend on who else is still there, or two policies would not meet the same luck.
        whole = np.zeros((len(self.requests), probabilities.shape[1]))
        whole[rows] = probabilities
        return draw_arms(whole, self._rng.random(len(whole)))[rows]

    def _columns(self, rows: IntArray, slot: int) -> dict[str, np.ndarray]:
        sessions, m = self.sessions, len(rows)
        # The clock stops at the last midnight, so that a log of d days spans d days.
        time = np.minimum(sessions.start[rows] + slot * sessions.pace[rows], self._closes)
        columns = {
            "session_id": sessions.session_id[rows],
            "user_id": sessions.user_id[rows],
            "timestamp": time.view("datetime64[us]"),
            "page": np.full(m, slot // PAGE_LENGTH, np.int16),
            "position": np.full(m, slot % PAGE_LENGTH, np.int16),
        }
        columns |= dict(zip(OBSERVED, observe(rows, slot, self.state, sessions), strict=True))
        return columns | {name: values[rows] for name, values in self._traits.items()}


@dataclass(frozen=True)
class LoggingPolicy:
    """Make a request at random, with a probability that depends on the page."""

    share: tuple[float, ...]
    name: str = "logging"
    has_memory: bool = False

    def prepare(self, log: RequestLog) -> FloatArray:
        """Return the probabilities, which are the decision already."""
        share = np.array(self.share)[np.minimum(log.page, len(self.share) - 1)]
        return np.column_stack([1 - share, share])

    def probabilities(self, prepared: FloatArray, moment: object) -> FloatArray:
        """Return the prepared probabilities."""
        return prepared


def labelled(columns: dict[str, np.ndarray]) -> dict[str, object]:
    """Return columns with the names of the categories in place of their codes."""
    names = {"c_device": list(DEVICES), "c_category": list(CATEGORIES)}
    result: dict[str, object] = dict(columns)
    for column, categories in names.items():
        result[column] = pd.Categorical.from_codes(columns[column], pd.Index(categories))
    return result


def _check_count(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"feed: {name} is {value!r}; expected a whole number.")
    if not low <= value <= high:
        raise InputError(f"feed: {name} is {value}; expected {low} to {high}.")
