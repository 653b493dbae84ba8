"""The process around the service: a port, signals, a drain at the end."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvloop

from policy.service.app import Service
from policy.service.connection import Connection, House
from uplift.errors import InputError

__all__ = ["serve", "token_of"]

DRAIN_SECONDS = 10.0
GRACE_SECONDS = 0.2
"""So long a caller may still ask on a connection that it holds open, when the service stops."""

BACKLOG = 2048


def serve(
    service: Service,
    host: str,
    port: int,
    *,
    ready: Callable[[str, int], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then answer what has come, and close the logs.

    Parameters
    ----------
    service : the application
    host, port : where to listen; port 0 takes a free one
    ready : called with the address once requests are taken

    Raises
    ------
    InputError
        The port is in use, or the address is none of this machine's.
    """
    listening = _bound(host, port)
    gc.collect()
    gc.freeze()  # a model and a plan are no garbage: collections need not look at them again
    try:
        uvloop.run(_served(service, listening, ready))
    finally:
        service.close()


async def _served(
    service: Service, listening: socket.socket, ready: Callable[[str, int], None] | None
) -> None:
    """Answer until a signal says stop."""
    loop, stop, settings = asyncio.get_running_loop(), asyncio.Event(), service.settings
    house = House(service, settings.most_bytes, settings.request_seconds, settings.most_callers)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Connection(house), sock=listening, backlog=BACKLOG)
    if ready is not None:
        ready(*listening.getsockname()[:2])
    await stop.wait()
    service.draining = house.draining = True
    server.close()
    await _drained(house)


async def _drained(house: House) -> None:
    """Answer what has come, then close; what takes too long is cut off."""
    await asyncio.sleep(GRACE_SECONDS)
    for connection in list(house.connections):
        connection.drain()
    loop = asyncio.get_running_loop()
    end = loop.time() + DRAIN_SECONDS
    while house.connections and loop.time() < end:
        await asyncio.sleep(0.02)
    for connection in list(house.connections):
        connection.abort()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on {host}:{port} ({error}); choose another port, or stop what uses it."
        ) from error
    return listening


def token_of(path: Path | None) -> str | None:
    """Read the admin token from a file; None where there is none.

    Raises
    ------
    InputError
        The file cannot be read, or the token is shorter than 16 characters.
    """
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise InputError(f"the token file {str(path)!r} cannot be read ({error}).") from error
    if len(token) < 16:
        raise InputError("the admin token is shorter than 16 characters; choose a longer one.")
    return token
