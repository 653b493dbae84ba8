"""SharedPacer: one price for many instances, from the counts of all of them.

    price(t) = Pacer's, told the totals of all instances by steps, and its own counts at once

Each instance counts what it decides; a thread tells each step that is over, through Redis, and
reads the totals of the steps that all had time to tell. Nothing waits for it: with Redis gone,
slow or refusing, the pacer goes on with its own counts, scaled by the share of the fleet that it
learned, and after `stale_seconds` with the planned price. Redis' clock numbers the steps and says
which window it is; an instance whose own clock is an hour off, or jumps, does not know it.

Without Redis an instance is the fleet, and its own steps are the reports.
"""

import math
import random
import threading
import time
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from policy.pacing import Pacer
from policy.rates import DAY_SECONDS, Rates
from policy.redis_client import Gone, RedisClient, Unclear
from policy.redis_steps import GRACE_STEPS, OwnSteps, RedisSteps, Reports
from policy.step_counts import Grid, StepCounts
from uplift.arrays import FloatArray
from uplift.errors import InputError

__all__ = ["SharedPacer"]

FINEST_WINDOWS = 1_440
"""Windows of the day where those of prices and of rates have no common cut."""
PHASE = 0.2
"""Instances tell a step within so much of the next, each at its own moment."""


class _Course(NamedTuple):
    """What decisions read, all of it at once: a pacer and the clock that it goes by."""

    pacer: Pacer
    grid: Grid
    ahead: float
    since: int


