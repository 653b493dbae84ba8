"""A token bucket in Redis: one script that refills, takes back and grants by Redis' own clock."""

import time
from collections.abc import Callable

from policy.rates import Rates
from policy.redis_client import RedisClient, connected, named

__all__ = ["BURST_PERIODS", "RedisBucket"]

LEASE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
local wanted, back, returns = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local windows = #ARGV - 6
local seconds = 86400 / windows
local function rate(t) return tonumber(ARGV[7 + math.floor(t / seconds) % windows]) end
local burst = math.max(tonumber(ARGV[6]), ARGV[4] * rate(now))
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
        self._client = (connect or connected)(url, 2 * period)
        self._ahead = time.time() - time.monotonic()

    @property
    def now(self) -> float:
        """Redis' time, as far as it is known; this machine's until it is."""
        return self._ahead + time.monotonic()

    def lease(
        self, wanted: float, back: float, rates: Rates, dearest: float = 1.0, *, returns: bool
    ) -> float:
        """Hand back what is left of a lease, and return what is granted of the next.

        Parameters
        ----------
        wanted, back : requests
        rates : that the bucket is refilled by
        dearest : most that one request may cost; the bucket holds as much
        returns : whether the instance went on alone meanwhile: the bucket is then in debt

        Raises
        ------
        Gone, Unclear
            Redis did not grant; the message is a name for the reason.
        """
        from redis.exceptions import RedisError

        spans = (BURST_PERIODS * self._period, DEBT_PERIODS * self._period)
        told = (wanted, back, int(returns), *spans, dearest, *rates.by_window)
        try:
            granted, now = self._client.eval(LEASE, 1, self._key, *told)
        except (RedisError, OSError) as error:
            raise named(error) from error
        self._ahead = float(now) - time.monotonic()
        return float(granted)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()
