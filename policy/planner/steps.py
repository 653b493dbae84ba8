"""Steps along the upper hulls of points' arms, by slope, as far as a budget reaches.

    slope of a step from arm b to arm a = (gain[a] - gain[b]) / (cost[a] - cost[b])

The hull of a point begins at no request, or at its best arm that costs nothing, which is always
taken. Slopes fall along a hull, so steps taken by slope come in the order of their hulls. Windows
within a total are a laminar family: taking each step as far as its window and the total have room,
the steepest first, solves the linear relaxation. A row's price is the slope of the first step that
it cuts short.

Of many steps only those near a price need be told apart: a tally by window and bins of slope, 64 an
octave, tells which bin a row cuts short; the steps of a steeper bin are taken as one, the others
are left out.

Source: Sinha and Zoltners, The multiple-choice knapsack problem, Operations Research 27 (1979);
greedy over laminar families: Edmonds, Submodular functions, matroids and certain polyhedra (1970).
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.capacity import ROUND_OFF
from policy.planner.columns import Columns
from policy.planner.rows import Rows
from policy.problem import Demand
from uplift.arrays import FloatArray

__all__ = ["Steps", "last_steeper"]

FEW = 1 << 18
"""Arms of all points together up to which every step stays on its own."""

MOST_BINS = 2048
"""Bins below the steepest slope, 32 octaves; the last one holds all that is below them."""

KEY_SHIFT = 46
"""Low bits of a float64 that slopes of one bin may differ in: all but 6 of the mantissa."""


ULPS = 1e-12
"""A slope and a price that is the same slope, but split into rows', differ by less, relatively."""

StepArrays: TypeAlias = tuple[NDArray[np.int32], FloatArray, FloatArray]
"""Window, slope and cost of steps."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps that rows can reach, the steepest first; of equal ones the first point's.

    Attributes
    ----------
    window : (S,) int32
    slope : (S,) float64
        Gain per request, above 0; the mean of steps that are taken as one.
    cost : (S,) float64
        Requests, above 0.
    free : float
        Gain of the arms that cost nothing, all points together.
    """

    window: NDArray[np.int32]
    slope: FloatArray
    cost: FloatArray
    free: float

    @classmethod
    def within(cls, demand: Demand, rows: Rows) -> "Steps":
        """Climb the hulls of a demand, as far as rows of windows and a total have room."""
        columns = Columns.of(demand, rows.lane)
        most = demand.n_points // demand.n_windows if demand.gain.size > FEW else 1
        tally = np.zeros((demand.n_windows, int(np.clip(most, 1, MOST_BINS)), 3))
        top = _steepest(columns)
        free = _tally(columns, top, tally)
        # Slopes of the last bin may be far apart: its steps are never taken as one.
        depth = np.minimum(_depth(tally[:, :, 0], rows), tally.shape[1] - 1)
        far, near = _merged(tally, depth), _near(columns, top, tally, depth)
        window = np.concatenate((far[0], near[0]))
        slope, cost = np.concatenate((far[1], near[1])), np.concatenate((far[2], near[2]))
        order = np.argsort(-slope, kind="stable")
        return cls(window[order], slope[order], cost[order], free)

    def take(self, rows: Rows, tolerance: float = ROUND_OFF) -> tuple[FloatArray, FloatArray]:
        """Take the steps while rows have room; return requests (S,) and prices of rows (R,)."""
        taken, price = np.zeros(self.slope.size), np.zeros(rows.count)
        room = rows.upper * (1 + tolerance)
        _take(self.window, self.slope, self.cost, room, taken, price)
        price[:-1] = np.maximum(price[:-1] - price[-1], 0.0)
        return taken, price


def _depth(cost: FloatArray, rows: Rows) -> NDArray[np.int64]:
    """Return the bin that is cut short in each window, (W,), by costs (W, B); B where none is."""
    # Sums here and those of single steps round differently: twice the tolerance covers both.
    room = rows.upper * (1 + 2 * ROUND_OFF)
    spend = np.cumsum(cost, axis=1)
    own = (spend <= room[:-1, None]).sum(axis=1)
    shared = (np.minimum(spend, room[:-1, None]).sum(axis=0) <= room[-1]).sum()
    depth: NDArray[np.int64] = np.minimum(own, shared)
    return depth


def _merged(tally: FloatArray, depth: NDArray[np.int64]) -> StepArrays:
    """Return the steps of each window's steeper bins, those of one bin as one step."""
    whole = np.arange(tally.shape[1]) < depth[:, None]
    window, place = np.nonzero(whole & (tally[:, :, 0] > 0))
    cost, gain, _ = tally[window, place].T
    return window.astype(np.int32), gain / cost, cost


