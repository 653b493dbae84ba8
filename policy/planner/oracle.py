"""The best plan of every session at given prices.

    max  sum_i (gain[i, a] - price[window[i], lane[a]] cost[i, a]) x[i, a]   over a session's plans

A request is taken only where its net value is above 0; ties go to no request, then to the smaller
arm. Points that are not worth their price can never be part of a best plan, so each session is
reduced to its worthwhile points first; few sessions then need the dynamic programme of `session`.

A run (the points of one session in one window) none of whose points gains its price is passed over
by its highest gain per unit of cost, which is found once: most runs are, so that a pass reads few
of the points.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.planner.columns import Caps, Columns, Runs
from policy.planner.rows import Rows
from policy.planner.session import keep_best
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray

__all__ = ["Pass", "SessionOracle"]

CHUNK_SESSIONS = 4096
MOST_CHUNKS = 64
#: Sums of all chunks together stay below this many numbers, however many windows there are.
MOST_SUMS = 1 << 25
#: A quotient and a product of the same numbers differ by less than this, relatively.
ULPS = 1e-12


class Scratch(NamedTuple):
    """Room for one session's worthwhile points and its table, used again for every session."""

    row: NDArray[np.int64]
    window: NDArray[np.int32]
    slot: NDArray[np.int64]
    page: NDArray[np.int32]
    net: FloatArray
    arm: NDArray[np.int8]
    follow: NDArray[np.int64]
    table: FloatArray


T = TypeVar("T")
Sums: TypeAlias = tuple[FloatArray, FloatArray, int]
"""Gain of each group (W,), usage of each group (W, band, L), offset of the band."""


@dataclass(frozen=True)
class Pass:
    """What the sessions do at one price vector, group by group: see `Demand.group`.

    Parameters
    ----------
    gain : (W,) float64
        Gain of the sessions of each group.
    usage : (W, band, L) float64
        usage[g, b, l]: requests that group g spends in window g + offset + b and lane l.
    offset : int
        Smallest distance from a session's group to a window it touches.
    arm : (n,) int8, optional
        Chosen arm of each point, where it was asked for.
    """

    gain: FloatArray
    usage: FloatArray
    offset: int
    arm: NDArray[np.int8] | None = None

    def __add__(self, other: "Pass") -> "Pass":
        """Return what both sets of sessions do; arms are left out."""
        low = min(self.offset, other.offset)
        high = max(p.offset + p.usage.shape[1] for p in (self, other))
        windows, _, lanes = self.usage.shape
        usage = np.zeros((windows, high - low, lanes))
        for one in (self, other):
            begin = one.offset - low
            usage[:, begin : begin + one.usage.shape[1]] += one.usage
        return Pass(self.gain + other.gain, usage, low)

    def entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
        """Group, place (window L + lane) and requests of every usage that is not 0."""
        group, column, lane = np.nonzero(self.usage)
        place = (group + self.offset + column) * self.usage.shape[2] + lane
        return group, place, self.usage[group, column, lane]

    def spend(self) -> FloatArray:
        """Return the requests spent in each window and lane, (W, L), all groups together."""
        _, place, requests = self.entries()
        shape = (self.gain.size, self.usage.shape[2])
        spend = np.bincount(place, requests, minlength=shape[0] * shape[1])
        return spend.reshape(shape).astype(np.float64)


