"""Pacer: keeps spend on the plan as traffic moves.

Every step (a second) the price is set to where the forecast of the step's spend meets what the
capacity leaves, with room for the forecast's own error:

    spend(price) = capacity * step * (1 - m),   E[max(error - m, 0)] = over_utilisation

What a second does not use is lost, so no step can pay for another one and the horizon of the
model-predictive control of MaRCA (arXiv 2512.24325) is the step ahead; what remains to be predicted
is the time from the last report to that step (`policy.spend_forecast`).
"""

from math import erf, exp, floor, inf, isnan, nan, pi, sqrt
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from policy.spend_forecast import SpendForecast
from uplift.arrays import FloatArray
from uplift.errors import InputError

if TYPE_CHECKING:
    from policy.plan import RequestPlan

__all__ = ["Pacer"]

DAY_SECONDS = 86_400.0
#: Bins of gains: 3 % wide, from a 32nd of the least planned price to 32 times the largest.
EDGE_RATIO, EDGE_SPAN = 1.03, 32.0
#: Most of the capacity that is left free for errors.
MOST_ROOM = 0.1
#: Edges where every planned price is 0.
FIRST_EDGE, LAST_EDGE = 1e-6, 10.0


class Pacer:
    """The price of the moment: planned, then corrected by what traffic does.

    ``price(now)`` is the gain per unit of cost that a request must exceed. The planned price of the
    window stands until the first report and again when reports stay away for `stale_seconds`.
    Two sources correct it, by steps:

    - `observe`, of the whole fleet, late by any delay: a step's decision points, the requests that
      prices let through (before any token bucket), the gains (`histogram`);
    - `count`, of this process alone, at once: its own points and requests. Optional; without it a
      jump of traffic is seen when its report comes.

    Capacity and spend are the fleet's; a process learns its own share of them from its counts.
    Threads may share a pacer: reading the price within a step takes no lock.

    Parameters
    ----------
    price : (W,) planned price of each window of the day
    capacity : (W,) requests per second that the fleet may spend, or one for all windows; 0 closes
        a window
    window_seconds : length of a window; infinite for one window
    step_seconds : how long a price stands
    edges : (E,) rising prices between the bins of gains; around the planned prices by default. The
        price stays within them, or is 0 where the whole demand fits the capacity.
    over_utilisation : expected spend beyond the capacity, as a share of it. A tenth of the capacity
        is left free for it at most: where that binds, as with less than 200 requests a step, take
        longer steps.
    stale_seconds : age of the last report from which the planned price stands again

    Raises
    ------
    InputError
        Prices, capacities or times out of range, windows that do not make up a day, reports out of
        order or of steps to come, histograms of another length or with negative counts.
    """

    def __init__(
        self,
        price: ArrayLike,
        capacity: ArrayLike,
        *,
        window_seconds: float = 3600.0,
        step_seconds: float = 1.0,
        edges: ArrayLike | None = None,
        over_utilisation: float = 0.0035,
        stale_seconds: float = 600.0,
    ) -> None:
        self._planned = _column("price", price)
        self._capacity = _column("capacity", capacity, len(self._planned))
        _check_day(len(self._planned), window_seconds)
        _check_positive("step_seconds", step_seconds)
        _check_positive("over_utilisation", over_utilisation)
        _check_positive("stale_seconds", stale_seconds)
        self._window_seconds = window_seconds
        self._step_seconds = step_seconds
        self._over = over_utilisation
        self._stale_steps = max(1, round(stale_seconds / step_seconds))
        self.edges = edges_around(self._planned) if edges is None else _checked_edges(edges)
        self._lock = Lock()
        self._step = -1
        self._current = nan, nan, nan
        self._forecast = SpendForecast(self.edges, step_seconds)

    @classmethod
    def of(
        cls, plan: "RequestPlan", capacity: ArrayLike | None = None, *, step_seconds: float = 1.0
    ) -> "Pacer":
        """Pace a plan; a budget in qps is its capacity, any other budget needs one.

        Parameters
        ----------
        plan : prices per window
        capacity : (W,) or one number, requests per second of the live traffic; the plan's qps by
            default
        step_seconds : how long a price stands
        """
        if capacity is None and plan.budget.kind != "qps":
            raise InputError(
                f"the plan's budget is in {plan.budget.kind}, which tells no rate of the live "
                "traffic; give capacity=, requests per second."
            )
        return cls(
            plan.price,
            plan.budget.amount if capacity is None else capacity,
            window_seconds=plan.window_seconds,
            step_seconds=step_seconds,
        )

    def price(self, now: float) -> float:
        """Return the gain per unit of cost that a request must exceed.

        now : seconds since midnight UTC of any day, as of time.time()
        """
        begin, end, price = self._current
        return price if begin <= now < end else self._next(now)

    def capacity(self, now: float) -> float:
        """Return the requests per second of the window, for a token bucket beside the pacer."""
        return float(self._capacity[self._window(_step_of(now, self._step_seconds))])

    def count(self, now: float, points: float, requests: float) -> float:
        """Add decision points of this process just now, and requests that the price let through.

        Return that price.
        """
        if not (0 <= points < inf and 0 <= requests < inf):  # at once, as this is the hot path
            _check_count("points", points)
            _check_count("requests", requests)
        price = self.price(now)
        with self._lock:
            self._forecast.count(self._step, points, requests)
        return price

    def decided(self, now: float, requests: float, worth: float, cost: float) -> None:
        """Count one decision, as an engine tells it; its worth is for `SharedPacer`."""
        self.count(now, 1, requests)

    def observe(
        self,
        time: float,
        points: float,
        spend: float,
        gains: ArrayLike,
        price: float | None = None,
    ) -> None:
        """Learn from the fleet's report of the step that `time` lies in.

        Parameters
        ----------
        time : seconds as in `price`; before the present step and after the last report's
        points : decision points of the step
        spend : requests that prices let through in it, before any token bucket
        gains : (E + 1,) `histogram` of these points, whether they made a request or not
        price : mean price of these points; this pacer's by default, which another one has not
            where one of them began later
        """
        counts = _column("the histogram", gains, len(self.edges) + 1)
        _check_count("points", points)
        _check_count("spend", spend)
        if price is not None:
            _check_count("price", price)
        step = _step_of(time, self._step_seconds)
        with self._lock:
            if not self._forecast.reported < step < self._step:
                raise InputError(
                    f"a report of step {step}, expected one after {self._forecast.reported} (the "
                    f"last one) and before {self._step} (the last that a price was asked for); "
                    "report steps that are over, in their order, each once."
                )
            self._forecast.observe(step, float(points), float(spend), counts, price)

    def histogram(self, gain: ArrayLike, cost: float = 1.0) -> FloatArray:
        """Count gains as `observe` takes them, (E + 1,); histograms of processes add.

        gain : (n,) gain of each decision point, less its reserve; of 0 or less is not counted
        cost : requests that the arm spends
        """
        worth = np.asarray(gain, dtype=np.float64) / cost
        if np.isnan(worth).any():
            raise InputError("Some gains are NaN, expected numbers; drop them or score anew.")
        bins = np.searchsorted(self.edges, worth[worth > 0], side="right")
        counts = np.bincount(bins, minlength=len(self.edges) + 1)
        return counts.astype(np.float64) * cost

    def _next(self, now: float) -> float:
        """Begin the step of this moment, unless another thread did."""
        step = _step_of(now, self._step_seconds)
        with self._lock:
            if step == self._step - 1:
                return self._current[2]  # of a thread that was overtaken
            if step < self._step:
                raise InputError(
                    f"time went back from {self._current[0]} to {now}, expected it to go on; take "
                    "the time of one clock."
                )
            if step > self._step:
                self._begin(step)
            return self._current[2]

    def _begin(self, step: int) -> None:
        if step - self._step > self._stale_steps:
            self._forecast = SpendForecast(self.edges, self._step_seconds)
        elif self._step >= 0:
            for idle in range(self._step + 1, step):
                self._forecast.begin(idle, self._current[2], nan)
        price, expected = self._solve(step)
        self._forecast.begin(step, price, expected)
        self._forecast.forget(step - self._stale_steps)
        self._step = step
        begin = step * self._step_seconds
        self._current = begin, (step + 1) * self._step_seconds, price

    def _solve(self, step: int) -> tuple[float, float]:
        """Return a step's price and the spend expected at it (NaN where nothing is known)."""
        window = self._window(step)
        capacity = float(self._capacity[window]) * self._step_seconds
        if capacity == 0:
            return inf, 0.0
        known = step - self._forecast.reported <= self._stale_steps
        demand = self._forecast.demand(step) if known else nan
        if isnan(demand):
            return float(self._planned[window]), nan
        target = capacity * (1 - _room(self._forecast.error, self._over))
        price = self._forecast.curve.price_for(target / demand)
        return price, demand * float(self._forecast.curve.above(price))

    def _window(self, step: int) -> int:
        return int(step * self._step_seconds % DAY_SECONDS // self._window_seconds)


def _room(error: float, over: float) -> float:
    """Return m of ``E[max(error Z - m, 0)] = over``, Z standard normal; 0 where m would be less."""
    if error <= over * sqrt(2 * pi):
        return 0.0
    z = 0.0
    for _ in range(8):
        beyond = 0.5 * (1 - erf(z / sqrt(2)))
        excess = exp(-z * z / 2) / sqrt(2 * pi) - z * beyond - over / error
        z = max(0.0, z + excess / max(beyond, 1e-12))
    return min(MOST_ROOM, z * error)


def _step_of(now: float, step_seconds: float) -> int:
    if not 0 <= now < inf:
        raise InputError(
            f"the time is {now}, expected seconds, finite and 0 or more; count them from a "
            "midnight UTC, as time.time() does."
        )
    return floor(now / step_seconds)


def _column(name: str, values: ArrayLike, length: int | None = None) -> FloatArray:
    """Return finite numbers, 0 or more, one a window or bin; one number stands for all."""
    column = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if length is not None and np.ndim(values) == 0:
        column = np.full(length, float(column[0]))
    if column.ndim != 1 or not column.size or column.size != (length or column.size):
        raise InputError(
            f"{name} has shape {np.shape(values)}, expected ({length or 'windows'},); give one "
            "number for each."
        )
    bad = np.flatnonzero(~((column >= 0) & (column < inf)))
    if bad.size:
        raise InputError(
            f"{name} holds {column[bad[0]]} at {bad[0]}, expected finite numbers, 0 or more; "
            "correct it."
        )
    return column


def _check_day(windows: int, window_seconds: float) -> None:
    whole = window_seconds > 0 and windows == max(1, np.ceil(DAY_SECONDS / window_seconds))
    if isnan(window_seconds) or not whole:
        raise InputError(
            f"{windows} windows of {window_seconds} seconds, expected as many as make up a day; "
            "give the price of every window of the day, and their length."
        )


def _check_count(name: str, count: float) -> None:
    if not 0 <= count < inf:
        raise InputError(
            f"{name} is {count}, expected a finite number, 0 or more; count what was seen."
        )


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise InputError(f"{name} is {value}, expected a finite number above 0; correct it.")


def _checked_edges(edges: ArrayLike) -> FloatArray:
    column = _column("edges", edges)
    if column.size < 2 or column[0] <= 0 or (np.diff(column) <= 0).any():
        raise InputError(
            "edges do not rise from above 0, expected two or more prices between the bins of "
            "gains; sort them and drop what is double."
        )
    return column


def edges_around(price: FloatArray) -> FloatArray:
    above = price[price > 0]
    low, high = (FIRST_EDGE, LAST_EDGE) if not above.size else (above.min(), above.max())
    span = EDGE_SPAN if above.size else 1.0
    bins = int(np.ceil(np.log(high / low * span**2) / np.log(EDGE_RATIO)))
    edges: FloatArray = np.geomspace(low / span, high * span, bins + 1)
    return edges
