"""The process around the service: a port, signals, a drain at the end."""

import gc
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from policy.service.app import Service
from uplift.errors import InputError

__all__ = ["serve", "token_of"]

DRAIN_SECONDS = 10
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
    config = uvicorn.Config(
        service,
        http="httptools",
        loop="auto",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # who calls is who connects
    )
    server = _Server(config, service)
    gc.collect()
    gc.freeze()  # a model and a plan are no garbage: collections need not look at them again
    if ready is not None:
        ready(*listening.getsockname()[:2])
    try:
        server.run(sockets=[listening])
    finally:
        service.close()


class _Server(uvicorn.Server):
    """A server whose service knows when it is about to stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more from those who ask whether it is ready."""
        self._service.draining = True
        super().handle_exit(sig, frame)


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
