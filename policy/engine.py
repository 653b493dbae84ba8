"""DecisionEngine: one decision at a time, in microseconds, from a bundle alone.

``request arm a* iff uplift - price[window] cost > reserve``, within the session's limits; with the
share `explore` at random, so that the next log is a randomised one. A decision carries the
probability with which it was taken.
"""

import itertools
import random
import time
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import index
from pathlib import Path
from typing import Any, Protocol

import msgspec

from policy.expectation import Expectation, read_expectation
from policy.kernel import encode, encode_values
from policy.manifest import read_manifest, readable
from policy.problem import Limits
from policy.serving_rule import ServingRule
from policy.session_state import FRESH, SessionState, SessionTable
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.schema import LogSchema

__all__ = ["Decision", "DecisionEngine", "Quota", "steady_clock"]

_FLOAT = 4


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What was decided, and all that off-policy evaluation needs to know of it.

    Attributes
    ----------
    arm : 0 is no extra request
    propensity : probability with which this arm was given
    uplift : expected gain of each arm over none
    price : gain that a request had to exceed, per unit of cost
    reserve : worth of keeping the request for later
    reason : ``worth it``, ``tie``, ``below price``, ``below reserve``, ``nothing gained``,
        ``session limit``, ``page limit``, ``too soon``, ``explored``, ``over budget``
    plan_version : the plan that decided
    decision_id : what outcomes are joined by; empty where nothing is logged
    """

    arm: int
    propensity: float
    uplift: tuple[float, ...]
    price: float
    reserve: float
    reason: str
    plan_version: str
    decision_id: str = ""


class PriceSource(Protocol):
    """What corrects the plan's price as traffic moves, such as `policy.Pacer`."""

    def price(self, now: float) -> float:
        """Return the price at a moment."""

    def decided(self, now: float, requests: float, worth: float, cost: float) -> None:
        """Take note of a decision: what it asked for, and the best arm's break-even and cost."""


class Quota(Protocol):
    """The hard cap on requests, such as `policy.TokenBucket`."""

    def try_take(self, cost: float = 1.0) -> bool:
        """Take the cost of one request where there is as much."""

    def give_back(self, cost: float) -> None:
        """Put back what was taken and not spent."""

    def close(self) -> None:
        """Let go of what is held."""


class Log(Protocol):
    """Where decisions are put, such as `policy.decision_log.writer.DecisionLog`."""

    def append(self, record: dict[str, Any]) -> int:
        """Put a decision there, without waiting."""


