"""How much memory a batch job may take, and how many rows at once that makes."""

import re
import resource

from uplift.errors import InputError

__all__ = ["LEAST", "fits", "parse_memory", "row_bytes", "rows_at_once"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)

LEAST = 1 << 29
"""Half a GiB: less holds no Python with its libraries, a model and a few rows."""

_ROWS = (1 << 12, 1 << 18)
_COPIES = 4
_IN_FLIGHT = 4
"""Batches at once: one read, one scored (as frame and as matrix), one written."""


def parse_memory(text: str) -> int:
    """Return the bytes of ``4GiB``, ``512M`` or a plain number; units are powers of 1,024.

    Raises
    ------
    InputError
        The text is no amount of memory, or less than half a GiB.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise InputError(f"memory is {text!r}; expected an amount such as 4GiB.")
    amount = int(float(found[1]) * _UNITS[found[2].upper()])
    if amount < LEAST:
        raise InputError(f"memory is {text!r}; expected at least 512MiB.")
    return amount


def fits(rows: int, columns: int, memory: int) -> bool:
    """Tell whether a log may be worked on as a whole: the frame, its parts and its matrices."""
    return LEAST // 2 + rows * row_bytes(columns) <= memory


def row_bytes(columns: int) -> int:
    """Return what a row of so many columns takes where a log is worked on as a whole."""
    return _COPIES * 8 * columns


def rows_at_once(memory: int, columns: int) -> int:
    """Return how many rows of so many columns fit beside what the process holds already."""
    held = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    free = max(memory - held, memory // 4)
    rows = free // (_IN_FLIGHT * 8 * max(columns, 1))
    return max(_ROWS[0], min(_ROWS[1], rows))
