"""TokenBucket: the hard cap on requests, whatever the price lets through."""

import time
from collections.abc import Callable
from threading import Lock

import numpy as np

from uplift.errors import InputError

__all__ = ["TokenBucket"]


class TokenBucket:
    """At most ``rate * t + burst`` requests in any stretch of t seconds.

    ``tokens(t + s) = min(burst, tokens(t) + rate * s)``; a request takes its cost or is refused.

    The bucket starts full. What a full bucket does not take in is lost: a rate cannot be saved up
    beyond `burst`. Threads may share a bucket; a decision takes one uncontended lock.

    Parameters
    ----------
    rate : requests per second, >= 0
    burst : most requests at one moment, > 0; a tenth of a second's worth evens out a feed
    clock : monotone seconds; read inside the lock, once a decision

    Raises
    ------
    InputError
        Rate, burst or cost out of range, or a clock that goes back.
    """

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not 0 < burst < np.inf:
            raise InputError(
                f"the burst is {burst} requests, expected a finite number above 0; give at least "
                "the cost of one request."
            )
        self._rate = _checked_rate(rate)
        self.burst = float(burst)
        self._clock = clock
        self._lock = Lock()
        self._tokens = self.burst
        self._at = clock()

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self._rate

    def set_rate(self, rate: float) -> None:
        """Refill at another rate from now on, as when a window with another capacity begins."""
        rate = _checked_rate(rate)
        with self._lock:
            self._tokens = self._refilled()
            self._rate = rate

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

    def _refilled(self) -> float:
        now = self._clock()
        if not now >= self._at:
            raise InputError(
                f"the bucket's clock went from {self._at} to {now}, expected it never to go back; "
                "give it a monotone clock such as time.monotonic."
            )
        tokens = min(self.burst, self._tokens + self._rate * (now - self._at))
        self._at = now
        return tokens


def _checked_rate(rate: float) -> float:
    if not 0 <= rate < np.inf:
        raise InputError(
            f"the rate is {rate} requests per second, expected a finite number, 0 or more; give "
            "the capacity that the servers have for extra requests."
        )
    return float(rate)