class DecisionEngine:
    """Decide on extra requests with a bundle's model and plan; safe for threads.

    Parameters
    ----------
    encoder : features to a row
    expect : the model
    rule : the plan's
    schema : roles of the columns
    plan_version : what decisions are marked with
    explore : share of decisions taken at random, all arms alike, in [0, 1)
    sessions : where sessions stand, where the caller does not say
    pacer, quota : correct the price as traffic moves; cap the requests. Only the engine's own clock
        counts for both, and for the window
    log : where each decision is put with the features that it was taken on
    clock : seconds since 1970, UTC; `steady_clock` by default
    seed : of what is random
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        expect: Expectation,
        rule: ServingRule,
        schema: LogSchema,
        plan_version: str,
        *,
        explore: float = 0.0,
        sessions: SessionTable | None = None,
        pacer: PriceSource | None = None,
        quota: Quota | None = None,
        log: Log | None = None,
        clock: Callable[[], float] | None = None,
        seed: int | None = None,
    ) -> None:
        if not 0 <= explore < 1:
            raise InputError(f"explore is {explore}; expected a share in [0, 1).")
        self.plan_version, self.schema, self.rule = plan_version, schema, rule
        self._encoder, self._expect, self._explore = encoder, expect, explore
        self._names = encoder.names
        self._places = tuple(encoder.places.get(name) for name in encoder.names)
        self._bytes = _FLOAT * (len(encoder.names) + 1)  # one more for the arm
        self._sessions = SessionTable() if sessions is None else sessions
        self._pacer, self._quota, self._clock = pacer, quota, clock or steady_clock()
        self._length, self._dearest = schema.page_length, max(schema.arm_cost)
        self._at_random = sum(schema.arm_cost) / len(schema.arm_cost)
        self._n_arms, self._draw = len(schema.arms), random.Random(seed).random
        self._log, self._number, self._boot = log, itertools.count(1), f"{uuid.uuid4().hex[:12]}-"
        self._columns = tuple(f"uplift_{arm}" for arm in schema.arms[1:])
        self._kept = tuple(dict.fromkeys(("user_id", schema.cluster, "session_id", *encoder.names)))

    @classmethod
    def load(cls, bundle: str | Path, **options: Any) -> "DecisionEngine":
        """Read a bundle; `options` are those of the engine.

        Raises
        ------
        InputError
            The bundle is not whole, holds no plan, or a learner that no engine knows.
        """
        folder, manifest = Path(bundle), read_manifest(bundle)
        plan = folder / "plan.json"
        if not plan.is_file():
            raise InputError(f"bundle {str(bundle)!r} holds no plan; make one with `plan`.")
        with readable(bundle):
            schema = LogSchema.from_dict(manifest["schema"])
            encoder = FeatureEncoder.from_json((folder / "model/encoder.json").read_text())
            rule = ServingRule.read(plan, list(schema.arm_cost[1:]))
            expect = read_expectation(folder / "model")
        version = manifest["sha256"]["plan.json"][:12]
        return cls(encoder, expect, rule, schema, version, **options)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that a decision needs."""
        return self._names

    @property
    def plan_about(self) -> dict[str, Any]:
        """What the plan in service says."""
        return {"plan_version": self.plan_version, "explore": self._explore, **self.rule.about}

    @property
    def model_about(self) -> dict[str, Any]:
        """What the model in service predicts, and from what."""
        categories = self._encoder.vocabulary
        return {
            "arms": self.schema.arms,
            "arm_cost": self.schema.arm_cost,
            "primary": self.schema.primary,
            "features": [{"name": n, "categories": categories.get(n)} for n in self._names],
        }

    def decide(
        self,
        features: Mapping[str, Any],
        *,
        session: Hashable = None,
        state: SessionState | None = None,
    ) -> Decision:
        """Decide at one decision point.

        Parameters
        ----------
        features : the model's features by name; and ``page`` and ``position`` where the plan asks
            for them (0 by default). None is missing
        session : whose decision it is; ``features["session_id"]`` by default
        state : where the session stands, when the caller keeps count; else the engine does

        Raises
        ------
        InputError
            A feature is missing or of another type, or a place cannot be.
        """
        row = self._row(features)
        page, position = self._place(features)
        whose = features.get("session_id") if session is None else session
        decision, now = self._settled(row, page, position, whose, state)
        if self._log is not None:
            record = {name: features[name] for name in self._kept if name in features}
            self._log.append(self._filled(record, decision, whose, page, position, now))
        return decision

    def decide_values(
        self,
        values: tuple[Any, ...],
        page: int,
        position: int,
        *,
        session: Hashable = None,
        user: Hashable = None,
        state: SessionState | None = None,
    ) -> Decision:
        """Decide as `decide` does, on values in the order of `features`: no names to look up.

        Parameters
        ----------
        values : of the model's features, place included where it is one of them
        page, position : whole numbers within what the log's schema allows
        session, user : whose decision it is
        state : as in `decide`

        Raises
        ------
        InputError
            As in `decide`.
        """
        row = bytearray(self._bytes)
        if len(values) != len(self._places) or encode_values(values, self._places, row) >= 0:
            told = self._named(values, user)
            told["page"], told["position"] = page, position
            return self.decide(told, session=session, state=state)  # which says what is wrong
        decision, now = self._settled(row, page, position, session, state)
        if self._log is not None:
            record = self._named(values, user)
            self._log.append(self._filled(record, decision, session, page, position, now))
        return decision

    def decide_many(self, batch: Iterable[Mapping[str, Any]]) -> list[Decision]:
        """Decide at several points, one after the other: earlier ones count for later ones."""
        return [self.decide(features) for features in batch]

    def uplift(self, features: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the expected gain of each arm over none, as batch scoring has it."""
        return self._expect(self._row(features))

    def _named(self, values: tuple[Any, ...], user: Hashable) -> dict[str, Any]:
        """Return values by the names of their features."""
        named = dict(zip(self._names, values, strict=False))
        if user is not None:
            named["user_id"] = user
        return named

    def _filled(
        self,
        record: dict[str, Any],
        decision: Decision,
        session: Hashable,
        page: int,
        position: int,
        now: float,
    ) -> dict[str, Any]:
        """Add a decision, in the columns of a request log, to the features it was taken on."""
        record["arm"], record["propensity"] = decision.arm, decision.propensity
        record.update(zip(self._columns, decision.uplift, strict=True))
        record["price"], record["reserve"] = decision.price, decision.reserve
        record["reason"], record["plan_version"] = decision.reason, decision.plan_version
        record["decision_id"] = decision.decision_id
        record["page"], record["position"] = page, position
        record["timestamp"], record["cost"] = int(now * 1e6), self.schema.arm_cost[decision.arm]
        if session is not None:
            record["session_id"] = session
        return record

    def _row(self, features: Mapping[str, Any]) -> bytearray:
        """Encode features; whatever is unusual by the encoder itself, which says what is wrong."""
        row = bytearray(self._bytes)
        if type(features) is dict and encode(features, self._names, self._places, row) < 0:
            return row
        if not isinstance(features, Mapping):
            raise InputError(
                f"features are {features!r:.80}; expected a mapping of names to values."
            )
        values = self._encoder.transform_row(features)
        row[: values.nbytes] = values.tobytes()
        return row

    def _place(self, features: Mapping[str, Any]) -> tuple[int, int]:
        page, position = features.get("page", 0), features.get("position", 0)
        if type(page) is not int or type(position) is not int:
            page, position = _whole(page), _whole(position)
        if not (0 <= page < 1 << 15 and 0 <= position < self._length):
            raise InputError(
                f"page {features.get('page', 0)!r}, position {features.get('position', 0)!r}; "
                f"expected whole numbers from 0, the position below {self._length}."
            )
        return page, position

    def _settled(
        self,
        row: bytearray,
        page: int,
        position: int,
        whose: Hashable,
        state: SessionState | None,
    ) -> tuple[Decision, float]:
        """Decide where the session stands, and note there that it got a request."""
        now, uplift = self._clock(), self._expect(row)
        if state is None:
            if whose is not None:
                return self._followed(uplift, page, position, whose, now), now
            if self.rule.limits != Limits():
                raise InputError(
                    "the plan limits what a session gets; give its session_id, or its state."
                )
            state = FRESH
        return self._decided(uplift, page, position, state, now), now

    def _followed(
        self, uplift: tuple[float, ...], page: int, position: int, whose: Hashable, now: float
    ) -> Decision:
        """Decide where the engine's own table says that the session stands."""
        slot = page * self._length + position
        while True:
            seen = self._sessions.state(whose, page, slot, now)
            decision = self._decided(uplift, page, position, seen, now)
            if not decision.arm or self._sessions.record(whose, page, slot, now, seen):
                return decision
            if self._quota is not None:  # another thread was faster: look again
                self._quota.give_back(self.schema.arm_cost[decision.arm])

    def _decided(
        self, uplift: tuple[float, ...], page: int, position: int, state: SessionState, now: float
    ) -> Decision:
        """Decide where the session stands so."""
        pacer, rule = self._pacer, self.rule
        arm, share, price, reserve, reason, refused = rule.choose(
            uplift,
            rule.window(now),
            None if pacer is None else pacer.price(now),
            page,
            position,
            state.requests,
            state.on_page,
            state.slots_since,
        )
        if pacer is not None:  # before the quota, and whatever is drawn
            asked, worth, cost = share * self.schema.arm_cost[arm], 0.0, 0.0
            if not refused:
                asked += self._explore * (self._at_random - asked)
                worth, cost = rule.break_even.price(
                    uplift, arm, page, position, state.requests, state.on_page
                )
            pacer.decided(now, asked, worth, cost)
        arm, chance, reason = self._given(arm, share, reason, refused)
        number = "" if self._log is None else f"{self._boot}{next(self._number):x}"
        return Decision(arm, chance, uplift, price, reserve, reason, self.plan_version, number)

    def _given(self, arm: int, share: float, reason: str, refused: bool) -> tuple[int, float, str]:
        """Return the arm that is given, the probability that it had, and why.

        The most that may be spent is taken of the quota before anything is drawn: so its answer
        does not depend on the draw, and the propensity is the true one.
        """
        explores = self._explore > 0 and not refused
        draw = self._mixed if explores else self._drawn
        if self._quota is None or not (explores or share > 0):
            return draw(arm, share, reason)
        most = self._dearest if explores else self.schema.arm_cost[arm]
        if not self._quota.try_take(most):
            return 0, 1.0, "over budget"
        arm, chance, reason = draw(arm, share, reason)
        if most > (spent := self.schema.arm_cost[arm]):
            self._quota.give_back(most - spent)
        return arm, chance, reason

    def _drawn(self, arm: int, share: float, reason: str) -> tuple[int, float, str]:
        """Draw the arm; return it, the probability that it had, and why."""
        if share >= 1:
            return arm, 1.0, reason
        if share > 0:
            return (arm, share, reason) if self._draw() < share else (0, 1 - share, "tie")
        return 0, 1.0, reason

    def _mixed(self, arm: int, share: float, reason: str) -> tuple[int, float, str]:
        """Draw as `_drawn` does, and with the share `explore` any arm alike."""
        each = self._explore / self._n_arms
        if self._draw() < self._explore:
            drawn = min(int(self._draw() * self._n_arms), self._n_arms - 1)
            return drawn, self._chance(drawn, arm, share, each), "explored"
        given = arm if share >= 1 or self._draw() < share else 0
        return given, self._chance(given, arm, share, each), reason

    def _chance(self, drawn: int, arm: int, share: float, each: float) -> float:
        """Return the probability of an arm, whichever way it is drawn."""
        by_rule = share if drawn == arm and arm else 1 - share if drawn == 0 else 0.0
        return each + (1 - self._explore) * by_rule


def _whole(number: Any) -> int:
    """Return a whole number of any kind, or -1 where it is none."""
    try:
        return index(number)
    except TypeError:
        return -1


def steady_clock() -> Callable[[], float]:
    """Return a clock of seconds since 1970 that never goes back, whatever is set meanwhile."""
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()
