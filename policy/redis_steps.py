"""The steps of a fleet in Redis: each instance adds its own counts once, all read the same totals.

    total(step) = sum of what instances told of it until end(step) + GRACE_STEPS

Redis' own clock numbers the steps and closes them: what comes later is refused, what is open is not
read, so a total never changes once it is read. An instance tells a step once, however often it has
to send it. Totals are kept back where some of a step may be missing: after Redis was away or came
back empty, and after its clock jumped: then all begins anew, under other keys.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import nan
from typing import Any, NamedTuple, Protocol

from policy.redis_client import RedisClient, connected, named
from policy.step_counts import StepCounts

__all__ = ["Answer", "OwnSteps", "RedisSteps", "Reports"]

GRACE_STEPS = 2
"""From the end of a step until it is closed: one try to tell it, and one more."""
UNSURE_STEPS = 2
"""From when Redis came back, or its clock jumped, until all instances count by it again."""
MOST_STEPS = 30
"""Steps that are read at once, as by an instance that begins; the gains' curve forgets as many."""

MOST_WAIT = 0.5
"""Seconds that a call takes at most; a quarter of a step where that is less."""
_SUMS = ("points", "paid", "requests")

EXCHANGE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
local seconds, instance, after = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local grace, unsure, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local known = redis.call('HMGET', KEYS[1], 'since', 'last')
local since, last = tonumber(known[1] or ''), tonumber(known[2] or '')
if not since or not last or now < last or now - last > grace * seconds then
  since = now
end
local function exact(t) return string.format('%.6f', t) end
redis.call('HSET', KEYS[1], 'since', exact(since), 'last', exact(now))
redis.call('EXPIRE', KEYS[1], 86400)
local function key(step)
  return KEYS[1] .. ':' .. exact(since) .. ':' .. string.format('%d', step)
end

local refused, i = 0, 7
while i < #ARGV do
  local step, pairs = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  i = i + 2
  if now >= (step + 1 + grace) * seconds or now < (step - 1) * seconds then
    refused = refused + 1
  elseif redis.call('HSETNX', key(step), 'of ' .. instance, 1) == 1 then
    for j = i, i + 2 * pairs - 1, 2 do
      redis.call('HINCRBYFLOAT', key(step), ARGV[j], ARGV[j + 1])
    end
    redis.call('EXPIRE', key(step), math.ceil((most + grace + 2) * seconds))
  end
  i = i + 2 * pairs
end

local closed = math.floor(now / seconds) - 1 - grace
local first = math.max(after + 1, closed - most + 1, math.ceil(since / seconds) + unsure)
local reports = {}
for step = first, closed do
  local total = redis.call('HGETALL', key(step))
  if #total > 0 then
    reports[#reports + 1] = {step, total}
  end
end
return {exact(now), refused, reports}
"""
"""Take what an instance tells, return the closed steps: one script that nothing comes between."""


class Answer(NamedTuple):
    """What comes back for what was told.

    now : seconds since 1970 by the clock of all; None where each has its own
    late : told steps that were refused
    reports : totals of the steps that are over, in their order
    """

    now: float | None
    late: int
    reports: list[StepCounts]


class Reports(Protocol):
    """Where instances tell their steps and read the totals of all."""

    def exchange(self, told: Sequence[StepCounts], after: int) -> Answer:
        """Tell steps that are over; read the totals of steps after a number."""

    def close(self) -> None:
        """Let go of what is held."""


class OwnSteps:
    """The reports of a process that is alone: its own steps."""

    def exchange(self, told: Sequence[StepCounts], after: int) -> Answer:
        """Give back what is told."""
        return Answer(None, 0, [step for step in told if step.step > after])

    def close(self) -> None:
        """Let go of nothing."""


class RedisSteps:
    """The reports of all instances.

    Parameters
    ----------
    url, key : of Redis, and of the steps there
    instance : name that no other instance has
    step_seconds : length of a step, the same for all; steps of another length are kept apart
    connect : makes the client; `redis.Redis.from_url` by default
    """

    def __init__(
        self,
        url: str,
        key: str,
        instance: str,
        step_seconds: float,
        connect: Callable[[str, float], RedisClient] | None = None,
    ) -> None:
        self._key = f"{{{key}:{step_seconds:g}}}"  # braces: one slot of a cluster for all steps
        self._instance, self._seconds = instance, step_seconds
        self._client = (connect or connected)(url, min(MOST_WAIT, step_seconds / 4))

    def exchange(self, told: Sequence[StepCounts], after: int) -> Answer:
        """Tell steps that are over; read the totals of steps after a number.

        Raises
        ------
        Gone, Unclear
            Redis did not answer, or not to what was asked; the message is a name for the reason.
        """
        from redis.exceptions import RedisError

        limits = (GRACE_STEPS, UNSURE_STEPS, MOST_STEPS)
        steps = chain.from_iterable(_packed(step) for step in told)
        asked = (self._seconds, self._instance, after, *limits, *steps)
        try:
            now, late, reports = self._client.eval(EXCHANGE, 1, self._key, *asked)
        except (RedisError, OSError) as error:
            raise named(error) from error
        return Answer(float(now), int(late), [_total(*report) for report in reports])

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


def _packed(counts: StepCounts) -> Iterator[float | str]:
    yield counts.step
    yield 3 + len(counts.gains)
    yield from ("points", counts.points, "paid", counts.paid, "requests", counts.requests)
    yield from chain.from_iterable(counts.gains.items())


def _total(step: int, told: Sequence[Any]) -> StepCounts:
    """Read the total of a step from the fields and values of its hash; NaN points if it is none."""
    total = StepCounts(int(step))
    try:
        _fill(total, told)
    except ValueError:
        total.points = nan
    return total


def _fill(total: StepCounts, told: Sequence[Any]) -> None:
    for field, value in zip(told[::2], told[1::2], strict=True):
        name = field.decode() if isinstance(field, bytes) else field
        if name in _SUMS:
            setattr(total, name, float(value))
        elif not name.startswith("of "):
            total.gains[int(name)] = float(value)
