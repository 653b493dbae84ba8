"""Redis for what instances share: a client with short timeouts, and its failures by name."""

from typing import Any, Protocol

from uplift.errors import InputError

__all__ = ["Gone", "RedisClient", "Unclear", "connected", "named"]


class RedisClient(Protocol):
    """What is used of `redis.Redis`."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script."""

    def close(self) -> None:
        """Let go of connections."""


class Gone(Exception):
    """Redis refuses, whoever asks."""


class Unclear(Exception):
    """Redis is slow or silent, or refuses this instance: the others may have it still."""


def connected(url: str, timeout: float) -> RedisClient:
    """Return a client whose calls take no longer than the timeout, and are made once.

    Raises
    ------
    InputError
        The package redis is not installed, or the address is none.
    """
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise InputError(
            "sharing through Redis needs the package redis; install it: "
            "pip install 'request-uplift[redis]'."
        ) from error
    limits = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    try:
        client: RedisClient = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **limits)
    except ValueError as error:
        raise InputError(
            f"{url!r} is no address of Redis ({error}); expected such as redis://127.0.0.1:6379/0."
        ) from error
    return client


def named(error: Exception) -> Gone | Unclear:
    """Tell what is gone for all from what may be so for this instance alone, by name."""
    from redis import exceptions

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ConnectionRefusedError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None or "refused" in str(error).lower():
        return Gone("refused")
    word = str(error).partition(" ")[0]
    name = word if word.isalpha() and word.isupper() else type(error).__name__
    of_this_instance = (
        exceptions.AuthenticationError,
        exceptions.AuthenticationWrongNumberOfArgsError,
        exceptions.NoPermissionError,
    )
    said = (exceptions.ResponseError, exceptions.BusyLoadingError)
    if isinstance(error, said) and not isinstance(error, of_this_instance):
        return Gone(name)
    return Unclear(name)
