"""One connection: HTTP/1.1 by httptools, one answer a request, in their order, in one write.

An answer that is there at once, as a decision is, is written before the next request is read: there
is no task, no queue and no timer for it. Whatever a client does is bounded: head and body in bytes
and seconds, and what it does not read stops what is read of it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

import httptools

from policy.service.answers import Answer
from policy.service.problems import Problem

__all__ = ["Connection", "Handler", "House"]

MOST_HEAD = 1 << 16
"""Bytes of a request's line and headers."""

IDLE_SECONDS = 30.0
LINGER_SECONDS = 1.0
"""So long a client that is refused may go on sending, and still read why."""

_Request: TypeAlias = tuple[bytes, bytes, dict[bytes, bytes], bytes, bool]
"""Method, target, headers, body, and whether the connection ends with its answer."""

_KEPT = frozenset((b"authorization", b"content-length", b"expect", b"x-request-id"))


class Handler(Protocol):
    """What answers."""

    def answer(
        self, method: bytes, url: bytes, headers: dict[bytes, bytes], body: bytes, client: str
    ) -> Answer | Awaitable[Answer]:
        """Return the answer to a request, or what to await it from; never raise."""

    def refuse(self, problem: Problem) -> Answer:
        """Return the answer to what is no whole request."""


@dataclass
class House:
    """What all connections of a server share.

    Attributes
    ----------
    handler : answers
    most_bytes : of a body
    request_seconds : within which all of a request must have come
    most_connections : at once; more are turned away with 429
    draining : whether each answer is its connection's last
    connections : that are open
    """

    handler: Handler
    most_bytes: int
    request_seconds: float
    most_connections: int
    draining: bool = False
    connections: set["Connection"] = field(default_factory=set)


