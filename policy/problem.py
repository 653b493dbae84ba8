"""The planning problem as arrays: what may be requested, what it may cost, what a session allows.

    max  sum_i sum_a gain[i, a] x[i, a]
    s.t. least[w] <= sum over window w of cost[i, a] x[i, a] <= capacity[w]
         sum over everything of cost[i, a] x[i, a] <= total
         the same for the arms of each service
         sum_a x[i, a] <= 1
         per session: at most `per_session` requests, at most `per_page` on one page,
                      slots of two requests at least `min_gap` apart
         x in {0, 1}, and 0 where an arm is forbidden

Arms are counted from 1 here: column 0 of `gain` and `cost` is arm 1; arm 0 (no request) gains
nothing and costs nothing. What may be spent is `policy.capacity`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policy.growing import Growing
from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = ["Demand", "Limits", "assignment_in_input_order"]

LEAST_SIZE, MOST_SIZE = 1e-15, 1e15
"""Quotients of gains and costs of such sizes are told apart in float32."""

Gain: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Demand:
    """Decision points in contiguous arrays, rows grouped by session and sorted by slot.

    Parameters
    ----------
    gain : (n, A) float32 or float64
        Expected gain of each arm over no request; may be negative. Minus infinity forbids the arm
        at the point.
    cost : (n, A) float64
        Requests that each arm spends, >= 0; may be a broadcast view of one row.
    window : (n,) int32
        Window whose capacity the point spends, in [0, n_windows).
    n_windows : int
        Number of windows.
    session_start : (S + 1,) int64
        Rows of session s are session_start[s] .. session_start[s + 1] - 1.
    page : (n,) int32
        Page of the session; must not fall inside a session.
    slot : (n,) int64
        Place counted along the whole session; must not fall inside a session.

    Attributes
    ----------
    group : (S,) int32
        Window of each session's first point; a session keeps it when points are taken out.

    Raises
    ------
    InputError
        Empty demand, gain not a number or infinite, cost negative or not finite, either too large
        or too small to be summed up, offsets, windows, pages or slots out of order.
    """

    gain: Gain
    cost: FloatArray
    window: NDArray[np.int32]
    n_windows: int
    session_start: NDArray[np.int64]
    page: NDArray[np.int32]
    slot: NDArray[np.int64]
    group: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        self._set("gain", _gain_matrix(self.gain))
        self._set("cost", _cost_matrix(self.cost, self.gain.shape))
        for name, dtype in (("window", np.int32), ("page", np.int32), ("slot", np.int64)):
            self._set(name, _integer_column(getattr(self, name), name, self.n_points, dtype))
        self._set("session_start", _offsets(self.session_start, self.n_points))
        self._set("group", self.window[self.session_start[:-1]])
        _check_windows(self.window, self.n_windows)
        inside = np.ones(self.n_points - 1, dtype=bool)
        inside[self.session_start[1:-1] - 1] = False
        _check_order(self.slot, inside, "slot")
        _check_order(self.page, inside, "page")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def n_points(self) -> int:
        """Number of decision points, n."""
        return int(self.gain.shape[0])

    @property
    def n_arms(self) -> int:
        """Number of arms besides "no request", A."""
        return int(self.gain.shape[1])

    @property
    def n_sessions(self) -> int:
        """Number of sessions, S."""
        return int(self.session_start.size - 1)

    def take(self, point: NDArray[np.int64]) -> "Demand":
        """Return some points, in order; sessions without any are left out."""
        before = np.searchsorted(point, self.session_start)
        one_row = self.cost.strides[0] == 0
        part = object.__new__(Demand)  # of checked arrays: nothing to check again
        part._set("gain", self.gain[point])
        part._set("cost", self.cost[: len(point)] if one_row else self.cost[point])
        part._set("n_windows", self.n_windows)
        kept = np.diff(before) > 0
        part._set("session_start", np.append(before[:-1][kept], len(point)))
        part._set("group", self.group[kept])
        for name in ("window", "page", "slot"):
            part._set(name, getattr(self, name)[point])
        return part

    def every(self, step: int) -> "Demand":
        """Return every step-th session."""
        chosen = np.arange(self.n_sessions) % step == 0
        return self.take(np.flatnonzero(np.repeat(chosen, np.diff(self.session_start))))

    @classmethod
    def join(cls, parts: Iterable["Demand"]) -> "Demand":
        """Put demands of different sessions one behind the other; at least one.

        Parts are asked for one after the other, so that never all is there twice. All have one
        cost for all their points, or none has.
        """
        whole, columns, size = object.__new__(cls), dict[str, Growing](), list[IntArray]()
        for part in parts:
            if not columns:
                one_row, cost = part.cost.strides[0] == 0, part.cost[:1].copy()
                names = ("gain", "window", "page", "slot", "group", *(() if one_row else ("cost",)))
                columns = {name: Growing(getattr(part, name)) for name in names}
                whole._set("n_windows", part.n_windows)
            if one_row and (part.cost.strides[0] or (part.cost[:1] != cost).any()):
                raise InputError("The parts have different costs, expected the same of all points.")
            for name, column in columns.items():
                column.extend(getattr(part, name))
            size.append(np.diff(part.session_start))
        for name, column in columns.items():
            whole._set(name, column.array())
        if one_row:
            whole._set("cost", np.broadcast_to(cost, whole.gain.shape))
        whole._set("session_start", np.append(0, np.cumsum(np.concatenate(size))))
        return whole

    @classmethod
    def from_points(
        cls,
        gain: ArrayLike,
        cost: ArrayLike,
        *,
        session: ArrayLike | None = None,
        window: ArrayLike | None = None,
        n_windows: int | None = None,
        page: ArrayLike | None = None,
        slot: ArrayLike | None = None,
    ) -> tuple["Demand", NDArray[np.int64]]:
        """Take points in any order; sort them stably by session, slot, page.

        Parameters
        ----------
        gain : (n,) or (n, A)
        cost : (A,) or (n, A)
        session : (n,), optional
            Any sortable ids; absent: each row its own session.
        window : (n,), optional
            Absent: one window.
        n_windows : int, optional
            Absent: the largest window + 1.
        page, slot : (n,), optional
            Absent: zeros.

        Returns
        -------
        demand : Demand
        order : (n,) int64
            Row `order[k]` of the input is row k of the demand; see `assignment_in_input_order`.
        """
        matrix = _gain_matrix(gain)
        n = len(matrix)
        windows = _column_or_zeros(window, "window", n, np.int32)
        pages = _column_or_zeros(page, "page", n, np.int32)
        slots = _column_or_zeros(slot, "slot", n, np.int64)
        order, starts = _sessions(session, slots, pages)
        costs = _cost_matrix(cost, matrix.shape)
        demand = cls(
            gain=matrix[order],
            cost=costs if costs.strides[0] == 0 else costs[order],
            window=windows[order],
            n_windows=int(windows.max()) + 1 if n_windows is None else n_windows,
            session_start=starts,
            page=pages[order],
            slot=slots[order],
        )
        return demand, order


@dataclass(frozen=True)
class Limits:
    """What one session allows; None or 0 is no limit.

    Parameters
    ----------
    per_session : int, optional
        Most requests in one session, >= 1.
    per_page : int, optional
        Most requests on one page of a session, >= 1.
    min_gap : int
        Least difference between the slots of two requests of a session, >= 0.
    """

    per_session: int | None = None
    per_page: int | None = None
    min_gap: int = 0

    def __post_init__(self) -> None:
        for name, value in (("per_session", self.per_session), ("per_page", self.per_page)):
            if value is not None and value < 1:
                raise InputError(
                    f"{name} is {value}, expected 1 or more; leave it out for no limit."
                )
        if self.min_gap < 0:
            raise InputError(
                f"min_gap is {self.min_gap}, expected 0 or more slots; use 0 for none."
            )


def assignment_in_input_order(arm: IntArray, order: NDArray[np.int64]) -> IntArray:
    """Arm of each row as it was passed to `Demand.from_points`: out[order] = arm."""
    result = np.empty_like(arm)
    result[order] = arm
    return result


def _gain_matrix(gain: ArrayLike) -> Gain:
    """Return (n, A) contiguous gains, float32 kept as it is."""
    matrix = np.asarray(gain)
    if matrix.dtype != np.float32:
        matrix = matrix.astype(np.float64, copy=False)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.shape[1] > np.iinfo(np.int8).max:
        raise InputError(
            f"gain has shape {np.shape(gain)}, expected (points, arms) with at least one point "
            "and 1 to 127 arms; pass one row for each decision point."
        )
    if not (matrix < np.inf).all():
        row = int(np.flatnonzero(~(matrix < np.inf).all(axis=1))[0])
        raise InputError(
            f"The gain of row {row} is {matrix[row]}, expected finite numbers, or minus infinity "
            "where an arm is forbidden; drop the row or score it again."
        )
    most = float(matrix.max())
    if most > 0 and not LEAST_SIZE <= most <= MOST_SIZE:
        raise InputError(
            f"The highest gain is {most:g}, expected one from {LEAST_SIZE:g} to {MOST_SIZE:g}: "
            "others are not told apart; give gains in another unit."
        )
    return np.ascontiguousarray(matrix)


def _cost_matrix(cost: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return (n, A) costs; one row for all points stays a broadcast view."""
    matrix = np.asarray(cost, dtype=np.float64)
    if matrix.shape not in (shape, shape[1:]):
        raise InputError(
            f"cost has shape {matrix.shape}, expected {shape} or {shape[1:]}; "
            "pass one cost for each arm, or one for each point and arm."
        )
    rows = np.atleast_2d(matrix)
    rows = rows[:1] if rows.strides[0] == 0 else rows
    if not (np.isfinite(rows) & (rows >= 0)).all():
        row, arm = np.argwhere(~(np.isfinite(rows) & (rows >= 0)))[0]
        raise InputError(
            f"The cost of arm {arm + 1} in row {row} is {rows[row, arm]}, expected a finite "
            "number of requests, 0 or more; correct the arm's cost."
        )
    sizes = rows[rows > 0]
    if sizes.size and not (sizes.min() >= LEAST_SIZE and sizes.max() <= MOST_SIZE):
        raise InputError(
            f"Costs reach from {sizes.min():g} to {sizes.max():g}, expected 0 or numbers from "
            f"{LEAST_SIZE:g} to {MOST_SIZE:g}; give costs in requests."
        )
    one_row = matrix.ndim == 1 or matrix.strides[0] == 0
    return np.broadcast_to(rows[:1], shape) if one_row else np.ascontiguousarray(matrix)


