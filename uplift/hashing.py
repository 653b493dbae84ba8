"""Numbers from identifiers: the same user falls the same way in every log."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from uplift.arrays import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["hash_keys", "hash_uniform"]

Identifiers: TypeAlias = "NDArray[Any] | pd.Series[Any]"

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hash_uniform(ids: Identifiers, seed: int) -> FloatArray:
    """Map each identifier to a number in [0, 1) that depends on the identifier and the seed only.

    Parameters
    ----------
    ids : array or series of shape (n,)
        Integers, or anything pandas can hash (strings, categories).
    seed : int
        Another seed gives an independent mapping.

    Returns
    -------
    array of shape (n,)
        ``mix(id xor mix(seed)) / 2**64`` with the splitmix64 finaliser; equal identifiers get
        equal numbers whatever the order or the rest of the log.
    """
    salt = _splitmix(np.array([seed % 2**64], np.uint64))
    mixed = _by_identifier(ids, lambda numbers: _splitmix(numbers ^ salt))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def hash_keys(ids: Identifiers) -> NDArray[np.uint64]:
    """Map each identifier, as `hash_uniform` takes them, to 64 well mixed bits, (n,)."""
    return _by_identifier(ids, _splitmix)


def _by_identifier(
    ids: Identifiers, mix: Callable[[NDArray[np.uint64]], NDArray[np.uint64]]
) -> NDArray[np.uint64]:
    """Mix the numbers of identifiers; of categories each is mixed once."""
    categories = getattr(ids, "cat", None)
    if categories is not None:
        mixed: NDArray[np.uint64] = mix(_numbers(categories.categories.to_numpy()))
        each: NDArray[np.uint64] = mixed[categories.codes.to_numpy()]
        return each
    return mix(_numbers(np.asarray(ids)))


def _numbers(ids: np.ndarray) -> NDArray[np.uint64]:
    """Return integers as they are and other identifiers by pandas' hash."""
    if not np.issubdtype(ids.dtype, np.integer):
        from pandas.util import hash_array

        ids = hash_array(np.asarray(ids, dtype=object).astype(str).astype(object))
    keys = ids.astype(np.int64, copy=False).view(np.uint64) if ids.dtype.kind == "i" else ids
    return keys.astype(np.uint64, copy=False)


def _splitmix(keys: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = keys + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
