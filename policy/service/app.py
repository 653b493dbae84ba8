"""The ASGI application: raw, since a decision takes less time than most frameworks' routing."""

import asyncio
import hmac
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, time
from typing import Any, Protocol, TypeAlias

import msgspec

from policy.decision_log.writer import DecisionLog
from policy.engine import Decision, DecisionEngine
from policy.service.bodies import Accepted, Answer, Answers, Batch, Event, Point, Reload
from policy.service.metrics import Metrics
from policy.service.openapi import document, page
from policy.service.problems import Problem
from policy.session_state import SessionState
from uplift.errors import InputError

__all__ = ["Service", "Settings"]

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger("request-uplift")
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_LOCAL = ("127.0.0.1", "::1", "localhost", None)


class Closeable(Protocol):
    """Something that has work to do at the end."""

    def close(self) -> None:
        """Do it."""


@dataclass(frozen=True)
class Settings:
    """How the service guards itself.

    Attributes
    ----------
    most_bytes : of a body
    most_waiting : requests in the house at once; more get 429
    body_seconds : within which a body must have come
    admin_token : without one there is no ``/admin``
    admin_anywhere : whether others than this machine may call ``/admin``
    """

    most_bytes: int = 1 << 20
    most_waiting: int = 1000
    body_seconds: float = 5.0
    admin_token: str | None = None
    admin_anywhere: bool = False


