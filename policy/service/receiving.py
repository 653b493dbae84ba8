"""Bodies of requests: neither too large nor too slow."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias

from policy.service.problems import Problem

__all__ = ["Receive", "read_body"]

Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]


def read_body(told: bytes, receive: Receive, most: int, seconds: float) -> bytes | Awaitable[bytes]:
    """Return the body of a request, or what to await it from.

    Most bodies come with their headers: they are there at the first step, and no timer is set.

    Parameters
    ----------
    told : the request's content-length
    receive : of ASGI
    most : bytes
    seconds : within which all of it must have come

    Raises
    ------
    Problem
        413 where it is larger, 408 where it is later, 400 where the client has left.
    """
    if not told.isdigit() or int(told) > most:
        raise Problem(413, f"the body has {told.decode('latin-1')[:20]} bytes; at most {most}.")
    coming: Any = receive()
    try:
        waited = coming.send(None)
    except StopIteration as there:
        body, more = _part(there.value)
        return _in_time(_more(body, receive, most), most, seconds) if more else _bounded(body, most)
    return _in_time(_late(waited, coming, receive, most), most, seconds)


def _bounded(body: bytes, most: int) -> bytes:
    if len(body) > most:
        raise Problem(413, f"the body has more than {most} bytes.")
    return body


async def _in_time(reading: Awaitable[bytes], most: int, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return _bounded(await reading, most)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {seconds:g} s.") from None


async def _late(waited: Any, coming: Any, receive: Receive, most: int) -> bytes:
    body, more = _part(await _resumed(waited, coming))
    return await _more(body, receive, most) if more else body


async def _more(body: bytes, receive: Receive, most: int) -> bytes:
    """Return what has come and what is still to come, or enough of it to be too much."""
    parts, length, more = [body], len(body), True
    while more and length <= most:
        part, more = _part(await receive())
        parts.append(part)
        length += len(part)
    return b"".join(parts)


def _part(message: dict[str, Any]) -> tuple[bytes, bool]:
    """Return a part of a body, and whether there is more."""
    if message["type"] == "http.disconnect":
        raise Problem(400, "the client left before its body was there.")
    return message.get("body", b""), message.get("more_body", False)


@types.coroutine
def _resumed(waited: Any, coming: Any) -> Generator[Any, Any, dict[str, Any]]:
    """Go on with a coroutine that has been started, from what it waits for."""
    try:
        yield waited
    except BaseException:
        coming.close()
        raise
    message: dict[str, Any] = yield from coming
    return message
