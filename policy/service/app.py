"""The ASGI application: raw, since a decision takes less time than most frameworks' routing."""

import asyncio
import hmac
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, time
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import astuple

from policy.decision_log.archiver import Archiver
from policy.decision_log.writer import DecisionLog
from policy.engine import Decision, DecisionEngine
from policy.quota import SharedQuota
from policy.service.bodies import Accepted, Answers, Event, Points, Reload, Reloaded
from policy.service.metrics import Metrics
from policy.service.openapi import document, page
from policy.service.problems import Problem
from policy.service.receiving import Receive, read_body
from uplift.errors import InputError

__all__ = ["Service", "Settings"]

Scope: TypeAlias = dict[str, Any]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger("request-uplift")
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_LOCAL = ("127.0.0.1", "::1", "localhost", None)


@dataclass(frozen=True)
class Settings:
    """How the service guards itself.

    Attributes
    ----------
    most_bytes : of a body
    most_waiting : requests in the house at once; more get 429
    body_seconds : within which all of a body must have come
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
    logs : where ``decisions`` and ``events`` go, and what the ``shadow`` decides
    archiver : makes Parquet of them
    quota : shared with other instances
    """

    load: Callable[[Path], DecisionEngine]
    bundle: Path
    settings: Settings = field(default_factory=Settings)
    shadow: DecisionEngine | None = None
    logs: Mapping[str, DecisionLog] = field(default_factory=dict)
    archiver: Archiver | None = None
    quota: SharedQuota | None = None

    def __post_init__(self) -> None:
        self.metrics, self.draining = Metrics(), False
        self._serve(self.load(self.bundle))
        self._boot, self._number = uuid.uuid4().hex[:8].encode(), itertools.count(1)
        self._waiting = 0
        self._event = msgspec.json.Decoder(Event).decode
        self._reload = msgspec.json.Decoder(Reload).decode
        self._encode = msgspec.json.Encoder().encode
        self._reloading = asyncio.Lock()
        self._posts: dict[str, Callable[[bytes], bytes | Awaitable[bytes]]] = {
            "/v1/decide": self._decide,
            "/v1/decide_many": self._decide_many,
            "/v1/outcome": self._outcome,
            "/admin/reload": self._reloaded,
        }
        self._gets: dict[str, Callable[[], tuple[tuple[bytes, bytes], bytes]]] = {
            "/live": lambda: (_JSON, b'{"live":true}'),
            "/ready": self._ready,
            "/metrics": lambda: (_TEXT, self._exposition()),
            "/v1/plan": lambda: (_JSON, self._encode(self.engine.plan_about)),
            "/v1/model": lambda: (_JSON, self._encode(self.engine.model_about)),
            "/openapi.json": lambda: (_JSON, self._encode(document(self.engine))),
            "/docs": lambda: (_HTML, page(self.engine)),
        }
        self._paths = self._posts.keys() | self._gets.keys()

    def _serve(self, engine: DecisionEngine) -> None:
        """Decide with an engine from now on."""
        self.engine, points = engine, Points.of(engine)
        self._point: Callable[[bytes], Any] = msgspec.json.Decoder(points.one).decode
        self._batch: Callable[[bytes], Any] = msgspec.json.Decoder(points.many).decode
        self._told = points.told

    def close(self) -> None:
        """Write what waits to be logged, and let go of what is held."""
        for one in (*self.logs.values(), self.archiver, self.quota):
            if one is not None:
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
            kind, body = _PROBLEM, problem.body(request_id.decode())
            status, more = problem.status, problem.headers
        except Exception:
            _log.exception("request %s failed", request_id.decode())
            failed = Problem(500, "the service failed on this request; tell its owner.")
            kind, body, status, more = _PROBLEM, failed.body(request_id.decode()), 500, ()
        finally:
            self._waiting -= 1
        self.metrics.answers[path if path in self._paths else "other", status] += 1
        length = (b"content-length", b"%d" % len(body))
        told = [kind, length, (b"x-request-id", request_id), *more]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Scope, path: str, headers: dict[bytes, bytes], receive: Receive
    ) -> tuple[tuple[bytes, bytes], bytes, int, tuple[tuple[bytes, bytes], ...]]:
        post = self._posts.get(path)
        if post is None or scope["method"] != "POST":
            if scope["method"] != "GET" or path not in self._gets:
                raise self._not_here(path, scope["method"])
            kind, body = self._gets[path]()
            return kind, body, 200, ()
        if path.startswith("/admin"):
            self._admit(scope, headers)
        if self._waiting > self.settings.most_waiting:
            retry = ((b"retry-after", b"1"),)
            raise Problem(429, "too many requests at once; try again in a second.", retry)
        told = headers.get(b"content-length", b"0")
        limits = self.settings.most_bytes, self.settings.body_seconds
        coming = read_body(told, receive, *limits)
        sent = coming if isinstance(coming, bytes) else await coming
        try:
            answer = post(sent)
            if not isinstance(answer, bytes):
                answer = await answer
            return _JSON, answer, 202 if path == "/v1/outcome" else 200, ()
        except msgspec.ValidationError as error:
            where = "; /v1/model tells the features" if ".features" in str(error) else ""
            raise Problem(422, f"the body does not fit: {error}{where}.") from error
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

    def _decide(self, body: bytes) -> bytes:
        return self._encode(self._decided(self._point(body)))

    def _decide_many(self, body: bytes) -> bytes:
        return self._encode(Answers([self._decided(point) for point in self._batch(body).points]))

    def _decided(self, point: Any) -> Decision:
        begin, features = perf_counter(), point.features
        for name in self._told:
            if (value := getattr(point, name)) is not None:
                setattr(features, name, value)
        values = astuple(features)
        decision = self.engine.decide_values(
            values,
            point.page,
            point.position,
            session=point.session_id,
            user=point.user_id,
            state=point.state,
        )
        if self.shadow is not None:
            other = self.shadow.decide(
                self._by_name(point, values), session=point.session_id, state=point.state
            )
            self.metrics.shadow_differs += other.arm != decision.arm
        self.metrics.decided(decision.reason, perf_counter() - begin)
        return decision

    def _by_name(self, point: Any, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return what a point tells, for an engine whose model may have other features."""
        told = dict(zip(self.engine.features, values, strict=True))
        told |= {"page": point.page, "position": point.position}
        return told if point.user_id is None else told | {"user_id": point.user_id}

    def _outcome(self, body: bytes) -> bytes:
        event = self._event(body)
        events = self.logs.get("events")
        if events is None:
            raise Problem(404, "no outcomes are taken here; start the service with --log.")
        record = {"session_id": event.session_id, "page": event.page, "position": event.position}
        record["timestamp"] = int(time() * 1e6)
        if event.event_id is not None:
            record["event_id"] = event.event_id
        if not events.append(record | event.values):
            retry = ((b"retry-after", b"1"),)
            raise Problem(503, "the event could not be kept; send it again.", retry)
        return self._encode(Accepted(accepted=True))

    async def _reloaded(self, body: bytes) -> bytes:
        """Take another bundle into service, once it is read whole; else keep the old one.

        It is read in a thread, while decisions go on.
        """
        asked = self._reload(body or b"{}").bundle
        async with self._reloading:
            bundle = self.bundle if asked is None else Path(asked)
            engine = await asyncio.to_thread(self.load, bundle)
        self._serve(engine)
        self.bundle = bundle
        return self._encode(Reloaded(engine.plan_version))

    def _exposition(self) -> bytes:
        return self.metrics.exposition(self.logs, self.archiver, self.quota)

    def _ready(self) -> tuple[tuple[bytes, bytes], bytes]:
        if self.draining:
            raise Problem(503, "the service is about to stop.")
        return _JSON, self._encode({"ready": True, "plan_version": self.engine.plan_version})

    def _request_id(self, given: bytes | None) -> bytes:
        """Return the caller's id where it is a plain one, else one of our own."""
        if given is not None and len(given) <= 100 and given.replace(b"-", b"").isalnum():
            return given
        return b"%s-%x" % (self._boot, next(self._number))