def _near(columns: Columns, top: float, tally: FloatArray, depth: NDArray[np.int64]) -> StepArrays:
    """Return the steps of one bin of each window, (W,), in the order of points."""
    found = int(tally[np.arange(depth.size), depth, 2].sum())
    steps = np.empty(found, dtype=np.int32), np.empty(found), np.empty(found)
    _collect(columns, top, tally.shape[1], depth, *steps)
    return steps


@njit(nogil=True, cache=True)
def _free_arm(point: int, columns: Columns) -> int:
    """Arm of most gain, above 0, that costs nothing; 0 for none."""
    best, arm = 0.0, 0
    for a in range(columns.gain.shape[1]):
        if columns.gain[point, a] > best and columns.cost[point * columns.cost_step, a] == 0:
            best, arm = columns.gain[point, a], a + 1
    return arm


@njit(nogil=True, cache=True)
def _next(point: int, before: int, most: float, columns: Columns) -> tuple[int, float, float]:
    """Next arm on the hull after `before`, slope (at most `most`) and cost; arm 0 at its end."""
    gained, spent = 0.0, 0.0
    if before > 0:
        gained = float(columns.gain[point, before - 1])
        spent = columns.cost[point * columns.cost_step, before - 1]
    arm, slope, cost = 0, 0.0, 0.0
    for a in range(columns.gain.shape[1]):
        rise = columns.gain[point, a] - gained
        run = columns.cost[point * columns.cost_step, a] - spent
        if rise > 0 and run > 0:
            ratio = rise / run
            if ratio > slope or (ratio == slope and run < cost):
                arm, slope, cost = a + 1, ratio, run
    return arm, min(slope, most), cost


@njit(nogil=True, cache=True)
def last_steeper(point: int, price: float, columns: Columns) -> int:
    """Arm of a point after all its steps steeper than a price; 0 for none."""
    arm, slope = _free_arm(point, columns), np.inf
    while True:
        after, slope, _ = _next(point, arm, slope, columns)
        if after == 0 or slope <= price * (1 + ULPS):
            return arm
        arm = after


@njit(nogil=True, cache=True)
def _steepest(columns: Columns) -> float:
    """Most gain per cost of an arm: no step is steeper."""
    top = 0.0
    for point in range(columns.gain.shape[0]):
        for a in range(columns.gain.shape[1]):
            cost = columns.cost[point * columns.cost_step, a]
            if cost > 0 and columns.gain[point, a] > top * cost:
                top = columns.gain[point, a] / cost
    return top


@njit(nogil=True, cache=True)
def _bin(slope: float, top: float, bins: int) -> int:
    """Bins below the top: positive floats are ordered as their bits are."""
    below: Any = np.float64(top).view(np.int64) - np.float64(slope).view(np.int64)
    place: int = min(max(below, 0) >> KEY_SHIFT, bins - 1)
    return place


@njit(nogil=True, cache=True)
def _tally(columns: Columns, top: float, tally: FloatArray) -> float:
    """Sum cost, gain and number of steps by window and bin, (W, B, 3); return the free gain."""
    free = 0.0
    for point in range(columns.gain.shape[0]):
        arm, slope = _free_arm(point, columns), np.inf
        free += float(columns.gain[point, arm - 1]) if arm > 0 else 0.0
        while True:
            arm, slope, cost = _next(point, arm, slope, columns)
            if arm == 0:
                break
            place = _bin(slope, top, tally.shape[1])
            tally[columns.window[point], place, 0] += cost
            tally[columns.window[point], place, 1] += slope * cost
            tally[columns.window[point], place, 2] += 1
    return free


@njit(nogil=True, cache=True)
def _collect(
    columns: Columns,
    top: float,
    bins: int,
    depth: NDArray[np.int64],
    window: NDArray[np.int32],
    slope: FloatArray,
    cost: FloatArray,
) -> None:
    """Write the steps of one bin of each window."""
    k = 0
    for point in range(columns.gain.shape[0]):
        arm, last, there = _free_arm(point, columns), np.inf, columns.window[point]
        while True:
            arm, last, added = _next(point, arm, last, columns)
            place = _bin(last, top, bins) if arm > 0 else bins
            if place > depth[there] or arm == 0:
                break
            if place == depth[there]:
                window[k], slope[k], cost[k] = there, last, added
                k += 1


@njit(nogil=True, cache=True)
def _take(
    window: NDArray[np.int32],
    slope: FloatArray,
    cost: FloatArray,
    room: FloatArray,
    taken: FloatArray,
    price: FloatArray,
) -> None:
    """taken[k]: requests of step k; price[r]: slope of the first step that row r cuts short."""
    total = room.size - 1
    for k in range(slope.size):
        there = window[k]
        if price[there] > 0:
            continue
        possible = min(cost[k], room[there])
        taken[k] = min(possible, room[total])
        room[there] -= taken[k]
        room[total] -= taken[k]
        if taken[k] < possible:
            price[total] = slope[k]
            break
        if possible < cost[k]:
            price[there] = slope[k]
