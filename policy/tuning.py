"""Prices at which the rule, led through the planned log, spends what the budget allows.

The rule decides without knowing how a session goes on, so at the prices of the hindsight plan it
spends something else. What it spends in a window falls with the window's price and hardly depends
on the others: all windows are searched at once, each moving up or down by a step that shrinks by
0.6, so that what was decided wrongly while the others still moved can be made good. A total is a
price below which no window may be: with window prices m and total price t, each point pays
``max(m[w], t)``. Points whose worth equals the price share what is left (`TIE_TOLERANCE`).
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.capacity import Capacity
from policy.feedback import Logged
from policy.induction import gain_per_cost
from policy.problem import Demand, Limits
from policy.reserve import TIE_TOLERANCE, ReserveTable
from uplift.arrays import BoolArray, Float32Array, FloatArray, IntArray
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.hashing import hash_uniform

__all__ = ["RuleWalk", "Spending", "tune", "tune_in_service"]

STEPS = 36
SHRINK = 0.6
RESTRICT = 6
FEEDBACK_ROUNDS = 2

_Decided: TypeAlias = tuple[NDArray[np.int8], Float32Array]


@dataclass(frozen=True)
class Spending:
    """What the rule is expected to do on the planned log.

    Attributes
    ----------
    spend : (W,) requests
    gain : sum of the gains
    """

    spend: FloatArray
    gain: float


class _Log(NamedTuple):
    """Decision points that are worth a request at some price, session by session.

    `draw` decides ties, the same ones at every price; the cost is one row where all are equal.
    """

    row: IntArray
    gain: Any
    cost: FloatArray
    window: NDArray[np.int32]
    session: NDArray[np.int32]
    place: NDArray[np.int32]
    page: NDArray[np.int32]
    slot: IntArray
    draw: Float32Array


class RuleWalk:
    """The rule's way through the sessions of a log.

    Parameters
    ----------
    demand : decision points, session by session
    place : (n,) place of each
    table : the reserve
    limits : what a session allows
    """

    def __init__(
        self, demand: Demand, place: IntArray, table: ReserveTable, limits: Limits
    ) -> None:
        self._table, self._demand, self.n_windows = table, demand, demand.n_windows
        self._caps = (limits.per_session or 0, limits.per_page or 0, limits.min_gap)
        rows = np.flatnonzero(demand.gain.max(axis=1) > 0)
        length = np.diff(demand.session_start)
        self._log = _Log(
            rows,
            demand.gain[rows],
            demand.cost[:1].copy() if demand.cost.strides[0] == 0 else demand.cost[rows],
            demand.window[rows],
            np.repeat(np.arange(demand.n_sessions, dtype=np.int32), length)[rows],
            place[rows].astype(np.int32),
            demand.page[rows],
            demand.slot[rows],
            hash_uniform(rows, 0).astype(np.float32),
        )

    def above(self, price: FloatArray) -> "RuleWalk":
        """Return the same way without what is worth no request at prices (W,) or higher ones."""
        log, result = self._log, copy(self)
        kept: BoolArray = np.any(log.gain > price[log.window, None] * log.cost, axis=1)
        each = {k: v for k, v in log._asdict().items() if len(v) == len(kept)}
        result._log = log._replace(**{name: column[kept] for name, column in each.items()})
        return result

    def highest(self) -> FloatArray:
        """Return the price of each window from which on nothing that costs is worth it, (W,)."""
        log, result = self._log, np.zeros(self.n_windows)
        np.maximum.at(result, log.window, gain_per_cost(log.gain, log.cost))
        return result

    def spending(self, price: FloatArray, tie_share: FloatArray) -> Spending:
        """Lead the rule through all sessions at prices (W,) and shares of ties (W,).

        A tie counts by its probability; whether later limits know of it is drawn.
        """
        return self._led(price, tie_share)[0]

    def choices(self, price: FloatArray, tie_share: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the arm that each point would get and the probability that it does, (n,) each."""
        rows, decided = self._log.row, self._led(price, tie_share)[1]
        arm, asked = np.ones(self._demand.n_points, np.int8), np.zeros(self._demand.n_points)
        arm[rows], asked[rows] = decided
        return arm, asked

    def _led(self, price: FloatArray, tie_share: FloatArray) -> tuple[Spending, _Decided]:
        reserve, spend = self._table.at_price(price), np.zeros(self.n_windows)
        n = len(self._log.row)
        decided = (np.ones(n, np.int8), np.zeros(n, np.float32))
        gain = _walk(self._log, self._caps, reserve, price, tie_share, spend, decided)
        return Spending(spend, float(gain)), decided