class SharedPacer:
    """Correct the planned price by what all instances see; safe for threads.

    Parameters
    ----------
    price : (W,) planned price of each window of the day
    rates : requests per second of all instances together
    window_seconds : length of a window of `price`; infinite for one window
    url : of Redis, such as ``redis://127.0.0.1:6379/0``; without one the instance is alone
    key : of the steps in Redis
    step_seconds : how long a price stands, the same for all instances; with less than 200 requests
        a step take longer steps
    stale_seconds : age of the last report from which the planned price stands again
    connect : makes the client; `redis.Redis.from_url` with short timeouts by default
    clock : monotone seconds

    Attributes
    ----------
    reports : steps of the fleet that were learned from
    failures : exchanges that failed, by what Redis or the network said; ``late``: own steps that
        came when they were closed, or of a clock that jumped; ``unfit``: reports that no fleet can
        have made

    Raises
    ------
    InputError
        Prices, rates or times out of range, or the package redis is not installed.
    """

    def __init__(
        self,
        price: ArrayLike,
        rates: float | Rates,
        window_seconds: float = 3600.0,
        *,
        url: str | None = None,
        key: str = "request-uplift:pace",
        step_seconds: float = 1.0,
        stale_seconds: float = 600.0,
        connect: Callable[[str, float], RedisClient] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._planned = np.atleast_1d(np.asarray(price, dtype=np.float64)), window_seconds
        self._rates, self._seconds, self._stale = Rates.of(rates), step_seconds, stale_seconds
        self._clock, self._lock, self._stop = clock, threading.Lock(), threading.Event()
        self._course = self._anew(time.time() - clock(), -1)
        self._own, self._waiting = StepCounts(self._step), list[StepCounts]()
        self._read, self._came = -1, -math.inf
        self.reports, self.failures = 0, Counter[str]()
        self._fleet: Reports = OwnSteps()
        if url is not None:
            name = uuid.uuid4().hex[:12]
            self._fleet = RedisSteps(url, key, name, step_seconds, connect)
        self._phase = random.random() * PHASE * step_seconds
        self._thread = threading.Thread(target=self._run, name="shared-pacer", daemon=True)
        self._thread.start()

    def price(self, now: float) -> float:
        """Return the gain per unit of cost that a request must exceed, now.

        now : by the caller's clock, which does not count
        """
        return self._priced(self._course)

    def decided(self, now: float, requests: float, worth: float, cost: float) -> None:
        """Count one decision; never waits, never calls.

        Parameters
        ----------
        now : by the caller's clock, which does not count
        requests : that the price let through, before any quota
        worth : price up to which the best arm would be requested; 0 or less where at none
        cost : requests that the arm spends
        """
        course = self._course
        moment = course.ahead + self._clock()
        try:
            price = course.pacer.count(moment, 1, requests)
        except InputError:  # of another time: one decision is not counted
            self._priced(course)
            return
        step = int(moment / self._seconds)
        with self._lock:
            own = self._own if step <= self._own.step else self._turned_over(step)
            own.points += 1
            own.paid += price
            own.requests += requests
            if worth > 0:
                b = course.grid.low + bisect_right(course.grid.edges, worth)
                own.gains[b] = own.gains.get(b, 0.0) + cost

    def follow(
        self, price: ArrayLike, rates: float | Rates, window_seconds: float = 3600.0
    ) -> None:
        """Pace another plan from now on: its price stands until reports of steps to come."""
        planned = np.atleast_1d(np.asarray(price, dtype=np.float64)), window_seconds
        with self._lock:
            before, told = (self._planned, self._rates), Rates.of(rates)
            same = np.array_equal(self._planned[0], planned[0]) and self._planned[1] == planned[1]
            if same and self._rates == told:
                return  # what is known of it goes on
            self._planned, self._rates = planned, told
            try:
                self._course = self._anew(self._course.ahead, self._step + 1)
            except InputError:
                self._planned, self._rates = before
                raise

    @property
    def present(self) -> float:
        """The price of this moment."""
        return self._priced(self._course)

    @property
    def age(self) -> float:
        """Seconds since the last report of the fleet came; infinite before the first."""
        return max(0.0, self._clock() - self._came)

    def close(self) -> None:
        """Stop; what is not told yet is lost."""
        self._stop.set()
        self._thread.join()
        self._fleet.close()

    @property
    def _step(self) -> int:
        return int((self._course.ahead + self._clock()) / self._seconds)

    def _priced(self, course: _Course) -> float:
        try:
            return course.pacer.price(course.ahead + self._clock())
        except InputError:
            return self._price_late(course)

    def _price_late(self, course: _Course) -> float:
        """Return the price where a thread was held up for steps, or the clock went back."""
        with self._lock:
            course = self._course
            try:
                return course.pacer.price(course.ahead + self._clock())
            except InputError:
                self._begin_anew(course.ahead)
                return self._course.pacer.price(course.ahead + self._clock())

    def _anew(self, ahead: float, since: int) -> _Course:
        """Return a course that knows the plan alone, and takes reports of steps from `since` on."""
        (price, window_seconds), grid = self._planned, Grid(self._planned[0])
        prices, capacity, seconds = _common(price, window_seconds, self._rates)
        pacer = Pacer(
            prices,
            capacity,
            window_seconds=seconds,
            step_seconds=self._seconds,
            stale_seconds=self._stale,
            edges=grid.edges,
        )
        return _Course(pacer, grid, ahead, since)

    def _turned_over(self, step: int) -> StepCounts:
        """Begin to count a step; the lock is held."""
        if self._own.paid == math.inf:  # in a closed window; a sum must be finite
            self._own.paid = self._own.points * self._course.grid.edges[-1]
        self._waiting = [*self._waiting, self._own][-GRACE_STEPS:]
        self._own = StepCounts(step)
        return self._own

    def _run(self) -> None:
        while not self._stop.is_set():
            self._renew()
            now = self._course.ahead + self._clock()
            self._stop.wait(self._seconds - (now - self._phase) % self._seconds)

    def _renew(self) -> None:
        """Tell the steps that are over, and learn from those that are closed."""
        self._priced(self._course)  # begins the step, so that no decision has to
        with self._lock:
            if self._step > self._own.step:
                self._turned_over(self._step)
            told, course = self._waiting, self._course
        begin = self._clock()
        try:
            answer = self._fleet.exchange(told, max(self._read, course.since - 1))
        except (Gone, Unclear) as error:
            self.failures[str(error)] += 1
            return
        except (ValueError, TypeError):  # nothing that a script of ours returns
            self.failures["unfit"] += 1
            return
        with self._lock:
            self._waiting = [step for step in self._waiting if step not in told]
        if answer.late:
            self.failures["late"] += answer.late
        if answer.now is None or self._keeps_time(answer.now - (begin + self._clock()) / 2):
            self._learn(course, answer.reports)

    def _keeps_time(self, ahead: float) -> bool:
        """Go by the clock of all; False where it jumped and all that was known is of no use."""
        with self._lock:
            course = self._course
            if abs(ahead - course.ahead) <= self._seconds / 2:
                self._course = course._replace(ahead=ahead)
                return True
            self._begin_anew(ahead)
            return False

    def _begin_anew(self, ahead: float) -> None:
        """Know the plan alone, at another time; the lock is held."""
        self._course = self._anew(ahead, -1)
        self._own, self._waiting, self._read = StepCounts(self._step), [], -1

    def _learn(self, course: _Course, reports: Sequence[StepCounts]) -> None:
        self._priced(course)
        for report in reports:
            self._read = max(self._read, report.step)
            moment = (report.step + 0.5) * self._seconds
            gains = course.grid.histogram(report.gains)
            price = report.paid / report.points if report.points else None
            try:
                course.pacer.observe(moment, report.points, report.requests, gains, price)
            except InputError:
                self.failures["unfit"] += 1
                continue
            self._came = self._clock()
            self.reports += 1


def _common(
    price: FloatArray, window_seconds: float, rates: Rates
) -> tuple[FloatArray, FloatArray, float]:
    """Return prices and rates in windows that cut the day alike, and the windows' length."""
    count = math.lcm(len(price), len(rates.by_window))
    even = len(price) == 1 or math.isclose(len(price) * window_seconds, DAY_SECONDS)
    if not even or count > FINEST_WINDOWS:
        count = FINEST_WINDOWS
    seconds = DAY_SECONDS / count
    if math.ceil(DAY_SECONDS / seconds) > count:  # rounded down
        seconds = math.nextafter(seconds, math.inf)
    middles = (np.arange(count) + 0.5) * seconds
    of_price = np.zeros(count, np.int64) if len(price) == 1 else middles // window_seconds
    capacity = np.array([rates.at(float(t)) for t in middles])
    return price[of_price.astype(np.int64)], capacity, seconds