def _integer_column(values: ArrayLike, name: str, n: int, dtype: Any) -> NDArray[Any]:
    column = np.asarray(values)
    if column.shape != (n,) or column.dtype.kind not in "iu":
        raise InputError(
            f"{name} has shape {column.shape} and type {column.dtype}, expected ({n},) whole "
            f"numbers; give one {name} for each point."
        )
    limits = np.iinfo(dtype)
    if column.min() < limits.min or column.max() > limits.max:
        raise InputError(
            f"{name} reaches from {column.min()} to {column.max()}, expected numbers that fit "
            f"{limits.dtype}; count from 0."
        )
    return np.ascontiguousarray(column, dtype=dtype)


def _column_or_zeros(values: ArrayLike | None, name: str, n: int, dtype: Any) -> NDArray[Any]:
    if values is None:
        return np.zeros(n, dtype=dtype)
    return _integer_column(values, name, n, dtype)


def _offsets(session_start: ArrayLike, n: int) -> NDArray[np.int64]:
    starts = np.ascontiguousarray(session_start, dtype=np.int64)
    covers = starts.ndim == 1 and starts.size >= 2 and starts[0] == 0 and starts[-1] == n
    if not covers or (np.diff(starts) <= 0).any():
        raise InputError(
            f"session_start does not rise from 0 to the {n} points, expected the first row of "
            "each session and then the number of points; sort the rows by session."
        )
    return starts


