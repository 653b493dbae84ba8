"""The best plan among the points of one session that are worth their price.

    max  sum_j net[j] x[j]   s.t.  the session's and the pages' caps, the minimum gap

The programme runs backwards over the worthwhile points j with k requests left in the session and
q left on the page of j:

    V[j, k, q] = max(V[j + 1, k, q'], net[j] + V[follow[j], k - 1, q''])

where follow[j] is the first point that keeps the minimum gap, and q', q'' start anew on a new page.
A cap that is not given has one state that is never used up.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.planner.columns import Caps
from uplift.arrays import FloatArray

__all__ = ["keep_best"]


@njit(nogil=True, cache=True)
def keep_best(
    count: int,
    caps: Caps,
    slot: NDArray[np.int64],
    page: NDArray[np.int32],
    net: FloatArray,
    choice: NDArray[np.int8],
    follow: NDArray[np.int64],
    table: FloatArray,
) -> None:
    """Keep the best plan among a session's worthwhile points; set the choice of the others to 0."""
    if _all_fit(count, caps, slot, page):
        return
    # A cap that this session cannot reach is no cap: one state, never used up.
    in_session = caps.session if 0 < caps.session < count else 0
    on_page = caps.page if 0 < caps.page < count else 0
    _follow(count, caps.gap, slot, follow)
    if in_session == 0 and on_page == 0:
        _keep_apart(count, net, choice, follow, table[:, 0, 0])
    else:
        _backward(count, in_session, on_page, page, net, follow, table)
        _forward(count, in_session, on_page, page, choice, follow, table)


@njit(nogil=True, cache=True)
def _all_fit(count: int, caps: Caps, slot: NDArray[np.int64], page: NDArray[np.int32]) -> bool:
    """Whether all worthwhile points of a session can be requested together."""
    if caps.session > 0 and count > caps.session:
        return False
    on_page = 1
    for j in range(1, count):
        if slot[j] - slot[j - 1] < caps.gap:
            return False
        on_page = on_page + 1 if page[j] == page[j - 1] else 1
        if caps.page > 0 and on_page > caps.page:
            return False
    return True


@njit(nogil=True, cache=True)
def _follow(count: int, gap: int, slot: NDArray[np.int64], follow: NDArray[np.int64]) -> None:
    """First point after j whose slot keeps the minimum gap."""
    ahead = 0
    for j in range(count):
        ahead = max(ahead, j + 1)
        while ahead < count and slot[ahead] - slot[j] < gap:
            ahead += 1
        follow[j] = ahead


@njit(nogil=True, cache=True)
def _keep_apart(
    count: int,
    net: FloatArray,
    choice: NDArray[np.int8],
    follow: NDArray[np.int64],
    value: FloatArray,
) -> None:
    """Solve the programme where no cap can bind: value[j] = max(value[j + 1], net + later)."""
    value[count] = 0.0
    for j in range(count - 1, -1, -1):
        value[j] = max(value[j + 1], net[j] + value[follow[j]])
    ahead = 0
    for j in range(count):
        if j >= ahead and value[j] > value[j + 1]:
            ahead = follow[j]
        else:
            choice[j] = 0


@njit(nogil=True, cache=True)
def _backward(
    count: int,
    in_session: int,
    on_page: int,
    page: NDArray[np.int32],
    net: FloatArray,
    follow: NDArray[np.int64],
    table: FloatArray,
) -> None:
    """Fill table[j, k, q]; k = 0 and j = count are worth nothing."""
    most, full = max(in_session, 1), max(on_page, 1)
    use, use_page = min(in_session, 1), min(on_page, 1)
    table[count, : most + 1, : full + 1] = 0.0
    for j in range(count - 1, -1, -1):
        ahead = follow[j]
        stays = j + 1 < count and page[j + 1] == page[j]
        returns = ahead < count and page[ahead] == page[j]
        for q in range(full + 1):
            table[j, 0, q] = 0.0
            for k in range(1, most + 1):
                value = table[j + 1, k, q if stays else full]
                if q > 0:
                    later = table[ahead, k - use, q - use_page if returns else full]
                    value = max(value, net[j] + later)
                table[j, k, q] = value


@njit(nogil=True, cache=True)
def _forward(
    count: int,
    in_session: int,
    on_page: int,
    page: NDArray[np.int32],
    choice: NDArray[np.int8],
    follow: NDArray[np.int64],
    table: FloatArray,
) -> None:
    """Read the best plan from the table."""
    full = max(on_page, 1)
    j, k, q = 0, max(in_session, 1), full
    while j < count:
        stays = j + 1 < count and page[j + 1] == page[j]
        take = table[j, k, q] > table[j + 1, k, q if stays else full]
        ahead = follow[j] if take else j + 1
        choice[j + 1 if take else j : ahead] = 0
        if take:
            k -= min(in_session, 1)
            q -= min(on_page, 1)
        q = q if ahead < count and page[ahead] == page[j] else full
        j = ahead
