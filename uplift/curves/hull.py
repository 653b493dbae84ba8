"""Which arm is worth its cost next: the upper hulls of points' arms, step by step."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from uplift.arrays import FloatArray, IntArray
from uplift.errors import InputError

__all__ = ["Steps", "checked_arms"]


@dataclass(frozen=True)
class Steps:
    """Steps from arm to dearer arm along each point's upper hull of (cost, gain) from (0, 0) on.

    Attributes
    ----------
    row : (S,) the point
    before : (S,) the arm that is given up, -1 for none
    arm : (S,) the arm that is given instead
    slope : (S,) predicted gain per cost of the step, above 0; it falls along a point's steps
    """

    row: IntArray
    before: IntArray
    arm: IntArray
    slope: FloatArray

    @classmethod
    def of(cls, gain: FloatArray, cost: FloatArray) -> "Steps":
        """Find the steps of (n, A) gains and costs above 0.

        Of arms of one cost the one of most gain is on the hull, of equal ones the first.
        """
        before, slope = np.empty(gain.shape, dtype=np.int64), np.zeros(gain.shape)
        arm = np.full(gain.shape, -1)
        _climb(gain, cost, np.argsort(cost, axis=1, kind="stable"), before, arm, slope)
        taken = np.nonzero(arm >= 0)
        return cls(taken[0], before[taken], arm[taken], slope[taken])

    def change(self, of_arm: FloatArray) -> FloatArray:
        """Return what each step adds to numbers (n, A) of the arms: (S,)."""
        given_up = np.where(self.before < 0, 0.0, of_arm[self.row, self.before])
        change: FloatArray = of_arm[self.row, self.arm] - given_up
        return change


def checked_arms(
    gain: FloatArray, cost: FloatArray, effect: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return gain and cost as (n, A) arrays; refuse what has no hull."""
    gain = np.ascontiguousarray(gain, dtype=np.float64)
    shapes = (gain.shape, gain.shape[1:])
    if gain.ndim != 2 or effect.shape != gain.shape or cost.shape not in shapes:
        raise InputError(
            f"gain and effect must be (n, A) and cost (n, A) or (A,); got {gain.shape}, "
            f"{effect.shape} and {cost.shape}."
        )
    if gain.size == 0:
        raise InputError("there are no rows or no arms; use a larger log.")
    if not all(np.isfinite(part).all() for part in (gain, cost, effect)):
        raise InputError("gains, costs and effects must be finite.")
    if cost.min() <= 0:
        raise InputError(f"every arm must cost more than 0; the least cost is {cost.min():g}.")
    return gain, np.ascontiguousarray(np.broadcast_to(cost, gain.shape), dtype=np.float64)


@njit(nogil=True, cache=True)
def _climb(
    gain: FloatArray,
    cost: FloatArray,
    by_cost: IntArray,
    before: IntArray,
    arm: IntArray,
    slope: FloatArray,
) -> None:
    """Upper hull of each point's arms from (0, 0): write its steps from the left, (n, A) each."""
    for i in range(gain.shape[0]):
        top = 0
        for a in by_cost[i]:
            while True:
                last = arm[i, top - 1] if top > 0 else -1
                rise = gain[i, a] - (gain[i, last] if last >= 0 else 0.0)
                run = cost[i, a] - (cost[i, last] if last >= 0 else 0.0)
                if rise <= 0.0:
                    break
                if last >= 0 and rise >= slope[i, top - 1] * run:
                    top -= 1
                    arm[i, top] = -1
                    continue
                before[i, top], arm[i, top], slope[i, top] = last, a, rise / run
                top += 1
                break
