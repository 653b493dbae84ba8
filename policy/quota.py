"""SharedQuota: one QPS budget for many instances, by leases from a token bucket in Redis.

The bucket's tokens grow at the budget's rate, by Redis' own clock, which also decides the window of
the day. An instance leases what it will need in the next instant, decides from that without a
call, and hands back what is left:

    granted_total(t) <= integral of rate to t        whatever instances, clocks and crashes do

A bucket that is new, or that an instance comes back to after it went on alone, is in debt for what
instances may still hold. Where Redis refuses, by its connection or by an error (a replica that may
not be written to, a server that loads or is out of memory), it is gone for all: each instance goes
on with its share of the rate, ``rate / instances``. Silence, or a refusal of this instance's
credentials, may mean that it alone is cut off: then it spends what it holds, and no more.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable

from policy.rates import Rates
from policy.redis_bucket import BURST_PERIODS, RedisBucket
from policy.redis_client import Gone, RedisClient, Unclear
from uplift.errors import InputError

__all__ = ["SharedQuota"]

GROWTH = 1.3
"""So many times what was asked for in the last period is leased for the next."""


class SharedQuota:
    """The cap of one instance among several, shared through Redis.

    Parameters
    ----------
    url : of Redis, such as ``redis://127.0.0.1:6379/0``
    rate : requests per second of all instances together, or by window of the day
    instances : number of instances that share the rate; for when Redis is gone
    key : of the bucket
    period : seconds between two leases
    dearest : most that one request may cost
    connect : makes the client; `redis.Redis.from_url` with short timeouts by default

    Attributes
    ----------
    leases : that Redis granted
    failures : leases that failed, by what Redis or the network said

    Raises
    ------
    InputError
        Numbers out of range, or the package redis is not installed.
    """

    def __init__(
        self,
        url: str,
        rate: float | Rates,
        instances: int,
        *,
        key: str = "request-uplift:quota",
        period: float = 0.05,
        dearest: float = 1.0,
        connect: Callable[[str, float], RedisClient] | None = None,
    ) -> None:
        if not (instances >= 1 and 0 < period < float("inf")):
            raise InputError(
                f"{instances} instances, a period of {period} s; expected at least 1 instance, a "
                "period above 0."
            )
        self._instances, self._period, self._dearest = instances, period, max(1.0, dearest)
        self._rates, self._lock, self._stop = Rates.of(rate), threading.Lock(), threading.Event()
        self._held, self._asked = 0.0, 0.0
        self._bucket = RedisBucket(url, key, period, connect)
        self._refused_since: float | None = None
        self.leases, self.failures = 0, Counter[str]()
        self._thread = threading.Thread(target=self._run, name="shared-quota", daemon=True)
        self._thread.start()

    def try_take(self, cost: float = 1.0) -> bool:
        """Take the cost of one request if this instance holds it; never waits, never calls."""
        if not cost >= 0:
            raise InputError(f"a request costs {cost}, expected 0 or more; correct the cost.")
        with self._lock:
            self._asked += cost
            if cost > self._held:
                return False
            self._held -= cost
            return True

    def give_back(self, cost: float) -> None:
        """Put back what was taken and not spent."""
        with self._lock:
            self._held += cost
            self._asked -= cost

    @property
    def rate(self) -> float:
        """Requests per second of all instances together, now."""
        return self._rates.at(self._bucket.now)

    def set_rate(self, rate: float | Rates, dearest: float = 1.0) -> None:
        """Refill at another rate from now on, as when another plan comes into service.

        `dearest` only grows: decisions of the plan before may be under way.
        """
        self._rates, self._dearest = Rates.of(rate), max(self._dearest, dearest)

    @property
    def is_alone(self) -> bool:
        """Whether Redis is gone and the instance goes on with its share."""
        return self._refused_since is not None

    def close(self) -> None:
        """Hand back what is held, and stop."""
        self._stop.set()
        self._thread.join()
        try:
            with self._lock:
                back, self._held = self._held, 0.0
            if not self.is_alone:
                self._bucket.lease(0.0, back, self._rates, self._dearest, returns=False)
        except (Gone, Unclear):
            pass
        self._bucket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            begin = time.monotonic()
            self._renew(begin)
            self._stop.wait(max(0.0, self._period - (time.monotonic() - begin)))

    def _renew(self, now: float) -> None:
        """Hand back what the last period left, and lease for the next."""
        with self._lock:
            asked, self._asked = self._asked, 0.0
            back = 0.0 if self.is_alone else self._held
            self._held -= back
        try:
            wanted, told = GROWTH * asked + self._dearest, (self._rates, self._dearest)
            granted = self._bucket.lease(wanted, back, *told, returns=self.is_alone)
        except Gone as error:
            self.failures[str(error)] += 1
            self._go_on_alone(now)
            return
        except Unclear as error:  # what was to be handed back may be with Redis already
            self.failures[str(error)] += 1
            return
        with self._lock:
            self._held = granted if self.is_alone else self._held + granted
        self._refused_since = None
        self.leases += 1

    def _go_on_alone(self, now: float) -> None:
        """Spend this instance's share from the first refusal on."""
        since = self._refused_since
        if since is not None:
            share = self.rate / self._instances
            most = max(self._dearest, BURST_PERIODS * self._period * share)
            with self._lock:
                self._held = min(most, self._held + share * (now - since))
        else:
            with self._lock:
                self._held = 0.0
        self._refused_since = now
