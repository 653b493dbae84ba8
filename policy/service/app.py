"""The service: what is answered to each request, whichever connection it comes by."""

import asyncio
import hmac
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, time
from typing import Any

import httptools
import msgspec
from msgspec.structs import astuple

from policy.decision_log.archiver import Archiver
from policy.decision_log.writer import DecisionLog
from policy.engine import Decision, DecisionEngine
from policy.quota import SharedQuota
from policy.service.answers import HTML, JSON, PROBLEM, TEXT, Answer
from policy.service.bodies import Accepted, Answers, Event, Points, Reload, Reloaded
from policy.service.metrics import Metrics
from policy.service.openapi import document, page
from policy.service.problems import Problem
from policy.shared_pacing import SharedPacer
from uplift.errors import InputError

__all__ = ["Service", "Settings"]

_log = logging.getLogger("request-uplift")
_LOCAL = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "")


@dataclass(frozen=True)
class Settings:
    """How the service guards itself.

    Attributes
    ----------
    most_bytes : of a body
    most_callers : connections at once; more get 429
    request_seconds : within which all of a request must have come
    admin_token : without one there is no ``/admin``
    admin_anywhere : whether others than this machine may call ``/admin``
    """

    most_bytes: int = 1 << 20
    most_callers: int = 1000
    request_seconds: float = 5.0
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
    quota, pacer : shared with other instances
    """

    load: Callable[[Path], DecisionEngine]
    bundle: Path
    settings: Settings = field(default_factory=Settings)
    shadow: DecisionEngine | None = None
    logs: Mapping[str, DecisionLog] = field(default_factory=dict)
    archiver: Archiver | None = None
    quota: SharedQuota | None = None
    pacer: SharedPacer | None = None

    def __post_init__(self) -> None:
        self.metrics, self.draining = Metrics(), False
        self._serve(self.load(self.bundle))
        self._boot, self._number = uuid.uuid4().hex[:8].encode(), itertools.count(1)
        self._event = msgspec.json.Decoder(Event).decode
        self._reload = msgspec.json.Decoder(Reload).decode
        self._encode = msgspec.json.Encoder().encode
        self._reloading = asyncio.Lock()
        self._posts: dict[bytes, Callable[[bytes], bytes | Awaitable[bytes]]] = {
            b"/v1/decide": self._decide,
            b"/v1/decide_many": self._decide_many,
            b"/v1/outcome": self._outcome,
            b"/admin/reload": self._reloaded,
        }
        self._gets: dict[bytes, tuple[bytes, Callable[[], bytes]]] = {
            b"/live": (JSON, lambda: b'{"live":true}'),
            b"/ready": (JSON, self._ready),
            b"/metrics": (TEXT, self._exposition),
            b"/v1/plan": (JSON, lambda: self._encode(self.engine.plan_about)),
            b"/v1/model": (JSON, lambda: self._encode(self.engine.model_about)),
            b"/openapi.json": (JSON, lambda: self._encode(document(self.engine))),
            b"/docs": (HTML, lambda: page(self.engine)),
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
        for one in (*self.logs.values(), self.archiver, self.quota, self.pacer):
            if one is not None:
                one.close()

    def answer(
        self, method: bytes, url: bytes, headers: dict[bytes, bytes], body: bytes, client: str
    ) -> Answer | Awaitable[Answer]:
        """Return the answer to a request, or what to await it from."""
        path, request_id = url, self._request_id(headers.get(b"x-request-id"))
        try:
            if path not in self._paths:
                path = _path(url)
            post = self._posts.get(path)
            if post is None or method != b"POST":
                kind, body = self._got(method, path)
                return self._counted(path, Answer(200, kind, body, request_id))
            if path.startswith(b"/admin"):
                self._admit(headers, client)
            answer = post(body)
            if not isinstance(answer, bytes):
                return self._later(path, answer, request_id)
            status = 202 if path == b"/v1/outcome" else 200
            return self._counted(path, Answer(status, JSON, answer, request_id))
        except Exception as error:
            return self._counted(path, _refusal(error, request_id))

    def refuse(self, problem: Problem) -> Answer:
        """Return the answer to what is no whole request."""
        return self._counted(b"other", _refusal(problem, self._request_id(None)))

    async def _later(self, path: bytes, coming: Awaitable[bytes], request_id: bytes) -> Answer:
        try:
            return self._counted(path, Answer(200, JSON, await coming, request_id))
        except Exception as error:
            return self._counted(path, _refusal(error, request_id))

    def _counted(self, path: bytes, answer: Answer) -> Answer:
        self.metrics.answers[path if path in self._paths else b"other", answer.status] += 1
        return answer

    def _got(self, method: bytes, path: bytes) -> tuple[bytes, bytes]:
        """Return kind and body of what is asked for."""
        if method == b"GET" and path in self._gets:
            kind, get = self._gets[path]
            return kind, get()
        told = path.decode("latin-1")[:200]
        if path not in self._paths:
            raise Problem(404, f"nothing is at {told}; /docs lists what there is.")
        allowed = b"POST" if path in self._posts else b"GET"
        detail = f"{method.decode('latin-1')} is not for {told}; use {allowed.decode()}."
        raise Problem(405, detail, ((b"allow", allowed),))

    def _admit(self, headers: Mapping[bytes, bytes], client: str) -> None:
        """Let the owner in, and no one else."""
        token = self.settings.admin_token
        if token is None or not (self.settings.admin_anywhere or client in _LOCAL):
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
            self._compared(self.shadow, point, values, decision)
        self.metrics.decided(decision.reason, perf_counter() - begin)
        return decision

    def _compared(
        self, shadow: DecisionEngine, point: Any, values: tuple[Any, ...], decision: Decision
    ) -> None:
        """Let the shadow decide too; where it cannot, as by other features, that is counted."""
        told = dict(zip(self.engine.features, values, strict=True))
        told |= {"page": point.page, "position": point.position}
        if point.user_id is not None:
            told["user_id"] = point.user_id
        try:
            other = shadow.decide(told, session=point.session_id, state=point.state)
        except InputError:
            self.metrics.shadow_failures += 1
        else:
            self.metrics.shadow_differs += other.arm != decision.arm

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
        return self.metrics.exposition(self.logs, self.archiver, self.quota, self.pacer)

    def _ready(self) -> bytes:
        if self.draining:
            raise Problem(503, "the service is about to stop.")
        return self._encode({"ready": True, "plan_version": self.engine.plan_version})

    def _request_id(self, given: bytes | None) -> bytes:
        """Return the caller's id where it is a plain one, else one of our own."""
        if given is not None and len(given) <= 100 and given.replace(b"-", b"").isalnum():
            return given
        return b"%s-%x" % (self._boot, next(self._number))


def _path(url: bytes) -> bytes:
    """Return the path of a target that is more than a path."""
    try:
        return httptools.parse_url(url).path or b"/"
    except httptools.HttpParserInvalidURLError:
        raise Problem(400, "the request's target is no URL; ask for a path.") from None


def _refusal(error: Exception, request_id: bytes) -> Answer:
    """Return what is told of what went wrong."""
    problem = error if isinstance(error, Problem) else _problem(error)
    if problem.status == 500:
        _log.error("request %s failed", request_id.decode(), exc_info=error)
    body = problem.body(request_id.decode())
    return Answer(problem.status, PROBLEM, body, request_id, problem.headers)


def _problem(error: Exception) -> Problem:
    match error:
        case msgspec.ValidationError():
            where = "; /v1/model tells the features" if ".features" in str(error) else ""
            return Problem(422, f"the body does not fit: {error}{where}.")
        case msgspec.DecodeError() | UnicodeDecodeError():
            return Problem(400, f"the body is no JSON: {error}.")
        case InputError():
            return Problem(422, str(error))
    return Problem(500, "the service failed on this request; tell its owner.")
