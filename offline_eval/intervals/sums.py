"""One pass over rows that adds a numerator, and what is below it, to their clusters."""

from numba import njit

from uplift.arrays import BoolArray, FloatArray, IntArray

__all__ = ["add_mean", "add_ratio"]


@njit(cache=True, nogil=True)
def add_mean(
    code: IntArray, above: FloatArray, column: int, sums: FloatArray, seen: BoolArray
) -> None:
    """Add rows and their number: ``sums[c, column:column + 2] += (above_i, 1)``."""
    for i in range(len(code)):
        c = code[i]
        sums[c, column] += above[i]
        sums[c, column + 1] += 1.0
        seen[c] = True


@njit(cache=True, nogil=True)
def add_ratio(
    code: IntArray,
    above: FloatArray,
    below: FloatArray,
    column: int,
    sums: FloatArray,
    seen: BoolArray,
) -> None:
    """Add rows of both sides: ``sums[c, column:column + 2] += (above_i, below_i)``."""
    for i in range(len(code)):
        c = code[i]
        sums[c, column] += above[i]
        sums[c, column + 1] += below[i]
        seen[c] = True