class SessionOracle:
    """Best session plans at a price, over threads, the same to the bit for any number of them.

    Parameters
    ----------
    demand : Demand
    limits : Limits
    rows : Rows
        The budget, for the lanes of the arms.
    threads : int, optional
        Absent: the cores this process may use.
    """

    def __init__(
        self, demand: Demand, limits: Limits, rows: Rows, *, threads: int | None = None
    ) -> None:
        self._columns = Columns.of(demand, rows.lane)
        self._runs = Runs.of(demand)
        self._best = np.empty(self._runs.window.size)
        _best_ratios(self._columns, self._runs, self._best)
        self._caps = Caps.of(limits)
        self._threads = threads or _cores()
        self._shape = (demand.n_windows, rows.lanes)
        self._longest = int(np.diff(demand.session_start).max())
        low, high = _window_offsets(self._runs, demand.group)
        self._offset, self._band = int(low), int(high - low + 1)
        # Sums are added chunk by chunk, so the chunks must not depend on the threads.
        most = min(MOST_CHUNKS, MOST_SUMS // (demand.n_windows * self._band * rows.lanes))
        chunks = int(np.clip(demand.n_sessions // CHUNK_SESSIONS, 1, max(most, 1)))
        self._bounds = np.linspace(0, demand.n_sessions, chunks + 1).astype(np.int64)

    def best_plans(self, price: FloatArray, *, assign: bool = False) -> Pass:
        """Plan every session at `price` (W, L), gain per unit of cost; `assign` asks for arms."""
        arm = np.zeros(len(self._columns.gain) if assign else 0, dtype=np.int8)
        gain, usage = self._zeros()
        price = np.ascontiguousarray(price).reshape(self._shape)
        for chunk_gain, chunk_usage in self._chunks(price, arm):
            gain += chunk_gain
            usage += chunk_usage
        return Pass(gain, usage, self._offset, arm if assign else None)

    def worthwhile(self, price: FloatArray) -> NDArray[np.int64]:
        """Return the points with an arm that gains more than `price` (W, L) per unit of cost."""
        price = np.ascontiguousarray(price).reshape(self._shape)
        demand = (self._columns, self._runs)

        def run(chunk: int) -> NDArray[np.int64]:
            sessions = (self._bounds[chunk], self._bounds[chunk + 1])
            first, last = self._columns.start[sessions[0]], self._columns.start[sessions[1]]
            keep = np.zeros(last - first, dtype=np.bool_)
            _mark_worthwhile(sessions, demand, self._best, (price, price.min(axis=1)), keep)
            return np.flatnonzero(keep) + int(first)

        return np.concatenate(list(self._spread(run)))

    def ceilings(self) -> FloatArray:
        """Price of each window from which on no arm that costs anything is worth it, (W,)."""
        highest = np.zeros(self._shape[0])
        _highest_ratios(self._columns, highest)
        return highest

    def _zeros(self) -> tuple[FloatArray, FloatArray]:
        windows, lanes = self._shape
        return np.zeros(windows), np.zeros((windows, self._band, lanes))

    def _chunks(
        self, price: FloatArray, arm: NDArray[np.int8]
    ) -> Iterator[tuple[FloatArray, FloatArray]]:
        prices = (price, price.min(axis=1))

        def run(chunk: int) -> tuple[FloatArray, FloatArray]:
            gain, usage = self._zeros()
            sessions = (self._bounds[chunk], self._bounds[chunk + 1])
            demand, sums = (self._columns, self._runs, self._caps), (gain, usage, self._offset)
            _plan_sessions(sessions, demand, self._best, prices, self._scratch(), arm, sums)
            return gain, usage

        return self._spread(run)

    def _spread(self, run: Callable[[int], T]) -> Iterator[T]:
        """Run chunk by chunk, over threads; answers come in order."""
        chunks = range(self._bounds.size - 1)
        if len(chunks) == 1 or self._threads == 1:
            yield from map(run, chunks)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            yield from pool.map(run, chunks)

    def _scratch(self) -> Scratch:
        n = self._longest
        table = np.zeros(
            (n + 1, min(self._caps.session or 1, n) + 1, min(self._caps.page or 1, n) + 1)
        )
        kinds = (np.int64, np.int32, np.int64, np.int32, np.float64, np.int8, np.int64)
        columns = (np.empty(n + 1, dtype=kind) for kind in kinds)
        return Scratch(*columns, table)  # type: ignore[arg-type, call-arg]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@njit(nogil=True, cache=True)
def _window_offsets(runs: Runs, group: NDArray[np.int32]) -> tuple[int, int]:
    """Smallest and largest distance of a point's window from its session's group."""
    low, high = 0, 0
    for session in range(runs.of_session.size - 1):
        for run in range(runs.of_session[session], runs.of_session[session + 1]):
            distance = runs.window[run] - group[session]
            low, high = min(low, distance), max(high, distance)
    return low, high


@njit(nogil=True, cache=True)
def _best_ratios(columns: Columns, runs: Runs, best: FloatArray) -> None:
    """Highest gain per unit of cost of each run, infinite where an arm that gains costs nothing."""
    for run in range(best.size):
        highest = -np.inf
        for row in range(runs.start[run], runs.start[run + 1]):
            for a in range(columns.gain.shape[1]):
                gain, cost = columns.gain[row, a], columns.cost[row * columns.cost_step, a]
                if cost > 0:
                    highest = max(highest, gain / cost)
                elif gain > 0:
                    highest = np.inf
        best[run] = highest


@njit(nogil=True, cache=True)
def _highest_ratios(columns: Columns, highest: FloatArray) -> None:
    """Raise `highest` (W,) to the largest gain per unit of cost in each window."""
    for row in range(columns.gain.shape[0]):
        window = columns.window[row]
        for a in range(columns.gain.shape[1]):
            cost = columns.cost[row * columns.cost_step, a]
            if columns.gain[row, a] > highest[window] * cost and cost > 0:
                highest[window] = columns.gain[row, a] / cost


@njit(nogil=True, cache=True)
def _plan_sessions(
    sessions: tuple[int, int],
    demand: tuple[Columns, Runs, Caps],
    best: FloatArray,
    price: tuple[FloatArray, FloatArray],
    scratch: Scratch,
    arm: NDArray[np.int8],
    sums: Sums,
) -> None:
    """Plan sessions first .. last - 1: add each group's gain and usage to `sums`, write `arm`."""
    # Arrays are taken out of their tuples once: each taking out counts a reference.
    gain, usage, offset = sums
    columns, runs, caps = demand
    start, window, of_session = runs.start, runs.window, runs.of_session
    gains, costs, step, lane = columns.gain, columns.cost, columns.cost_step, columns.lane
    slots, pages, groups = columns.slot, columns.page, columns.group
    lanes, cheapest = price
    row, at, slot, page, net, choice, follow, table = scratch
    one_arm = gains.shape[1] == 1 and step == 0
    for session in range(sessions[0], sessions[1]):
        count = 0
        for run in range(of_session[session], of_session[session + 1]):
            there = window[run]
            if best[run] + ULPS * abs(best[run]) <= cheapest[there]:
                continue
            begin, end, first = start[run], start[run + 1], count
            if one_arm:
                count = _above(begin, end, gains, lanes[there, 0] * costs[0, 0], row, net, count)
                choice[first:count] = 1
            else:
                count = _best_arms(
                    begin, end, gains, costs, step, lane, lanes[there], row, net, choice, count
                )
            at[first:count] = there
        if count > 1:
            for j in range(count):
                slot[j], page[j] = slots[row[j]], pages[row[j]]
            keep_best(count, caps, slot, page, net, choice, follow, table)
        group = groups[session]
        for j in range(count):
            a = choice[j] - 1
            if a >= 0:
                gain[group] += gains[row[j], a]
                usage[group, at[j] - group - offset, lane[a]] += costs[row[j] * step, a]
                if arm.size > 0:
                    arm[row[j]] = a + 1


@njit(nogil=True, cache=True)
def _mark_worthwhile(
    sessions: tuple[int, int],
    demand: tuple[Columns, Runs],
    best: FloatArray,
    price: tuple[FloatArray, FloatArray],
    keep: NDArray[np.bool_],
) -> None:
    """Mark the points of sessions first .. last - 1 that have an arm worth its price."""
    columns, runs = demand
    start, window, of_session = runs.start, runs.window, runs.of_session
    gains, costs, step, lane = columns.gain, columns.cost, columns.cost_step, columns.lane
    lanes, cheapest = price
    first = columns.start[sessions[0]]
    for run in range(of_session[sessions[0]], of_session[sessions[1]]):
        if best[run] + ULPS * abs(best[run]) <= cheapest[window[run]]:
            continue
        for i in range(start[run], start[run + 1]):
            for a in range(gains.shape[1]):
                if gains[i, a] > lanes[window[run], lane[a]] * costs[i * step, a]:
                    keep[i - first] = True


@njit(nogil=True, cache=True)
def _above(
    begin: int,
    end: int,
    gains: FloatArray,
    paid: float,
    row: NDArray[np.int64],
    net: FloatArray,
    count: int,
) -> int:
    """List the points of a run that gain more than the one arm pays."""
    for i in range(begin, end):
        row[count], net[count] = i, gains[i, 0] - paid
        count += gains[i, 0] > paid
    return count


@njit(nogil=True, cache=True)
def _best_arms(
    begin: int,
    end: int,
    gains: FloatArray,
    costs: FloatArray,
    step: int,
    lane: NDArray[np.int64],
    price: FloatArray,
    row: NDArray[np.int64],
    net: FloatArray,
    choice: NDArray[np.int8],
    count: int,
) -> int:
    """List the points of a run with an arm worth its price, and the best such arm of each."""
    for i in range(begin, end):
        highest, arm = 0.0, 0
        for a in range(gains.shape[1]):
            left = gains[i, a] - price[lane[a]] * costs[i * step, a]
            if left > highest:
                highest, arm = left, a + 1
        row[count], net[count], choice[count] = i, highest, arm
        count += arm > 0
    return count
