"""The best plan of every session at given prices.

    max  sum_i (gain[i, a] - price[window[i]] cost[i, a]) x[i, a]   over the plans of a session

A request is taken only where its net value is above 0; ties go to no request, then to the smaller
arm. Points that are not worth their price can never be part of a best plan, so each session is
reduced to its worthwhile points first; most sessions then need no dynamic programme at all.

The programme runs backwards over the worthwhile points j with k requests left in the session and
q left on the page of j:

    V[j, k, q] = max(V[j + 1, k, q'], net[j] + V[follow[j], k - 1, q''])

where follow[j] is the first point that keeps the minimum gap, and q', q'' start anew on a new page.
A cap that is not given has one state that is never used up.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.planner.columns import Caps, Columns
from policy.problem import Demand, Limits
from uplift.arrays import FloatArray

__all__ = ["Pass", "SessionOracle"]

CHUNK_SESSIONS = 4096
MOST_CHUNKS = 64


class Scratch(NamedTuple):
    """Room for one session's worthwhile points and its table, used again for every session."""

    row: NDArray[np.int64]
    net: FloatArray
    arm: NDArray[np.int8]
    follow: NDArray[np.int64]
    table: FloatArray


Sums: TypeAlias = tuple[FloatArray, FloatArray, int]
"""Gain of each group (W,), usage of each group (W, band), offset of the band."""


@dataclass(frozen=True)
class Pass:
    """What the sessions do at one price vector; a session belongs to its first point's window.

    Parameters
    ----------
    arm : (n,) int8
        Chosen arm of each point.
    gain : (W,) float64
        Gain of the sessions of each group.
    usage : (W, band) float64
        usage[g, b]: requests that group g spends in window g + offset + b.
    offset : int
        Smallest distance from a session's first window to a window it touches.
    """

    arm: NDArray[np.int8]
    gain: FloatArray
    usage: FloatArray
    offset: int

    def entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
        """Group, window and requests of every usage that is not 0."""
        group, column = np.nonzero(self.usage)
        return group, group + self.offset + column, self.usage[group, column]

    def spend(self) -> FloatArray:
        """Return the requests spent in each window, all groups together."""
        _, window, requests = self.entries()
        return np.bincount(window, requests, minlength=self.gain.size).astype(np.float64)


