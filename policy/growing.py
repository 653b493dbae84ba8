"""A column that grows at its end without a second copy of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Growing"]

SPARE = 1.25
"""Room is made for so many times what is needed; it takes no memory until it is written to."""


class Growing:
    """Parts of a column, one behind the other.

    Parameters
    ----------
    like : (k, ...) array
        Of the type and the width that all parts have.
    """

    def __init__(self, like: NDArray[Any]) -> None:
        self._rows: NDArray[Any] = np.empty((0, *like.shape[1:]), dtype=like.dtype)
        self._used = 0

    def extend(self, part: NDArray[Any]) -> None:
        """Put a part behind what is there."""
        end = self._used + len(part)
        if end > len(self._rows):
            self._resize(int(SPARE * end))
        self._rows[self._used : end] = part
        self._used = end

    def array(self) -> NDArray[Any]:
        """Return the whole column; nothing can be added after that."""
        self._resize(self._used)
        return self._rows

    def _resize(self, rows: int) -> None:
        # In place: the system moves the pages of a large array and copies nothing.
        self._rows.resize((rows, *self._rows.shape[1:]), refcheck=False)
