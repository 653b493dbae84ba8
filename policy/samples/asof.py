"""Features as of the decision: the latest snapshot that was known at its moment.

Of the snapshots j of a decision's user with ``known_j <= t`` the one with the greatest time_j, if
``t - time_j <= max_age``; ``known_j = max(time_j, ingested_j)``. Nothing later is ever looked at.
"""

from collections.abc import Iterable
from datetime import timedelta

import numpy as np
import pandas as pd
from numba import njit

from policy.samples.columns import codes, micros, need, plain, ties_broken
from policy.samples.rules import SampleRules
from uplift.arrays import IntArray
from uplift.errors import InputError
from uplift.schema import LogSchema

__all__ = ["latest_rows", "snapshot_features", "with_features"]

_NEVER = np.iinfo(np.int64).max


def with_features(
    decisions: pd.DataFrame, snapshots: pd.DataFrame, schema: LogSchema, rules: SampleRules
) -> pd.DataFrame:
    """Give decisions the features that were not logged with them.

    Parameters
    ----------
    decisions : ``timestamp`` and the key of the rules
    snapshots : the same, and feature columns
    schema : whose globs say which columns are features

    Raises
    ------
    InputError
        A column is missing or of the wrong type.
    """
    need(decisions, ("timestamp", rules.key), "decisions")
    arrived = [] if rules.ingested_at is None else [rules.ingested_at]
    own = ["timestamp", rules.key, *arrived]
    need(snapshots, own, "snapshots")
    names = snapshot_features(map(str, snapshots), schema, rules)
    if not names:
        raise InputError(
            f"no column of the snapshots matches the features {list(schema.features)}; they have "
            f"{list(snapshots.columns)[:12]}."
        )
    row = latest_rows(decisions, snapshots, rules, names)
    filled = {name: _filled(decisions, snapshots, name, row) for name in names}
    return decisions.assign(**filled)


def snapshot_features(columns: Iterable[str], schema: LogSchema, rules: SampleRules) -> list[str]:
    """Return the names among a snapshot's columns that are features."""
    own = ("timestamp", rules.key, rules.ingested_at, "page", "position")
    return schema.feature_columns(column for column in columns if column not in own)


def latest_rows(
    decisions: pd.DataFrame, snapshots: pd.DataFrame, rules: SampleRules, names: list[str]
) -> IntArray:
    """(n,) row of each decision's snapshot; -1 where there is none.

    Of two snapshots of one moment the one that arrived later counts; of two that arrived together,
    one that does not depend on the order of rows.
    """
    user, owner = codes(decisions, snapshots, rules.key, ("decisions", "snapshots"))
    at = micros(decisions, "timestamp", "decisions")
    known = time = micros(snapshots, "timestamp", "snapshots")
    if rules.ingested_at is not None:
        known = np.maximum(time, micros(snapshots, rules.ingested_at, "snapshots"))
    users = int(user.max(initial=-1)) + 1
    mine = np.flatnonzero(owner < users)  # the others have no decision
    keys = [time] if known is time else [time, known]
    mine = mine[np.lexsort([key[mine] for key in keys])]
    order, start = _by_owner(mine, owner, users)
    order = ties_broken(order, [*keys, owner], snapshots[names])
    oldest = _NEVER if rules.max_age is None else rules.max_age // timedelta(microseconds=1)
    return _latest(user, at, start, order, known, time, oldest)


@njit(nogil=True, cache=True)
def _by_owner(rows: IntArray, owner: IntArray, owners: int) -> tuple[IntArray, IntArray]:
    """Sort rows by owner, stably, and say where each owner's begin."""
    start = np.zeros(owners + 1, np.int64)
    for row in rows:
        start[owner[row] + 1] += 1
    start = np.cumsum(start)
    place, order = start.copy(), np.empty_like(rows)
    for row in rows:
        order[place[owner[row]]] = row
        place[owner[row]] += 1
    return order, start


@njit(nogil=True, cache=True)
def _latest(
    user: IntArray,
    at: IntArray,
    start: IntArray,
    order: IntArray,
    known: IntArray,
    time: IntArray,
    max_age: int,
) -> IntArray:
    """(n,) row of the latest of the user's snapshots that were known, if it is not too old."""
    best = order.copy()  # the latest of those that were known by then
    for u in range(len(start) - 1):
        for i in range(start[u] + 1, start[u + 1]):
            if time[best[i]] < time[best[i - 1]]:
                best[i] = best[i - 1]
    found = np.full(len(user), -1, np.int64)
    for i in range(len(user)):
        low, high = start[user[i]], start[user[i] + 1]
        first = low
        while low < high:
            middle = (low + high) // 2
            if known[order[middle]] <= at[i]:
                low = middle + 1
            else:
                high = middle
        if low > first and at[i] - time[best[low - 1]] <= max_age:
            found[i] = best[low - 1]
    return found


def _filled(
    decisions: pd.DataFrame, snapshots: pd.DataFrame, name: str, row: IntArray
) -> pd.Series:
    """Return a feature: as it was logged with the decision, else as the snapshot has it."""
    values = plain(snapshots[name])
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_integer_dtype(values.dtype):
        values = values.astype(np.float64)  # where there is no snapshot it is missing
    taken = pd.api.extensions.take(values.array, row, allow_fill=True)
    seen = pd.Series(taken, index=decisions.index, name=name)
    if name not in decisions:
        return seen
    logged = plain(decisions[name])
    if logged.isna().all():
        return seen
    if pd.api.types.is_numeric_dtype(logged.dtype) != pd.api.types.is_numeric_dtype(seen.dtype):
        raise InputError(
            f"feature {name!r} is of type {logged.dtype} in the decisions and of type "
            f"{values.dtype} in the snapshots; write both alike."
        )
    return logged.where(logged.notna(), seen)
