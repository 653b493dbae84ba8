"""One step of the feed: the slots up to the next decision, what is seen there, what an arm does."""

from typing import NamedTuple

import numpy as np
from numba import njit

from offline_eval.feed.chances import leave_chance, uniform
from offline_eval.feed.params import PAGE_LENGTH, Rates
from offline_eval.feed.world import Sessions
from uplift.arrays import BoolArray, Float32Array, FloatArray, IntArray

__all__ = ["OBSERVED", "Block", "State", "act", "advance", "observe", "open_state"]

#: Features that move with the session, in the order of `observe`.
OBSERVED = (
    "f_clicks_5",
    "f_clicks_20",
    "f_carts_5",
    "f_carts_20",
    "f_skips_20",
    "f_dwell",
    "f_since_click",
    "f_since_request",
    "f_depth",
    "f_noise",
)

# The purposes of a slot's random numbers; see `chances.uniform`.
_PAGE_REFRESH, _PURCHASE, _CLICK, _LEAVE, _HEAT, _DRIFT, _RECOVER = 0, 1, 2, 3, 4, 5, 6
_CART, _SKIP, _DWELL, _PRICE, _PRICE_2, _REFRESH, _ANNOY, _MISSING, _NOISE = range(7, 16)
_OPEN_HEAT, _OPEN_MATCH = 16, 17

_CART_COLD, _CART_HOT = 0.004, 0.40
_SKIP_MATCHED, _SKIP_UNMATCHED, _SKIP_ANNOYED = 0.10, 0.32, 0.25
_DWELL_MEMORY, _DWELL_MATCHED, _DWELL_NOISE = 0.82, 1.0, 0.45
_DWELL_MISSING = 0.05
_NO_CLICK = -1_000


class State(NamedTuple):
    """Where each of n sessions stands; the kernels write here.

    Attributes
    ----------
    latent : (n,) ``heat + 2 match + 4 annoyed``
    here : (n,) whether the user is still there
    clicks, carts, skips : (n,) the last 32 slots as bits, the latest lowest
    dwell : (n,) running mean of the time spent on an item, relative
    clicked, requested : (n,) slot of the last click, of the last request of any kind
    purchases : (n,) expected purchases so far, given the latent path: sum of h
    pages : (n,) page requests so far
    """

    latent: np.ndarray
    here: BoolArray
    clicks: np.ndarray
    carts: np.ndarray
    skips: np.ndarray
    dwell: FloatArray
    clicked: IntArray
    requested: IntArray
    purchases: FloatArray
    pages: IntArray


class Block(NamedTuple):
    """What happened in the slots of one step.

    Attributes
    ----------
    bought : (n,) whether anything was bought
    money : (n,) what was paid
    kept : (n,) P(nothing bought | latent path): product of 1 - h
    seen, clicked : (slots,) sessions that saw the slot, that clicked there
    """

    bought: BoolArray
    money: Float32Array
    kept: Float32Array
    seen: IntArray
    clicked: IntArray


def open_state(n: int) -> State:
    """Return the state of n sessions before their first slot."""
    return State(
        latent=np.zeros(n, np.int8),
        here=np.ones(n, np.bool_),
        clicks=np.zeros(n, np.uint32),
        carts=np.zeros(n, np.uint32),
        skips=np.zeros(n, np.uint32),
        dwell=np.full(n, 0.5),
        clicked=np.full(n, _NO_CLICK),
        requested=np.zeros(n, np.int64),
        purchases=np.zeros(n),
        pages=np.zeros(n, np.int64),
    )


def advance(
    rows: IntArray, first: int, last: int, state: State, sessions: Sessions, rates: Rates
) -> Block:
    """Show the slots `first` to `last` to the sessions in `rows`.

    In each slot: a page's own request where a page begins; the purchase, the click and the other
    signals; the user may leave; then heat, match and annoyance change. The truth (`truth`) keeps
    the same order.
    """
    n, slots = len(state.here), last - first + 1
    block = Block(
        bought=np.zeros(n, np.bool_),
        money=np.zeros(n, np.float32),
        kept=np.ones(n, np.float32),
        seen=np.zeros(slots, np.int64),
        clicked=np.zeros(slots, np.int64),
    )
    _show(rows, first, last, state, sessions, rates, block)
    return block


@njit(cache=True, nogil=True)
def _show(
    rows: IntArray,
    first: int,
    last: int,
    state: State,
    sessions: Sessions,
    rates: Rates,
    block: Block,
) -> None:
    for i in rows:
        for slot in range(first, last + 1):
            _begin(i, slot, state, sessions, rates)
            _view(i, slot, slot - first, state, sessions, rates, block)
            chance = leave_chance(sessions.leave[i], state.latent[i], slot, rates)
            if uniform(sessions.key[i], slot, _LEAVE) < chance:
                state.here[i] = False
                break
            _change(i, slot, state, sessions, rates)