class Connection(asyncio.Protocol):
    """A client's connection; the protocol of asyncio, and the callbacks of httptools.

    Parameters
    ----------
    house : whose connection it is
    """

    _transport: asyncio.Transport
    _idle: asyncio.TimerHandle

    def __init__(self, house: House) -> None:
        self._house, self._handler = house, house.handler
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._client, self._full = "", False  # full: of answers that the client does not read
        self._over = False  # whatever comes now is thrown away
        self._begun, self._head_done = False, False
        self._received = 0  # bytes since the last whole request
        self._url, self._headers, self._body = b"", dict[bytes, bytes](), b""
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[_Request] | None = None  # behind an answer that is not there yet
        self._task: asyncio.Task[None] | None = None
        self._heard = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a client in, or turn it away."""
        self._transport = cast(asyncio.Transport, transport)
        self._client = (transport.get_extra_info("peername") or ("",))[0]
        full = len(self._house.connections) >= self._house.most_connections
        self._house.connections.add(self)
        self._idle = self._loop.call_later(IDLE_SECONDS, self._sweep)
        if full:
            retry = ((b"retry-after", b"1"),)
            self._refuse(Problem(429, "too many callers at once; try again in a second.", retry))

    def connection_lost(self, error: Exception | None) -> None:
        """Forget a client."""
        self._over = True
        self._house.connections.discard(self)
        self._idle.cancel()  # it would hold what is over for as long as an idle caller has
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """Read what has come, and answer what is whole of it."""
        if self._over:
            return
        self._heard, self._received = self._loop.time(), self._received + len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # answered as any request, and the last of this client
            pass
        except httptools.HttpParserCallbackError as error:
            problem = error.__context__
            if not isinstance(problem, Problem):
                raise
            self._refuse(problem)
        except httptools.HttpParserError as error:
            self._refuse(Problem(400, f"this is no HTTP/1.1 ({error})."))
        if self._begun and not self._full and self._waiting is None:
            self._is_late()

    def pause_writing(self) -> None:
        """Read no more of a client that does not read its answers."""
        self._full = True
        self._pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        self._resume()

    def drain(self) -> None:
        """Close after the next answer; at once where there is nothing to answer."""
        if not self._begun and self._waiting is None and not self._over:
            self._transport.close()

    def abort(self) -> None:
        """Close, whatever is still to be answered."""
        self._transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._begun, self._head_done = True, False
        self._url, self._headers, self._body = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that anyone here reads."""
        name = name.lower()
        if name in _KEPT:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        """Refuse a body that is too large before it comes."""
        self._head_done = True
        headers, most = self._headers, self._house.most_bytes
        told = headers.get(b"content-length")
        if told is not None and int(told) > most:
            raise Problem(413, f"the body has {told.decode()[:20]} bytes; at most {most}.")
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body = self._body + body if self._body else body
        if len(self._body) > self._house.most_bytes:
            raise Problem(413, f"the body has more than {self._house.most_bytes} bytes.")

    def on_message_complete(self) -> None:
        """Answer, or wait until what came before is answered."""
        self._begun, self._received = False, 0
        if self._timer is not None:
            self._stop_timer()
        if self._over:
            return
        parser = self._parser
        closes = not parser.should_keep_alive() or parser.should_upgrade()
        closes = closes or parser.get_http_version() != "1.1"
        request = parser.get_method(), self._url, self._headers, self._body, closes
        if self._waiting is None:
            self._answer(request)
        else:
            self._waiting.append(request)

    def _answer(self, request: _Request) -> None:
        method, url, headers, body, closes = request
        answer = self._handler.answer(method, url, headers, body, self._client)
        if isinstance(answer, Answer):
            self._write(answer, method, closes)
        else:
            self._waiting = deque()
            self._pause()
            self._task = self._loop.create_task(self._later(answer, method, closes))

    async def _later(self, coming: Awaitable[Answer], method: bytes, closes: bool) -> None:
        """Answer once the answer is there; then what has come meanwhile."""
        answer = await coming
        waiting, self._waiting = self._waiting or deque(), None
        self._write(answer, method, closes)
        while waiting and self._waiting is None and not self._over:
            self._answer(waiting.popleft())
        if self._waiting is not None:
            self._waiting.extend(waiting)
        self._resume()

    def _pause(self) -> None:
        """Read no more for now; what has come of a request has all the time."""
        self._stop_timer()
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._full or self._waiting is not None or self._transport.is_closing():
            return
        self._transport.resume_reading()
        if self._begun:
            self._is_late()

    def _write(self, answer: Answer, method: bytes, closes: bool) -> None:
        closes = closes or self._house.draining
        self._transport.write(answer.wire(closes=closes, bodiless=method == b"HEAD"))
        if closes:
            self._end()

    def _refuse(self, problem: Problem) -> None:
        """Answer what is no whole request, and hear no more of this client."""
        if self._over:
            return
        self._transport.write(self._handler.refuse(problem).wire(closes=True))
        self._end(linger=LINGER_SECONDS)

    def _end(self, linger: float = 0.0) -> None:
        """Close once all is written.

        A client that is cut off while it sends may lose the answer: so that it can read why it is
        refused, what it goes on sending is read and thrown away for a while.
        """
        self._over, self._begun = True, False
        self._stop_timer()
        if linger and self._transport.can_write_eof():
            self._transport.write_eof()
            self._loop.call_later(linger, self._transport.close)
        else:
            self._transport.close()

    def _is_late(self) -> None:
        """Give what has come of a request its time, and its head its size."""
        if not self._head_done and self._received > MOST_HEAD:
            self._refuse(Problem(431, f"the head has more than {MOST_HEAD} bytes; send less."))
        elif self._timer is None:
            self._timer = self._loop.call_later(self._house.request_seconds, self._timed_out)

    def _timed_out(self) -> None:
        seconds = self._house.request_seconds
        self._refuse(Problem(408, f"the request did not come within {seconds:g} s."))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        """Close a connection that has been idle; look again later at one that has not."""
        if self._over:
            return
        idle = self._loop.time() - self._heard
        if idle >= IDLE_SECONDS and self._waiting is None:
            self.abort() if self._transport.get_write_buffer_size() else self._end()
        else:
            self._idle = self._loop.call_later(max(IDLE_SECONDS - idle, 1.0), self._sweep)