def tune(walk: RuleWalk, capacity: Capacity) -> tuple[FloatArray, FloatArray]:
    """Return prices and shares of ties, (W,) each, at which the rule's spend meets the capacity.

    A price is 0 where the rule spends no more than the capacity at that price.

    Parameters
    ----------
    walk : the rule's way through the planned log
    capacity : requests that each window, and all together, may spend

    Raises
    ------
    InputError
        The capacity has rows that one price a window cannot meet.
    """
    if not capacity.is_laminar:
        raise InputError(
            "The capacity has services or least requests, expected windows and a total alone: a "
            "rule has one price a window; plan without them."
        )
    top, no_ties = walk.highest(), np.zeros(len(capacity.window))
    own = _search(walk, top, lambda w, p: w.spending(p, no_ties).spend > capacity.window)
    total, least = capacity.total, 0.0
    if total is not None:
        least = _search(
            walk,
            top.max(keepdims=True),
            lambda w, p: w.spending(np.maximum(own, p), no_ties).spend.sum() > total,
        )[0]
    # A step of the spend then lies in the middle of what counts as equal.
    price = np.maximum(own, least) * (1 + TIE_TOLERANCE)
    return price, _tie_share(walk, capacity, price, own <= least)


def tune_in_service(
    walk: RuleWalk,
    capacity: Capacity,
    logged: Logged,
    cost: FloatArray,
    tuned: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray, Estimate]:
    """Return prices, shares of ties and the feedback f, so that ``f x spend`` meets the capacity.

    The feedback counts where it is told from 1. It depends on the prices and they on it, but
    little: two rounds suffice.

    Parameters
    ----------
    walk, capacity : as in `tune`
    logged : what the planned log did
    cost : (n, A) requests that each arm spends at each point
    tuned : what `tune` returned, to start from
    """
    price, tie_share = tuned
    for _ in range(FEEDBACK_ROUNDS):
        estimate = logged.feedback(*walk.choices(price, tie_share), cost)
        told = not estimate.lower <= 1 <= estimate.upper
        price, tie_share = tune(walk, capacity.scaled(1 / estimate.value)) if told else tuned
    return price, tie_share, estimate


def _search(
    walk: RuleWalk, top: FloatArray, over: Callable[[RuleWalk, FloatArray], Any]
) -> FloatArray:
    """Return the lowest prices, 0 to `top`, that are not `over`, all searched at once."""
    price, step = top / 2, (1 - SHRINK) * top
    for k in range(STEPS):
        price = np.clip(np.where(over(walk, price), price + step, price - step), 0.0, top)
        step = SHRINK * step
        if k % RESTRICT == RESTRICT - 1:  # all further steps together lead no lower
            floor = np.maximum(price - step / (1 - SHRINK), 0.0)
            walk = walk.above(np.broadcast_to(floor, walk.n_windows))
    return price


def _tie_share(
    walk: RuleWalk, capacity: Capacity, price: FloatArray, pooled: BoolArray
) -> FloatArray:
    """Return the shares of ties that spend what is left, (W,); one for all `pooled` windows."""
    walk, share, step = walk.above(price * (1 - 2 * TIE_TOLERANCE)), np.full(len(price), 0.5), 0.4
    for _ in range(STEPS):
        spend = walk.spending(price, share).spend
        over = spend > capacity.window
        if capacity.total is not None:
            over |= pooled & (spend.sum() > capacity.total)
        share = np.clip(np.where(over, share - step, share + step), 0.0, 1.0)
        step = SHRINK * step
    return np.where(price > 0, share, 0.0)


@njit(cache=True, nogil=True)
def _walk(
    log: _Log,
    caps: tuple[int, int, int],
    reserve: FloatArray,
    price: FloatArray,
    tie_share: FloatArray,
    spend: FloatArray,
    decided: _Decided,
) -> float:
    """Add to `spend` (W,) what the rule spends; write arm and probability; return the gain."""
    per_session, per_page, gap = caps
    arm, asked = decided
    step = 1 if len(log.cost) > 1 else 0
    most, most_on_page = reserve.shape[2], reserve.shape[3]
    gain, made, on_page, page, last, session = 0.0, 0, 0, -1, 0, -1
    for i in range(len(log.window)):
        if log.session[i] != session:
            session, made, page = log.session[i], 0, -1
        if log.page[i] != page:
            page, on_page = log.page[i], 0
        if made > 0 and log.slot[i] - last < gap:
            continue
        if 0 < per_session <= made or 0 < per_page <= on_page:
            continue
        window = log.window[i]
        net, best, paid = -np.inf, 0, 0.0
        for a in range(log.gain.shape[1]):
            costs = price[window] * log.cost[i * step, a]
            if log.gain[i, a] > 0 and log.gain[i, a] - costs > net:
                net, best, paid = log.gain[i, a] - costs, a, costs
        k = min(per_session - made, most) - 1 if most > 1 else 0
        q = min(per_page - on_page, most_on_page) - 1 if most_on_page > 1 else 0
        worth = net - reserve[window, log.place[i], k, q]
        share = 1.0 if worth > 0 else 0.0
        if abs(worth) <= TIE_TOLERANCE * paid:
            share = tie_share[window]
        if share > 0:
            arm[i], asked[i] = best + 1, share
            spend[window] += share * log.cost[i * step, best]
            gain += share * log.gain[i, best]
            if log.draw[i] < share:
                made, on_page, last = made + 1, on_page + 1, log.slot[i]
    return gain
