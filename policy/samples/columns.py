"""Columns of a frame as the join needs them: there, of the right type, in one order."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.errors import InputError

__all__ = [
    "codes",
    "micros",
    "need",
    "numbers",
    "plain",
    "ties_broken",
    "told_first",
    "total_order",
    "whole",
]


def need(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Refuse a frame that lacks a column."""
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"the {what} lack {missing}; they have {list(frame.columns)[:12]}.")


def micros(frame: pd.DataFrame, column: str, what: str) -> IntArray:
    """(n,) microseconds of a column of moments; they must name their time zone."""
    values = frame[column]
    if not isinstance(values.dtype, pd.DatetimeTZDtype):
        raise InputError(
            f"column {column!r} of the {what} is of type {values.dtype}; expected moments with a "
            "time zone, such as pandas.to_datetime(..., utc=True)."
        )
    _refuse_missing(values, what)
    since: IntArray = values.dt.as_unit("us").astype(np.int64).to_numpy()
    return since


def whole(frame: pd.DataFrame, column: str, what: str) -> IntArray:
    """(n,) a column of whole numbers."""
    values = frame[column]
    _refuse_missing(values, what)
    if not pd.api.types.is_integer_dtype(values.dtype):
        raise InputError(
            f"column {column!r} of the {what} is of type {values.dtype}; expected whole numbers."
        )
    return values.to_numpy(dtype=np.int64)


def numbers(frame: pd.DataFrame, column: str, what: str) -> FloatArray:
    """(n,) a column of numbers; what is missing counts as 0."""
    kind = frame[column].dtype
    if not pd.api.types.is_numeric_dtype(kind):  # booleans are
        raise InputError(f"column {column!r} of the {what} is of type {kind}; expected numbers.")
    return frame[column].fillna(0).to_numpy(dtype=np.float64)


def codes(
    left: pd.DataFrame, right: pd.DataFrame, column: str, whats: tuple[str, str]
) -> tuple[IntArray, IntArray]:
    """Give the identifiers of two frames numbers; those of `left` come first, none is missing.

    Raises
    ------
    InputError
        One frame has texts where the other has numbers: none would ever be found.
    """
    both = [plain(frame[column]) for frame in (left, right)]
    for values, what in zip(both, whats, strict=True):
        _refuse_missing(values, what)
    kinds = [pd.api.types.is_numeric_dtype(values.dtype) for values in both]
    if len(left) and len(right) and kinds[0] != kinds[1]:
        raise InputError(
            f"column {column!r} is of type {both[0].dtype} in the {whats[0]} and of type "
            f"{both[1].dtype} in the {whats[1]}; write both alike."
        )
    joined = pd.concat([v for v in both if len(v)] or both, ignore_index=True)
    found = pd.factorize(joined)[0]
    return found[: len(left)], found[len(left) :]


def told_first(frame: pd.DataFrame, column: str) -> BoolArray:
    """(n,) whether a row is the earliest with its identifier, or has none.

    Where several are the earliest the choice does not depend on their order.
    """
    code = pd.factorize(frame[column])[0]  # -1 where there is none
    rows = np.flatnonzero((np.bincount(code + 1)[code + 1] > 1) & (code >= 0))
    told = frame.take(rows)
    order = total_order([told["timestamp"].astype(np.int64).to_numpy()], told)
    again = pd.Series(code[rows[order]]).duplicated().to_numpy()
    first = np.ones(len(frame), dtype=bool)
    first[rows[order[again]]] = False
    return first


def total_order(keys: Sequence[IntArray], frame: pd.DataFrame) -> IntArray:
    """Sort by some keys, the last one first; what ties, by what the rows hold.

    So the order of rows of the frame has no say in the order that comes out.
    """
    return ties_broken(np.lexsort(keys), keys, frame)


def ties_broken(order: IntArray, keys: Sequence[IntArray], frame: pd.DataFrame) -> IntArray:
    """Bring the rows that tie in an order by some keys into an order by what they hold."""
    same = np.ones(max(0, len(order) - 1), dtype=bool)
    for key in keys:
        ordered = key[order]
        same &= ordered[1:] == ordered[:-1]
    if not same.any():
        return order
    places = np.flatnonzero(np.append(same, False) | np.append(False, same))
    tied = order[places]
    content = pd.util.hash_pandas_object(frame.take(tied), index=False).to_numpy()
    order[places] = tied[np.lexsort([content, *(key[tied] for key in keys)])]
    return order


def plain(values: pd.Series) -> pd.Series:
    """Return categories as what they name."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.astype(values.cat.categories.dtype)
    return values


def _refuse_missing(values: pd.Series, what: str) -> None:
    missing = int(values.isna().sum())
    if missing:
        raise InputError(
            f"column {values.name!r} of the {what} misses {missing} values; every row needs one."
        )