@njit(cache=True, nogil=True)
def _begin(i: int, slot: int, state: State, sessions: Sessions, rates: Rates) -> None:
    """Open the session or the page, where one begins."""
    if slot % PAGE_LENGTH != 0:
        return
    key = sessions.key[i]
    state.pages[i] += 1
    state.requested[i] = slot
    if slot == 0:
        hot = sessions.heat[i] / max(sessions.heat[i] + sessions.cool[i], 1e-300)
        state.latent[i] = uniform(key, 0, _OPEN_HEAT) < hot
        if uniform(key, 0, _OPEN_MATCH) < rates.match_start:
            state.latent[i] |= 2
    elif uniform(key, slot, _PAGE_REFRESH) < rates.page_refresh:
        state.latent[i] |= 2


@njit(cache=True, nogil=True)
def _view(
    i: int, slot: int, k: int, state: State, sessions: Sessions, rates: Rates, block: Block
) -> None:
    """Buy, click and give signals at one slot."""
    key, latent = sessions.key[i], state.latent[i]
    hazard = sessions.buy[i] * rates.appetite[latent]
    state.purchases[i] += hazard
    block.kept[i] *= 1.0 - hazard
    if uniform(key, slot, _PURCHASE) < hazard:
        radius = np.sqrt(-2.0 * np.log(1.0 - uniform(key, slot, _PRICE)))
        normal = radius * np.cos(2.0 * np.pi * uniform(key, slot, _PRICE_2))
        block.bought[i] = True
        block.money[i] += sessions.price[i] * np.exp(rates.price_spread * normal)
    page, position = slot // PAGE_LENGTH, slot % PAGE_LENGTH
    tired = rates.depth**page * np.exp(-rates.fatigue * position)
    click = uniform(key, slot, _CLICK) < rates.attraction[latent] * tired
    block.seen[k] += 1
    if click:
        block.clicked[k] += 1
        state.clicked[i] = slot
    cart = uniform(key, slot, _CART) < (_CART_HOT if latent & 1 else _CART_COLD)
    matched = (latent >> 1) & 1
    skip_chance = _SKIP_MATCHED if matched else _SKIP_UNMATCHED
    skip = uniform(key, slot, _SKIP) < skip_chance + _SKIP_ANNOYED * (latent >> 2)
    state.clicks[i] = state.clicks[i] << np.uint32(1) | np.uint32(click)
    state.carts[i] = state.carts[i] << np.uint32(1) | np.uint32(cart)
    state.skips[i] = state.skips[i] << np.uint32(1) | np.uint32(skip)
    dwell = _DWELL_MATCHED * matched + _DWELL_NOISE * (2.0 * uniform(key, slot, _DWELL) - 1.0)
    state.dwell[i] = _DWELL_MEMORY * state.dwell[i] + (1.0 - _DWELL_MEMORY) * dwell


@njit(cache=True, nogil=True)
def _change(i: int, slot: int, state: State, sessions: Sessions, rates: Rates) -> None:
    """Let heat, match and annoyance change after a slot."""
    key, latent = sessions.key[i], state.latent[i]
    turn = sessions.cool[i] if latent & 1 else sessions.heat[i]
    if uniform(key, slot, _HEAT) < turn:
        latent ^= 1
    if latent & 2 and uniform(key, slot, _DRIFT) < sessions.drift[i]:
        latent ^= 2
    if latent & 4 and uniform(key, slot, _RECOVER) < rates.recover:
        latent ^= 4
    state.latent[i] = latent


@njit(cache=True, nogil=True)
def act(rows: IntArray, slot: int, state: State, sessions: Sessions, rates: Rates) -> None:
    """Make an extra request in the sessions `rows`; it is felt from the next slot on."""
    for i in rows:
        state.requested[i] = slot + 1
        if uniform(sessions.key[i], slot, _REFRESH) < rates.refresh:
            state.latent[i] |= 2
        if uniform(sessions.key[i], slot, _ANNOY) < sessions.annoy[i]:
            state.latent[i] |= 4


@njit(cache=True, nogil=True)
def observe(rows: IntArray, slot: int, state: State, sessions: Sessions) -> Float32Array:
    """(10, m) float32: the features `OBSERVED` of the sessions `rows` after a slot."""
    result = np.empty((len(OBSERVED), len(rows)), np.float32)
    for k, i in enumerate(rows):
        key = sessions.key[i]
        result[0, k] = _ones(state.clicks[i], 5)
        result[1, k] = _ones(state.clicks[i], 20)
        result[2, k] = _ones(state.carts[i], 5)
        result[3, k] = _ones(state.carts[i], 20)
        result[4, k] = _ones(state.skips[i], 20)
        missing = uniform(key, slot, _MISSING) < _DWELL_MISSING
        result[5, k] = np.nan if missing else state.dwell[i]
        result[6, k] = np.nan if state.clicked[i] < 0 else slot - state.clicked[i]
        result[7, k] = slot + 1 - state.requested[i]
        result[8, k] = slot
        result[9, k] = uniform(key, slot, _NOISE)
    return result


@njit(cache=True, nogil=True, inline="always")
def _ones(bits: np.uint32, last: int) -> int:
    """Count the ones among the last few bits."""
    count = 0
    for shift in range(last):
        count += int((bits >> np.uint32(shift)) & np.uint32(1))
    return count
