"""What came between a decision and the next, from outcomes at several horizons."""

import re

import numpy as np

from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.log import RequestLog

__all__ = ["step_rewards"]


def step_rewards(log: RequestLog, prefix: str = "purchase") -> FloatArray:
    """Return whether anything was bought between a decision and the next one, (n,).

    The outcome ``purchase_n`` of the horizon n that is the gap to the session's next decision, in
    slots; at the last decision the longest horizon, for the session ended before another. Summed
    along a session they are its purchases after the first decision, a reward that may be told row
    by row without being counted twice.

    Parameters
    ----------
    log : with outcomes ``prefix_n`` for each gap that occurs
    prefix : of the outcomes

    Raises
    ------
    InputError
        A gap has no outcome of its horizon.
    """
    named = {
        name: re.fullmatch(rf"{re.escape(prefix)}_(\d+)", name) for name in log.schema.outcomes
    }
    horizons = {int(found[1]): name for name, found in named.items() if found}
    if not horizons:
        raise InputError(f"the log has no outcome {prefix}_n; expected one for each gap.")
    order = log.session_order
    session, slot = log.session[order], log.slot[order]
    gap = np.r_[np.diff(slot), 0]
    gap[np.r_[session[1:] != session[:-1], True]] = max(horizons)
    missing = sorted(set(np.unique(gap).tolist()) - set(horizons))
    if missing:
        raise InputError(
            f"decisions follow each other after {missing[0]} slots, but the log has no outcome "
            f"{prefix}_{missing[0]}; it has {sorted(horizons)}."
        )
    reward = np.empty(len(log))
    for horizon, name in horizons.items():
        rows = order[gap == horizon]
        reward[rows] = log.outcome(name)[rows]
    return reward
