"""A token bucket in Redis: one script that refills, takes back and grants by Redis' own clock."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from policy.rates import Rates
from uplift.errors import InputError

__all__ = ["BURST_PERIODS", "Gone", "RedisBucket", "RedisClient", "Unclear"]

LEASE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
local wanted, back, returns = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local windows = #ARGV - 5
local seconds = 86400 / windows
local function rate(t) return tonumber(ARGV[6 + math.floor(t / seconds) % windows]) end
local burst = math.max(1, ARGV[4] * rate(now))
local debt = ARGV[5] * math.max(rate(now), rate(now - ARGV[5]))
local tokens, at = -debt, now
local known = redis.call('HMGET', KEYS[1], 'tokens', 'at')
if known[1] then
  tokens, at = tonumber(known[1]), math.max(tonumber(known[2]), now - 86400)
end
if returns then
  tokens = math.min(tokens, -debt)
end
tokens = tokens + back
while at < now do
  local till = math.min(now, (math.floor(at / seconds) + 1) * seconds)
  if till <= at then till = now end  -- the window's end, rounded to its begin
  tokens = math.min(burst, tokens + rate(at) * (till - at))
  at = till
end
tokens = math.min(burst, tokens)
local granted = math.max(0, math.min(wanted, tokens))
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - granted), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], 86400)
return {tostring(granted), string.format('%.6f', now)}
"""
"""Refill by the server's clock, take back, grant: one step that nothing comes between."""

BURST_PERIODS = 2.0
DEBT_PERIODS = 2.0
"""What a new bucket owes: what instances may hold, or a jump of Redis' clock may add, at most."""


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


class RedisBucket:
    """The bucket that instances lease from.

    Parameters
    ----------
    url, key : of Redis, and of the bucket there
    period : seconds between two leases of an instance; bursts and debts are as large, and no call
        takes longer than two of them
    connect : makes the client; `redis.Redis.from_url` by default
    """

    def __init__(
        self,
        url: str,
        key: str,
        period: float,
        connect: Callable[[str, float], RedisClient] | None = None,
    ) -> None:
        self._key, self._period = key, period
        self._client = (connect or _connected)(url, 2 * period)
        self._ahead = time.time() - time.monotonic()

    @property
    def now(self) -> float:
        """Redis' time, as far as it is known; this machine's until it is."""
        return self._ahead + time.monotonic()

    def lease(self, wanted: float, back: float, rates: Rates, *, returns: bool) -> float:
        """Hand back what is left of a lease, and return what is granted of the next.

        Parameters
        ----------
        wanted, back : requests
        rates : that the bucket is refilled by
        returns : whether the instance went on alone meanwhile: the bucket is then in debt

        Raises
        ------
        Gone, Unclear
            Redis did not grant; the message is a name for the reason.
        """
        from redis.exceptions import RedisError

        spans = (BURST_PERIODS * self._period, DEBT_PERIODS * self._period)
        told = (wanted, back, int(returns), *spans, *rates.by_window)
        try:
            granted, now = self._client.eval(LEASE, 1, self._key, *told)
        except (RedisError, OSError) as error:
            raise _named(error) from error
        self._ahead = float(now) - time.monotonic()
        return float(granted)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


def _connected(url: str, timeout: float) -> RedisClient:
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise InputError(
            "a shared quota needs the package redis; install it: "
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


def _named(error: Exception) -> Gone | Unclear:
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
