"""The reserve table by backward induction over the sessions of a log, exits included.

At a price p, with ``net = max_a gain_a - p cost_a``, in a place x with k requests left in the
session, q on the page and w slots until one is allowed again:

    C(x, k, q, w) = mean over the decision points at x of V(next place, k, q', max(0, w - slots))
    R(x, k, q)    = C(x, k, q, 0) - C(x, k - 1, q - 1, min_gap)
    V(x, k, q, 0) = C(x, k, q, 0) + mean over the decision points at x of max(0, net - R(x, k, q))
    V(x, k, q, w) = C(x, k, q, w)  where w > 0, k = 0 or q = 0

V is 0 after the last decision point of a session; q' starts anew on a new page. How features move
along a session is unknown, so V knows the place and the counters and nothing else: it is the mean
over all sessions that reach the place. The next place is a later one, so one sweep from the last
to the first is exact; where several positions or pages share a place, a session may stay in it or
come back, and sweeps are repeated until nothing changes (each session ends, so they contract).

V counts each gain as the model predicts it along logged sessions: it does not know that a request
now may change the gains of later ones, nor what it does beyond the outcome's horizon.

A cap that no session of the log can use up is no cap; where no limit is left R is exactly 0.

Source: optimal stopping with several rights, Haggstrom 1967; approximate dynamic programming by
state aggregation, Bertsekas, Dynamic Programming and Optimal Control II, chapter 6.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from policy.places import Places
from policy.problem import Demand, Gain, Limits
from policy.reserve import ReserveTable
from uplift.arrays import BoolArray, FloatArray, IntArray

__all__ = ["gain_per_cost", "induce", "price_levels"]

#: Shares of decision points that are worth more than a price of the table.
LEVEL_SHARES = (0.6, 0.4, 0.28, 0.2, 0.14, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.003, 0.001)
TOLERANCE = 1e-9
MOST_SWEEPS = 10_000


class _Moves(NamedTuple):
    """How sessions go on: move t leads from a place to `to[t]`; those of x are first[x] .. [x + 1].

    share : of the decision points at the place that move so; what is missing to 1 has ended
    slots : from one to the next; as many as the minimum gap are as good as more
    stays : whether it is on the same page
    """

    first: IntArray
    to: IntArray
    share: FloatArray
    slots: IntArray
    stays: BoolArray


class _Points(NamedTuple):
    """Decision points place by place: those of x are rows first[x] .. first[x + 1] - 1."""

    first: IntArray
    gain: FloatArray
    cost: FloatArray


class _States(NamedTuple):
    """Most requests in a session, most on a page, and whether a request uses them up."""

    session: int
    page: int
    uses_session: int
    uses_page: int
    gap: int


def induce(demand: Demand, place: IntArray, places: Places, limits: Limits) -> ReserveTable:
    """Return the reserve at prices from 0 to the highest at which anything is worth a request.

    Parameters
    ----------
    demand : decision points of whole sessions
    place : (n,) place of each, in the order of the demand
    places : what counts as one place
    limits : what a session allows
    """
    states = _states(demand, limits)
    if not (states.uses_session or states.uses_page or states.gap):
        return ReserveTable(np.zeros(1), places, np.zeros((1, len(places), 1, 1)))
    moves = _moves(demand, place, len(places), states.gap)
    points, prices = _points(demand, place, len(places)), price_levels(demand)
    values = [_reserve_at(p, points, moves, states) for p in prices]
    return ReserveTable(prices, places, np.stack(values))


def price_levels(demand: Demand) -> FloatArray:
    """Return the prices of a table: 0, some quantiles of gain per cost, the highest of them."""
    ratio = gain_per_cost(demand.gain, demand.cost)
    top = float(ratio.max())
    inner = np.quantile(ratio, [1 - share for share in LEVEL_SHARES])
    return np.unique(np.concatenate([[0.0], inner[inner > 0], [top]]))


def gain_per_cost(gain: Gain, cost: FloatArray) -> FloatArray:
    """Return the price from which on no arm that costs is worth it at each point, 0 or more, (n,).

    gain (n, A), minus infinity where an arm is forbidden; cost (n, A) or one row
    """
    cost = np.broadcast_to(cost, gain.shape)
    ratio = np.divide(gain, cost, out=np.zeros(gain.shape), where=(cost > 0) & (gain > 0))
    highest: FloatArray = ratio.max(axis=1)
    return highest


def _states(demand: Demand, limits: Limits) -> _States:
    """Count the states; a cap that no session can use up is none."""
    start = demand.session_start
    longest = int(np.diff(start).max())
    new_page = np.ones(demand.n_points + 1, dtype=bool)
    new_page[1:-1] = demand.page[1:] != demand.page[:-1]
    new_page[start] = True
    fullest = int(np.diff(np.flatnonzero(new_page)).max())
    session, page = limits.per_session or longest, limits.per_page or fullest
    capped, page_capped = session < longest, page < min(fullest, session)
    return _States(
        session if capped else 1,
        page if page_capped else 1,
        int(capped),
        int(page_capped),
        min(limits.min_gap, int(np.ptp(demand.slot)) + 1),
    )


def _moves(demand: Demand, place: IntArray, n_places: int, gap: int) -> _Moves:
    """Count how sessions go on from each place."""
    inside = np.ones(demand.n_points, dtype=bool)
    inside[demand.session_start[1:] - 1] = False
    rows = np.flatnonzero(inside)
    slots = np.minimum(demand.slot[rows + 1] - demand.slot[rows], gap)
    stays = demand.page[rows + 1] == demand.page[rows]
    shape = (n_places, n_places, gap + 1, 2)
    keys = np.ravel_multi_index((place[rows], place[rows + 1], slots, stays.astype(int)), shape)
    distinct, count = np.unique(keys, return_counts=True)
    origin, to, slots, stays = np.unravel_index(distinct, shape)
    share = count / np.bincount(place, minlength=n_places)[origin]
    first = np.searchsorted(origin, np.arange(n_places + 1))
    return _Moves(first, to, share, slots, stays.astype(bool))


def _points(demand: Demand, place: IntArray, n_places: int) -> _Points:
    """Sort the decision points by place; a common cost stays one row."""
    order = np.argsort(place, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=n_places))])
    one_row = demand.cost.strides[0] == 0
    cost = demand.cost[:1].copy() if one_row else demand.cost[order]
    return _Points(first, demand.gain[order].astype(np.float64), cost)


def _reserve_at(price: float, points: _Points, moves: _Moves, states: _States) -> FloatArray:
    """Return R (places, K, Q) at a price; places that no session reaches take the one before."""
    n_places = len(points.first) - 1
    net, net_first = _worthwhile(points, price)
    shape = (n_places, states.session + 1, states.page + 1)
    reserve = np.zeros(shape)
    value = np.zeros((*shape, states.gap + 1))
    counts = np.diff(points.first)
    forward = bool((moves.to > np.repeat(np.arange(n_places), np.diff(moves.first))).all())
    for _ in range(1 if forward else MOST_SWEEPS):
        change = _sweep(net, net_first, counts, moves, states, value, reserve)
        if change <= TOLERANCE * value.max():
            break
    _fill_unseen(reserve, counts)
    return reserve[:, 1:, 1:]


def _fill_unseen(reserve: FloatArray, counts: IntArray) -> None:
    seen = np.where(counts > 0, np.arange(len(counts)), -1)
    last = np.maximum.accumulate(seen)
    reserve[:] = reserve[np.where(last < 0, np.argmax(counts > 0), last)]


@njit(cache=True, nogil=True)
def _worthwhile(points: _Points, price: float) -> tuple[FloatArray, IntArray]:
    """List the net values above 0, place by place, and where each place begins."""
    n_places, step = len(points.first) - 1, 1 if len(points.cost) > 1 else 0
    net, first = np.empty(len(points.gain)), np.zeros(n_places + 1, np.int64)
    count = 0
    for x in range(n_places):
        for row in range(points.first[x], points.first[x + 1]):
            best = 0.0
            for a in range(points.gain.shape[1]):
                best = max(best, points.gain[row, a] - price * points.cost[row * step, a])
            if best > 0.0:
                net[count] = best
                count += 1
        first[x + 1] = count
    return net[:count], first


@njit(cache=True, nogil=True)
def _sweep(
    net: FloatArray,
    net_first: IntArray,
    counts: IntArray,
    moves: _Moves,
    states: _States,
    value: FloatArray,
    reserve: FloatArray,
) -> float:
    """Update value and reserve from the last place to the first; return the largest change."""
    change = 0.0
    onward = np.zeros(value.shape[1:])
    for x in range(len(counts) - 1, -1, -1):
        if counts[x] == 0:
            continue
        _go_on(x, moves, states, value, onward)
        for k in range(1, states.session + 1):
            for q in range(1, states.page + 1):
                kept = onward[k, q, 0]
                spent = onward[k - states.uses_session, q - states.uses_page, states.gap]
                reserve[x, k, q] = kept - spent
                excess = 0.0
                for j in range(net_first[x], net_first[x + 1]):
                    excess += max(0.0, net[j] - reserve[x, k, q])
                # `onward` at (k, q, 0) is not read again for this place by a larger k or q.
                value_here = kept + excess / counts[x]
                change = max(change, abs(value_here - value[x, k, q, 0]))
                value[x, k, q, 0] = value_here
        _wait(x, states, onward, value)
    return change


@njit(cache=True, nogil=True)
def _go_on(x: int, moves: _Moves, states: _States, value: FloatArray, onward: FloatArray) -> None:
    """onward[k, q, w]: C at a place."""
    onward[:] = 0.0
    for t in range(moves.first[x], moves.first[x + 1]):
        to, share, slots = moves.to[t], moves.share[t], moves.slots[t]
        for k in range(1, states.session + 1):
            for q in range(states.page + 1):
                then = q if moves.stays[t] else states.page
                for w in range(states.gap + 1):
                    onward[k, q, w] += share * value[to, k, then, max(0, w - slots)]


@njit(cache=True, nogil=True)
def _wait(x: int, states: _States, onward: FloatArray, value: FloatArray) -> None:
    """Where nothing can be decided V is C."""
    for k in range(1, states.session + 1):
        value[x, k, 0, 0] = onward[k, 0, 0]
        for q in range(states.page + 1):
            value[x, k, q, 1:] = onward[k, q, 1:]
