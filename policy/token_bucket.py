"""TokenBucket: the hard cap on requests, whatever the price lets through."""

import time
from collections.abc import Callable
from threading import Lock

import numpy as np

from policy.rates import Rates
from uplift.errors import InputError

__all__ = ["TokenBucket"]

BURST_SECONDS = 0.1


class TokenBucket:
    """At most ``rate * t + burst`` requests in any stretch of t seconds.

    ``tokens(t + s) = min(burst, tokens(t) + rate * s)``; a request takes its cost or is refused.

    The bucket starts full. What a full bucket does not take in is lost: a rate cannot be saved up
    beyond `burst`. Threads may share a bucket; a decision takes one uncontended lock.

    Parameters
    ----------
    rate : requests per second, >= 0, or by window of the day
    burst : most requests at one moment, > 0; by default a tenth of a second's worth of the highest
        rate, which evens out a feed, and at least 1 and `dearest`
    clock : monotone seconds, since 1970 UTC where the rate differs by window; read inside the lock,
        once a decision
    dearest : most that one request may cost, where no burst is given

    Raises
    ------
    InputError
        Rate, burst or cost out of range, or a clock that goes back.
    """

    def __init__(
        self,
        rate: float | Rates,
        burst: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        dearest: float = 1.0,
    ) -> None:
        if burst is not None and not 0 < burst < np.inf:
            raise InputError(
                f"the burst is {burst} requests, expected a finite number above 0; give at least "
                "the cost of one request."
            )
        self._rates, self._given = Rates.of(rate), burst
        self._dearest = max(1.0, dearest)
        self.burst = self._even(self._rates)
        self._clock = clock
        self._lock = Lock()
        self._tokens = self.burst
        self._at = clock()

    @property
    def rate(self) -> float:
        """Requests per second, as of the last look at the clock."""
        return self._rates.at(self._at)

    def set_rate(self, rate: float | Rates, dearest: float = 1.0) -> None:
        """Refill at another rate from now on, as when another plan comes into service.

        `dearest` only grows: decisions of the plan before may be under way.
        """
        rates = Rates.of(rate)
        with self._lock:
            self._tokens = self._refilled()
            self._dearest = max(self._dearest, dearest)
            self._rates, self.burst = rates, self._even(rates)

    def try_take(self, cost: float = 1.0) -> bool:
        """Take the cost of one request if the bucket holds it; never waits."""
        if not 0 <= cost <= self.burst:
            raise InputError(
                f"a request costs {cost}, expected 0 to the burst of {self.burst:g}; correct the "
                "cost or allow a larger burst."
            )
        with self._lock:
            tokens = self._refilled()
            taken = cost <= tokens
            self._tokens = tokens - cost if taken else tokens
        return taken

    def give_back(self, cost: float) -> None:
        """Put back what was taken and not spent; what the bucket cannot hold is lost."""
        with self._lock:
            self._tokens = min(self.burst, self._refilled() + cost)

    def close(self) -> None:
        """Let go of nothing: the bucket is this process' own."""

    def take_up_to(self, count: int) -> int:
        """Take as many of `count` requests of cost 1 as the bucket holds, and return how many."""
        if count < 0:
            raise InputError(f"{count} requests to take, expected 0 or more; correct the count.")
        with self._lock:
            tokens = self._refilled()
            taken = min(int(count), int(tokens))
            self._tokens = tokens - taken
        return taken

    def _even(self, rates: Rates) -> float:
        if self._given is not None:
            return float(self._given)
        return max(self._dearest, BURST_SECONDS * max(rates.by_window))

    def _refilled(self) -> float:
        now = self._clock()
        if not now >= self._at:
            raise InputError(
                f"the bucket's clock went from {self._at} to {now}, expected it never to go back; "
                "give it a monotone clock such as time.monotonic."
            )
        tokens = min(self.burst, self._tokens + self._rates.between(self._at, now))
        self._at = now
        return tokens
