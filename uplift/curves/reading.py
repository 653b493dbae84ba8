"""Numbers read off curves, for a log and all its draws at once; (corners, draws) arrays."""

import numpy as np

from uplift.arrays import FloatArray

__all__ = ["area_above_chance", "autoc", "on_grid"]


def on_grid(x: FloatArray, y: FloatArray, grid: FloatArray) -> FloatArray:
    """Read each column's curve at the grid, straight between corners, flat beyond: (G, draws)."""
    columns = zip(x.T, y.T, strict=True)
    return np.column_stack([np.interp(grid, *column) for column in columns])


def area_above_chance(share: FloatArray, gain: FloatArray) -> FloatArray:
    """``integral_0^1 Q(s) - s Q(1) ds``: (draws,)."""
    area: FloatArray = np.trapezoid(gain, share, axis=0) - gain[-1] / 2
    return area


def autoc(share: FloatArray, gain: FloatArray) -> FloatArray:
    """``integral_0^1 Q(s) / s - Q(1) ds`` of a curve that is straight between corners: (draws,).

    Between corners s, t with slope m the integral of Q(u) / u is
    ``m (t - s) + (Q(s) - m s) log(t / s)``; the last term is 0 from s = 0 on.
    """
    width = np.diff(share, axis=0)
    filled = width > 0
    slope = np.divide(np.diff(gain, axis=0), width, out=np.zeros_like(width), where=filled)
    curved = filled & (share[:-1] > 0)
    ratio = np.divide(share[1:], share[:-1], out=np.ones_like(width), where=curved)
    pieces = slope * width + (gain[:-1] - slope * share[:-1]) * np.log(ratio)
    integral: FloatArray = pieces.sum(axis=0) - gain[-1]
    return integral