class SessionOracle:
    """Best session plans at a price, over threads, the same to the bit for any number of them.

    Parameters
    ----------
    demand : Demand
    limits : Limits
    threads : int, optional
        Absent: the cores this process may use.
    """

    def __init__(self, demand: Demand, limits: Limits, *, threads: int | None = None) -> None:
        self._columns = Columns.of(demand)
        self._caps = Caps.of(limits)
        self._threads = threads or _cores()
        self._n_windows = demand.n_windows
        self._longest = int(np.diff(demand.session_start).max())
        low, high = _window_offsets(self._columns.window, self._columns.start)
        self._offset, self._band = int(low), int(high - low + 1)
        self._arm = np.zeros(demand.n_points, dtype=np.int8)
        # Sums are added chunk by chunk, so the chunks must not depend on the threads.
        chunks = int(np.clip(demand.n_sessions // CHUNK_SESSIONS, 1, MOST_CHUNKS))
        self._bounds = np.linspace(0, demand.n_sessions, chunks + 1).astype(np.int64)

    def best_plans(self, price: FloatArray) -> Pass:
        """Plan every session at `price` (W,), gain per unit of cost; the next call reuses `arm`."""
        gain = np.zeros(self._n_windows)
        usage = np.zeros((self._n_windows, self._band))
        for chunk_gain, chunk_usage in self._chunks(np.ascontiguousarray(price)):
            gain += chunk_gain
            usage += chunk_usage
        return Pass(self._arm, gain, usage, self._offset)

    def ceilings(self) -> FloatArray:
        """Price of each window from which on no arm that costs anything is worth it, (W,)."""
        highest = np.zeros(self._n_windows)
        _highest_ratio(self._columns, highest)
        return highest

    def _chunks(self, price: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        def run(chunk: int) -> tuple[FloatArray, FloatArray]:
            gain, usage = np.zeros(price.size), np.zeros((price.size, self._band))
            first, last = self._bounds[chunk], self._bounds[chunk + 1]
            sums = (gain, usage, self._offset)
            scratch = self._scratch()
            _plan_sessions(first, last, self._columns, self._caps, price, scratch, self._arm, sums)
            return gain, usage

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
        rows, follow = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        return Scratch(rows, np.empty(n), np.empty(n, dtype=np.int8), follow, table)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@njit(nogil=True, cache=True)
def _window_offsets(window: NDArray[np.int32], start: NDArray[np.int64]) -> tuple[int, int]:
    """Smallest and largest distance of a point's window from its session's first window."""
    low, high = 0, 0
    for session in range(start.size - 1):
        first = start[session]
        for row in range(first + 1, start[session + 1]):
            distance = window[row] - window[first]
            low, high = min(low, distance), max(high, distance)
    return low, high


@njit(nogil=True, cache=True)
def _highest_ratio(columns: Columns, highest: FloatArray) -> None:
    """Raise `highest` (W,) to the largest gain per unit of cost in each window."""
    for row in range(columns.gain.shape[0]):
        window = columns.window[row]
        for a in range(columns.gain.shape[1]):
            cost = columns.cost[row * columns.cost_step, a]
            if columns.gain[row, a] > highest[window] * cost and cost > 0:
                highest[window] = columns.gain[row, a] / cost


@njit(nogil=True, cache=True)
def _plan_sessions(
    first: int,
    last: int,
    columns: Columns,
    caps: Caps,
    price: FloatArray,
    scratch: Scratch,
    arm: NDArray[np.int8],
    sums: Sums,
) -> None:
    """Plan sessions first..last-1: write `arm`, add each group's gain and usage to `sums`."""
    gain, usage, offset = sums
    for session in range(first, last):
        begin, end = columns.start[session], columns.start[session + 1]
        group = columns.window[begin]
        count = _worthwhile(begin, end, columns, price, scratch, arm)
        if not _all_fit(count, columns, caps, scratch):
            _drop_unplanned(count, columns, caps, scratch, arm)
        for j in range(count):
            row = scratch.row[j]
            if arm[row] > 0:
                gain[group] += columns.gain[row, arm[row] - 1]
                cost = columns.cost[row * columns.cost_step, arm[row] - 1]
                usage[group, columns.window[row] - group - offset] += cost


@njit(nogil=True, cache=True)
def _worthwhile(
    begin: int,
    end: int,
    columns: Columns,
    price: FloatArray,
    scratch: Scratch,
    arm: NDArray[np.int8],
) -> int:
    """Choose the best arm of each point by itself; list the points with net value above 0."""
    count = 0
    for row in range(begin, end):
        best, choice = 0.0, 0
        for a in range(columns.gain.shape[1]):
            paid = price[columns.window[row]] * columns.cost[row * columns.cost_step, a]
            net = columns.gain[row, a] - paid
            if net > best:
                best, choice = net, a + 1
        arm[row] = choice
        if choice > 0:
            scratch.row[count], scratch.net[count], scratch.arm[count] = row, best, choice
            count += 1
    return count


@njit(nogil=True, cache=True)
def _all_fit(count: int, columns: Columns, caps: Caps, scratch: Scratch) -> bool:
    """Whether all worthwhile points of a session can be requested together."""
    if caps.session > 0 and count > caps.session:
        return False
    on_page = 1
    for j in range(1, count):
        row, before = scratch.row[j], scratch.row[j - 1]
        if columns.slot[row] - columns.slot[before] < caps.gap:
            return False
        on_page = on_page + 1 if columns.page[row] == columns.page[before] else 1
        if caps.page > 0 and on_page > caps.page:
            return False
    return True


@njit(nogil=True, cache=True)
def _drop_unplanned(
    count: int, columns: Columns, caps: Caps, scratch: Scratch, arm: NDArray[np.int8]
) -> None:
    """Keep the best plan among the worthwhile points; set the arm of the others to 0."""
    # A cap that this session cannot reach is no cap: one state, never used up.
    in_session = caps.session if 0 < caps.session < count else 0
    on_page = caps.page if 0 < caps.page < count else 0
    _follow(count, columns, caps.gap, scratch)
    _backward(count, columns, in_session, on_page, scratch)
    _forward(count, columns, in_session, on_page, scratch, arm)


@njit(nogil=True, cache=True)
def _follow(count: int, columns: Columns, gap: int, scratch: Scratch) -> None:
    """First point after j whose slot keeps the minimum gap."""
    ahead = 0
    for j in range(count):
        ahead = max(ahead, j + 1)
        slot = columns.slot[scratch.row[j]]
        while ahead < count and columns.slot[scratch.row[ahead]] - slot < gap:
            ahead += 1
        scratch.follow[j] = ahead


@njit(nogil=True, cache=True)
def _same_page(j: int, other: int, count: int, columns: Columns, scratch: Scratch) -> bool:
    return other < count and columns.page[scratch.row[other]] == columns.page[scratch.row[j]]


@njit(nogil=True, cache=True)
def _backward(
    count: int, columns: Columns, in_session: int, on_page: int, scratch: Scratch
) -> None:
    """Fill table[j, k, q]; k = 0 and j = count are worth nothing."""
    table = scratch.table
    most, full = max(in_session, 1), max(on_page, 1)
    use, use_page = min(in_session, 1), min(on_page, 1)
    table[count, :, :] = 0.0
    for j in range(count - 1, -1, -1):
        table[j, 0, :] = 0.0
        follow, net = scratch.follow[j], scratch.net[j]
        stays = _same_page(j, j + 1, count, columns, scratch)
        returns = _same_page(j, follow, count, columns, scratch)
        for k in range(1, most + 1):
            for q in range(full + 1):
                value = table[j + 1, k, q if stays else full]
                if q > 0:
                    taken = net + table[follow, k - use, q - use_page if returns else full]
                    value = max(value, taken)
                table[j, k, q] = value


@njit(nogil=True, cache=True)
def _forward(
    count: int,
    columns: Columns,
    in_session: int,
    on_page: int,
    scratch: Scratch,
    arm: NDArray[np.int8],
) -> None:
    """Read the best plan from the table."""
    table = scratch.table
    full = max(on_page, 1)
    j, k, q = 0, max(in_session, 1), full
    while j < count:
        take = (
            table[j, k, q]
            > table[j + 1, k, q if _same_page(j, j + 1, count, columns, scratch) else full]
        )
        ahead = scratch.follow[j] if take else j + 1
        for skipped in range(j + 1 if take else j, ahead):
            arm[scratch.row[skipped]] = 0
        if take:
            k -= min(in_session, 1)
            q -= min(on_page, 1)
        q = q if _same_page(j, ahead, count, columns, scratch) else full
        j = ahead
