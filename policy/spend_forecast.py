"""What a price would let through in the next step, from late reports and what is counted at once.

    spend(price) = traffic * yield * above(price)

``traffic`` is the decision points of a step, ``above`` the share of them whose gain exceeds a
price, ``yield`` the requests that each of these makes (1, but for what limits refuse and for gains
that the curve has not seen yet). Traffic and gains do not depend on the prices that were in force,
so late reports cannot make the forecast swing.
"""

from copy import copy
from dataclasses import dataclass
from math import exp, inf, isnan, log, nan, sqrt

import numpy as np

from policy.random_walk import JUMP, OUTLIER, Noise, RandomWalk, surprise_of
from uplift.arrays import FloatArray

__all__ = ["GainCurve", "SpendForecast"]

#: Seconds that the curve remembers: its noise is a thirtieth of the variance of a second's spend.
CURVE_MEMORY = 30.0
#: Relative wandering in a second.
TRAFFIC_WANDER, YIELD_WANDER, SHARE_WANDER = 0.003, 0.001, 0.001
#: Seconds over which the trend of traffic is learned: that of the hour, not of the minute.
TREND_MEMORY = 600.0
#: Seconds of forecast errors that make up their spread, and the spread to begin with.
ERROR_MEMORY, FIRST_ERROR = 300.0, 0.05
#: Largest logarithm of the yield: what goes beyond is a wrong report that would blind the pacer.
MOST_YIELD = 3.0
#: Most that a step's own count may move the yield, so that a curve half as steep as the true one
#: cannot make the price swing before reports have told the true one.
OWN_YIELD_WEIGHT = 0.5


class GainCurve:
    """Share of decision points whose gain exceeds a price, ``above(p) = sum_i w_i 1[g_i > p] / n``.

    g_i is the gain per unit of cost of a decision point and w_i its cost. Steps are forgotten
    exponentially, or at once where a step's share above the price of the moment is another one.

    Parameters
    ----------
    edges : (E,) rising prices; bins are below the first, between two, above the last
    memory : steps that the curve remembers
    """

    def __init__(self, edges: FloatArray, memory: float) -> None:
        self.edges = edges
        self._keep = exp(-1 / memory)
        self._tail = np.zeros(len(edges) + 1)
        self._points = 0.0
        self._falling = edges[::-1].copy()

    def add(self, gains: FloatArray, points: float, price: float, noise: float = 1.0) -> None:
        """Add a step's points and the (E + 1,) histogram of their gains, counted by cost."""
        tail = np.cumsum(gains[::-1])
        seen = float(np.interp(price, self.edges, tail[-2::-1]))
        expected = float(np.interp(price, self.edges, self._tail[-2::-1]))
        expected *= points / max(self._points, 1e-9)
        keep = 0.0 if abs(surprise_of(seen, expected)) > JUMP * sqrt(noise) else self._keep
        self._tail = self._tail * keep + tail
        self._points = self._points * keep + points

    def above(self, price: FloatArray | float) -> FloatArray:
        """Return the share of points whose gain exceeds each price."""
        tail = self._tail / max(self._points, 1e-9)
        share: FloatArray = np.interp(price, self.edges, tail[-2::-1], left=tail[-1], right=0.0)
        return share

    def price_for(self, share: float) -> float:
        """Return the price that this share of points exceeds; within the edges, or 0 for all."""
        needed = share * self._points
        if needed >= self._tail[-1]:
            return 0.0
        return float(np.interp(needed, self._tail[:-1], self._falling))


@dataclass(slots=True)
class _Step:
    """What a step was decided at, the spend expected of it, what this process counted in it."""

    price: float
    expected: float
    points: float = 0.0
    requests: float = 0.0


