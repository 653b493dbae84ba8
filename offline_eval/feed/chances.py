"""The chances of one slot, read by simulation and truth alike, and its random numbers."""

import numpy as np
from numba import njit

from offline_eval.feed.params import PAGE_LENGTH, STEP, Rates

__all__ = ["is_decision", "leave_chance", "logging_share", "uniform"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_DRAWS = 32  # random numbers kept for one slot of one session


@njit(cache=True, nogil=True, inline="always")
def uniform(key: np.uint64, slot: int, draw: int) -> float:
    """Return splitmix64(key, slot, draw) in [0, 1).

    A number belongs to its session, slot and purpose, whatever was drawn before: two policies
    meet the same luck in the same session, however the sessions are cut into chunks.
    """
    z = key + np.uint64(slot * _DRAWS + draw + 1) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    u: float = float((z ^ (z >> np.uint64(31))) >> np.uint64(11)) / 9007199254740992.0
    return u


@njit(cache=True, nogil=True, inline="always")
def leave_chance(leave: float, state: int, slot: int, rates: Rates) -> float:
    """Return min(1/2, leave x impatience[state] x (1 + growth x page))."""
    growth = 1.0 + rates.leave_growth * (slot // PAGE_LENGTH)
    chance: float = min(0.5, leave * rates.impatience[state] * growth)
    return chance


@njit(cache=True, nogil=True, inline="always")
def is_decision(slot: int) -> bool:
    """Tell whether a decision follows this slot: positions 5, 10, ... 45."""
    return slot % STEP == 0 and slot % PAGE_LENGTH != 0


@njit(cache=True, nogil=True, inline="always")
def logging_share(slot: int, rates: Rates) -> float:
    """Return P(request) of the logging policy at a decision point."""
    page = min(slot // PAGE_LENGTH, len(rates.request_share) - 1)
    share: float = rates.request_share[page]
    return share
