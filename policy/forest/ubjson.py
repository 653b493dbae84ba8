"""Universal Binary JSON as XGBoost writes it: numbers big-endian, arrays with one type typed.

Source: the UBJSON specification, draft 12; of it only what boosters hold.
"""

from typing import Any

import numpy as np

from uplift.errors import InputError

__all__ = ["read_ubjson"]

_TYPES = {"i": "i1", "U": "u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_PLAIN: dict[str, Any] = {"Z": None, "T": True, "F": False}
_DEEPEST = 32


def read_ubjson(data: bytes) -> Any:
    """Return what a document holds; typed arrays as numpy arrays.

    Raises
    ------
    InputError
        The document is cut short, or holds what boosters do not.
    """
    try:
        value, end = _Reader(data).value(0, 0)
    except (IndexError, ValueError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the booster is not whole UBJSON ({error}); export it anew.") from error
    if end != len(data):
        raise InputError("the booster is followed by something else; export it anew.")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """Return the value that begins at a byte, and the byte behind it."""
        mark = chr(self._data[at])
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if mark in _PLAIN:
            return _PLAIN[mark], at + 1
        if mark in _TYPES:
            return self._number(mark, at + 1)
        if mark == "S":
            return self._text(at + 1)
        if mark == "[":
            return self._array(at + 1, depth)
        if mark == "{":
            return self._object(at + 1, depth)
        raise ValueError(f"unknown mark {mark!r} at byte {at}")

    def _number(self, mark: str, at: int) -> tuple[Any, int]:
        kind = np.dtype(_TYPES[mark])
        end = at + kind.itemsize
        if end > len(self._data):
            raise ValueError("cut short")
        return np.frombuffer(self._data, kind, 1, at)[0].item(), end

    def _count(self, at: int) -> tuple[int, int]:
        count, end = self._number(chr(self._data[at]), at + 1)
        if not isinstance(count, int) or not 0 <= count <= len(self._data):
            raise ValueError(f"a length of {count}")
        return count, end

    def _text(self, at: int) -> tuple[str, int]:
        length, begin = self._count(at)
        end = begin + length
        if end > len(self._data):
            raise ValueError("cut short")
        return self._data[begin:end].decode(), end

    def _array(self, at: int, depth: int) -> tuple[Any, int]:
        if chr(self._data[at]) == "$":
            kind = np.dtype(_TYPES[chr(self._data[at + 1])])
            count, begin = self._count(at + 3)
            values = np.frombuffer(self._data, kind, count, begin)
            return values.astype(kind.newbyteorder("=")), begin + count * kind.itemsize
        items: list[Any] = []
        if chr(self._data[at]) == "#":
            count, at = self._count(at + 1)
            for _ in range(count):
                item, at = self.value(at, depth + 1)
                items.append(item)
            return items, at
        while chr(self._data[at]) != "]":
            item, at = self.value(at, depth + 1)
            items.append(item)
        return items, at + 1

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        table: dict[str, Any] = {}
        while chr(self._data[at]) != "}":
            name, at = self._text(at)
            table[name], at = self.value(at, depth + 1)
        return table, at + 1