class SpendForecast:
    """Traffic, yield and curve, brought from the last report to the step ahead.

    Parameters
    ----------
    edges : (E,) prices between the bins of gains
    step_seconds : length of a step

    Attributes
    ----------
    curve : the gains
    reported : last step that a report told of
    error : root mean square of the relative errors of the forecasts
    """

    def __init__(self, edges: FloatArray, step_seconds: float) -> None:
        self.curve = GainCurve(edges, CURVE_MEMORY / step_seconds)
        self.reported = -1
        self.error = FIRST_ERROR
        self._seconds = step_seconds
        self._traffic, self._yield, self._share = (
            RandomWalk(wander**2 * step_seconds)
            for wander in (TRAFFIC_WANDER, YIELD_WANDER, SHARE_WANDER)
        )
        self._yield.log = 0.0
        self._noise, self._yield_noise, self._own_noise, self._own_yield_noise = (
            Noise() for _ in range(4)
        )
        self._steps: dict[int, _Step] = {}
        self._counts = False

    def begin(self, step: int, price: float, expected: float) -> None:
        """Note the price of a step and the spend that is expected of it (NaN: unknown)."""
        self._steps[step] = _Step(price, expected)

    def count(self, step: int, points: float, requests: float) -> None:
        """Add what this process saw and let through in a step."""
        self._counts = True
        noted = self._steps[step]
        noted.points += points
        noted.requests += requests

    def forget(self, step: int) -> None:
        """Forget the steps before this one."""
        while self._steps and (first := next(iter(self._steps))) < step:
            del self._steps[first]

    def demand(self, step: int) -> float:
        """Return ``traffic * yield`` of the step to come; NaN before any report; once a step."""
        traffic, made = copy(self._traffic), copy(self._yield)
        if isnan(self._share.log):
            traffic.go(step - self.reported)
        else:
            self._replay(traffic, made, step)
        return exp(traffic.log + made.log)

    def observe(
        self,
        step: int,
        points: float,
        spend: float,
        gains: FloatArray,
        price: float | None = None,
    ) -> None:
        """Learn what the whole fleet saw and let through in a step, at which price."""
        noted = self._steps.get(step)
        if price is None:
            price = inf if noted is None else noted.price
        before = float(self.curve.above(price))
        self.curve.add(gains, points, price, self._yield_noise.value)
        since = step - self.reported if self.reported >= 0 else 0
        for walk in (self._traffic, self._yield, self._share):
            walk.go(since)
        self._traffic.correct(points, 1.0, self._noise.value)
        self._noise.learn(self._traffic.surprise)
        self._traffic.trend += self._traffic.move * self._seconds / TREND_MEMORY
        after = float(self.curve.above(price))
        if self.reported < 0:  # the yield is as sure as the curve: it is 1 over the first counts
            self._yield.variance = 1 / max(1.0, points * after)
        self._learn_yield(points, spend, before, after)
        if noted is not None:
            self._learn_error(spend / noted.expected - 1 if noted.expected > 0 else nan)
            if self._counts:
                self._share.correct(noted.points, points, self._own_noise.value)
        self.reported = step
        self.forget(step + 1)

    def _replay(self, traffic: RandomWalk, made: RandomWalk, step: int) -> None:
        """Go on from the last report to a step by what was counted in between."""
        share = exp(self._share.log)
        noted = [self._steps.get(s) for s in range(self.reported + 1, step)]
        prices = np.array([inf if s is None else s.price for s in noted])
        for own, above in zip(noted, self.curve.above(prices).tolist(), strict=True):
            traffic.go()
            made.go()
            if own is not None:
                traffic.correct(own.points, share, self._own_noise.value)
                made.correct(
                    own.requests, own.points * above, self._own_yield_noise.value, OWN_YIELD_WEIGHT
                )
        self._own_noise.learn(traffic.surprise)
        self._own_yield_noise.learn(made.surprise)
        traffic.go()

    def _learn_yield(self, points: float, spend: float, before: float, after: float) -> None:
        """Keep what is expected at the price then in force as the curve moves; correct it."""
        if before > 0 and after > 0:
            made = self._yield
            made.log += log(before / after)
            made.correct(spend, points * after, self._yield_noise.value)
            self._yield_noise.learn(made.surprise)
            made.log = min(max(made.log, -MOST_YIELD), MOST_YIELD)

    def _learn_error(self, error: float) -> None:
        if not isnan(error):
            square = min(error * error, OUTLIER * self.error**2) - self.error**2
            self.error = sqrt(self.error**2 + square * min(1.0, self._seconds / ERROR_MEMORY))