def _check_windows(window: NDArray[np.int32], n_windows: int) -> None:
    low, high = int(window.min()), int(window.max())
    if low < 0 or high >= n_windows:
        raise InputError(
            f"Windows reach from {low} to {high}, expected 0 to {n_windows - 1}; "
            "count windows from 0 or raise n_windows."
        )


def _check_order(values: IntArray, inside: NDArray[np.bool_], name: str) -> None:
    """`inside[i]`: rows i and i + 1 belong to the same session."""
    falls = np.flatnonzero((values[1:] < values[:-1]) & inside)
    if falls.size:
        raise InputError(
            f"{name} falls from {values[falls[0]]} to {values[falls[0] + 1]} inside a session at "
            f"row {falls[0] + 1}, expected it never to fall; count slots along the whole session "
            "(page x slots of a page + position) and sort by them."
        )


def _sessions(
    session: ArrayLike | None, slot: IntArray, page: IntArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sorting order and the session offsets."""
    n = slot.size
    if session is None:
        return np.arange(n), np.arange(n + 1)
    ids = np.asarray(session)
    if ids.shape != (n,):
        raise InputError(
            f"session has shape {ids.shape}, expected ({n},); give one session id for each point."
        )
    if ids.dtype.kind not in "iuSU":
        ids = np.unique(ids, return_inverse=True)[1]
    order = np.lexsort((page, slot, ids))
    ids = ids[order]
    starts = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    return order, np.concatenate(([0], starts, [n]))
