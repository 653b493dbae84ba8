"""The exact chance of a purchase after each arm, by forward recursion over the latent states."""

import numpy as np
from numba import njit

from offline_eval.feed.chances import is_decision, leave_chance, logging_share
from offline_eval.feed.params import HORIZONS, PAGE_LENGTH, STEP, Rates
from offline_eval.feed.world import Sessions
from uplift.arrays import Float32Array, FloatArray, IntArray

__all__ = ["true_purchases"]


@njit(cache=True, nogil=True)
def true_purchases(
    rows: IntArray, slot: int, state: IntArray, sessions: Sessions, rates: Rates
) -> Float32Array:
    """P(purchase within n slots | state, arm) = sum over slots of mass(state') x h(state').

    ``mass`` is the chance of being in a state, still there, and without a purchase yet. The arm
    is the one of this decision; LATER decisions inside the horizon are the logging policy's, and
    pages make their requests as usual. This is what off-policy evaluation of one decision at a
    time estimates, and what the log's ``purchase_n`` is a draw of.

    Parameters
    ----------
    rows : (m,) sessions that decide
    slot : the slot that they decide after
    state : (n,) latent state of every session, before the arm acts
    sessions, rates : the world

    Returns
    -------
    (2, 4, m) float32, by arm and by horizon (5, 10, 15, 20)
    """
    result = np.zeros((2, len(HORIZONS), len(rows)), np.float32)
    mass, hazard, other = np.empty(8), np.empty(8), np.empty(8)
    for row, i in enumerate(rows):
        hazard[:] = sessions.buy[i] * rates.appetite
        for arm in range(2):
            mass[:] = 0.0
            mass[state[i]] = 1.0
            if arm == 1:
                _request(mass, sessions.annoy[i], rates)
            bought = 0.0
            for ahead in range(1, HORIZONS[-1] + 1):
                bought += _pass_slot(mass, other, hazard, slot + ahead, i, sessions, rates)
                if ahead % STEP == 0:
                    result[arm, ahead // STEP - 1, row] = bought
    return result


@njit(cache=True, nogil=True)
def _pass_slot(
    mass: FloatArray,
    other: FloatArray,
    hazard: FloatArray,
    slot: int,
    i: int,
    sessions: Sessions,
    rates: Rates,
) -> float:
    """Lead the mass through one slot, in the order of `step.advance`; return what bought."""
    if slot % PAGE_LENGTH == 0:
        _match(mass, rates.page_refresh)
    bought = 0.0
    for s in range(8):
        bought += mass[s] * hazard[s]
        mass[s] *= (1.0 - hazard[s]) * (1.0 - leave_chance(sessions.leave[i], s, slot, rates))
    _change(mass, sessions.heat[i], sessions.cool[i], sessions.drift[i], rates.recover)
    if is_decision(slot):
        share = logging_share(slot, rates)
        other[:] = mass
        _request(other, sessions.annoy[i], rates)
        for s in range(8):
            mass[s] = (1.0 - share) * mass[s] + share * other[s]
    return bought


@njit(cache=True, nogil=True, inline="always")
def _change(mass: FloatArray, heat: float, cool: float, drift: float, recover: float) -> None:
    for s in (0, 2, 4, 6):
        cold, hot = mass[s], mass[s + 1]
        mass[s] = cold * (1.0 - heat) + hot * cool
        mass[s + 1] = cold * heat + hot * (1.0 - cool)
    for s in (0, 1, 4, 5):
        mass[s] += drift * mass[s + 2]
        mass[s + 2] *= 1.0 - drift
    for s in range(4):
        mass[s] += recover * mass[s + 4]
        mass[s + 4] *= 1.0 - recover


@njit(cache=True, nogil=True, inline="always")
def _match(mass: FloatArray, chance: float) -> None:
    for s in (0, 1, 4, 5):
        mass[s + 2] += chance * mass[s]
        mass[s] *= 1.0 - chance


@njit(cache=True, nogil=True, inline="always")
def _request(mass: FloatArray, annoy: float, rates: Rates) -> None:
    _match(mass, rates.refresh)
    for s in range(4):
        mass[s + 4] += annoy * mass[s]
        mass[s] *= 1.0 - annoy