@dataclass
class Service:
    """An engine behind HTTP.

    Attributes
    ----------
    load : reads a bundle's engine, as the service wants it
    bundle : that is served; read when the service is made
    shadow : a second bundle that decides beside it and is logged, and never acts
    log, events : where decisions and outcomes go
    held : what is closed at the end: these logs, the shadow's, a shared quota
    """

    load: Callable[[Path], DecisionEngine]
    bundle: Path
    settings: Settings = field(default_factory=Settings)
    shadow: DecisionEngine | None = None
    log: DecisionLog | None = None
    events: DecisionLog | None = None
    held: tuple[Closeable, ...] = ()

    def __post_init__(self) -> None:
        self.engine, self.metrics, self.draining = self.load(self.bundle), Metrics(), False
        self._known = frozenset(self.engine.features)
        self._waiting, self._boot, self._number = 0, uuid.uuid4().hex[:8], itertools.count(1)
        self._point = msgspec.json.Decoder(Point).decode
        self._batch = msgspec.json.Decoder(Batch).decode
        self._event = msgspec.json.Decoder(Event).decode
        self._reload = msgspec.json.Decoder(Reload).decode
        self._encode = msgspec.json.Encoder().encode
        self._posts: dict[str, Callable[[bytes], bytes]] = {
            "/v1/decide": self._decide,
            "/v1/decide_many": self._decide_many,
            "/v1/outcome": self._outcome,
            "/admin/reload": self._reloaded,
        }
        self._gets: dict[str, Callable[[], tuple[tuple[bytes, bytes], bytes]]] = {
            "/live": lambda: (_JSON, b'{"live":true}'),
            "/ready": self._ready,
            "/metrics": lambda: (_TEXT, self.metrics.exposition(self.log)),
            "/v1/plan": lambda: (_JSON, self._encode(self.engine.plan_about)),
            "/v1/model": lambda: (_JSON, self._encode(self.engine.model_about)),
            "/openapi.json": lambda: (_JSON, self._encode(document())),
            "/docs": lambda: (_HTML, page()),
        }

    def close(self) -> None:
        """Write what waits to be logged, and let go of what is held."""
        for one in self.held:
            one.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the protocol of ASGI."""
        if scope["type"] != "http":
            return
        headers, path = dict(scope["headers"]), scope["path"]
        request_id = self._request_id(headers.get(b"x-request-id"))
        self._waiting += 1
        try:
            kind, body, status, more = await self._answer(scope, path, headers, receive)
        except Problem as problem:
            kind, body = _PROBLEM, problem.body(request_id)
            status, more = problem.status, problem.headers
        except Exception:
            _log.exception("request %s failed", request_id)
            failed = Problem(500, "the service failed on this request; tell its owner.")
            kind, body, status, more = _PROBLEM, failed.body(request_id), 500, ()
        finally:
            self._waiting -= 1
        known = path in self._posts or path in self._gets
        self.metrics.answers[path if known else "other", status] += 1
        length = str(len(body)).encode()
        told = [kind, (b"content-length", length), (b"x-request-id", request_id.encode()), *more]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Scope, path: str, headers: dict[bytes, bytes], receive: Receive
    ) -> tuple[tuple[bytes, bytes], bytes, int, tuple[tuple[bytes, bytes], ...]]:
        if scope["method"] == "GET" and path in self._gets:
            kind, body = self._gets[path]()
            return kind, body, 200, ()
        post = self._posts.get(path)
        if post is None or scope["method"] != "POST":
            raise self._not_here(path, scope["method"])
        if path.startswith("/admin"):
            self._admit(scope, headers)
        if self._waiting > self.settings.most_waiting:
            retry = ((b"retry-after", b"1"),)
            raise Problem(429, "too many requests at once; try again in a second.", retry)
        body = await self._body(headers, receive)
        try:
            return _JSON, post(body), 202 if path == "/v1/outcome" else 200, ()
        except msgspec.ValidationError as error:
            raise Problem(422, f"the body does not fit: {error}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(400, f"the body is no JSON: {error}.") from error
        except InputError as error:
            raise Problem(422, str(error)) from error

    def _not_here(self, path: str, method: str) -> Problem:
        if path in self._posts or path in self._gets:
            allowed = b"POST" if path in self._posts else b"GET"
            detail = f"{method} is not for {path}; use {allowed.decode()}."
            return Problem(405, detail, ((b"allow", allowed),))
        return Problem(404, f"nothing is at {path[:200]}; /docs lists what there is.")

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Let the owner in, and no one else."""
        token, client = self.settings.admin_token, scope.get("client")
        if token is None or not (
            self.settings.admin_anywhere or (client is None or client[0] in _LOCAL)
        ):
            raise Problem(404, "nothing is here; /docs lists what there is.")
        given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(given, token.encode()):
            challenge = ((b"www-authenticate", b"Bearer"),)
            raise Problem(401, "the token is missing or wrong; send it as a bearer.", challenge)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read a body that is neither too large nor too slow."""
        most = self.settings.most_bytes
        told = headers.get(b"content-length", b"0")
        if not told.isdigit() or int(told) > most:
            raise Problem(413, f"the body has {told.decode('latin-1')[:20]} bytes; at most {most}.")
        message = await _soon(receive, self.settings.body_seconds)
        body, more = message.get("body", b""), message.get("more_body", False)
        while more and len(body) <= most:
            message = await _soon(receive, self.settings.body_seconds)
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > most:
            raise Problem(413, f"the body has more than {most} bytes.")
        return bytes(body)

    def _decide(self, body: bytes) -> bytes:
        return self._encode(self._decided(self._point(body)))

    def _decide_many(self, body: bytes) -> bytes:
        return self._encode(Answers([self._decided(point) for point in self._batch(body).points]))

    def _decided(self, point: Point) -> Answer:
        begin, features = perf_counter(), point.features
        if not self._known >= features.keys():
            raise _unknown(features, self._known)
        told: dict[str, Any] = {**features, "page": point.page, "position": point.position}
        if point.user_id is not None:
            told["user_id"] = point.user_id
        state = None
        if point.state is not None:
            state = SessionState(point.state.requests, point.state.on_page, point.state.slots_since)
        decision = self.engine.decide(told, session=point.session_id, state=state)
        if self.shadow is not None:
            self._shadowed(told, point, state, decision)
        self.metrics.decided(decision.reason, perf_counter() - begin)
        return Answer(*decision)

    def _shadowed(
        self, told: dict[str, Any], point: Point, state: SessionState | None, decision: Decision
    ) -> None:
        assert self.shadow is not None
        other = self.shadow.decide(told, session=point.session_id, state=state)
        if other.arm != decision.arm:
            self.metrics.shadow_differs += 1

    def _outcome(self, body: bytes) -> bytes:
        event = self._event(body)
        if self.events is None:
            raise Problem(404, "no outcomes are taken here; start the service with --log.")
        record = {"session_id": event.session_id, "page": event.page, "position": event.position}
        record["timestamp"] = int(time() * 1e6)
        if event.event_id is not None:
            record["event_id"] = event.event_id
        if not self.events.append(record | event.values):
            retry = ((b"retry-after", b"1"),)
            raise Problem(503, "the event could not be kept; send it again.", retry)
        return self._encode(Accepted(accepted=True))

    def _reloaded(self, body: bytes) -> bytes:
        """Take another bundle into service, once it is read whole; else keep the old one."""
        asked = self._reload(body or b"{}").bundle
        bundle = self.bundle if asked is None else Path(asked)
        engine = self.load(bundle)
        self.engine, self.bundle = engine, bundle
        self._known = frozenset(engine.features)
        return self._encode({"plan_version": engine.plan_version})

    def _ready(self) -> tuple[tuple[bytes, bytes], bytes]:
        if self.draining:
            raise Problem(503, "the service is about to stop.")
        return _JSON, self._encode({"ready": True, "plan_version": self.engine.plan_version})

    def _request_id(self, given: bytes | None) -> str:
        """Return the caller's id where it is a plain one, else one of our own."""
        if given is not None and len(given) <= 100 and given.replace(b"-", b"").isalnum():
            return given.decode("ascii", "ignore")
        return f"{self._boot}-{next(self._number):x}"


async def _soon(receive: Receive, seconds: float) -> dict[str, Any]:
    """Return the next message, if it comes in time.

    A timer that cancels costs a tenth of `asyncio.timeout`, which every request would pay.
    """
    task, late = asyncio.current_task(), False

    def give_up() -> None:
        nonlocal late
        late = True
        if task is not None:
            task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, give_up)
    try:
        message = await receive()
    except asyncio.CancelledError:
        if not late:
            raise
        if task is not None:
            task.uncancel()
        raise Problem(408, f"the body did not come within {seconds:g} s.") from None
    finally:
        timer.cancel()
    if message["type"] == "http.disconnect":
        raise Problem(400, "the client left before its body was there.")
    return message


def _unknown(features: dict[str, Any], known: frozenset[str]) -> Problem:
    more = sorted(features.keys() - known)[:5]
    return Problem(422, f"the features {more} are not the model's; it knows {sorted(known)[:20]}.")
