"""What learners accept as input, and the sentences for what they do not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from uplift.arrays import Float32Array, FloatArray, IntArray
from uplift.contract import LARGEST, check_propensity
from uplift.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "check_categories",
    "is_frame",
    "to_arms",
    "to_columns",
    "to_frame",
    "to_groups",
    "to_matrix",
    "to_propensity",
    "to_types",
    "to_vector",
]

#: Codes of categories stay below this: a booster keeps a histogram bin for each.
MOST_CATEGORIES = 1 << 16
#: Given probabilities of the arms of a row add up to 1 within this.
_SUM_TOLERANCE = 1e-3


def is_frame(X: Any) -> bool:
    """Tell a pandas or polars frame from an array."""
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def to_frame(X: Any) -> "pd.DataFrame":
    """Return a pandas or polars frame as pandas; columns that are numbered are named so."""
    frame: pd.DataFrame = X.to_pandas() if hasattr(X, "to_pandas") else X
    named = all(isinstance(name, str) for name in frame.columns)
    return frame if named else frame.rename(columns=str)


def to_matrix(X: Any) -> Float32Array:
    """Return X as a matrix of finite float32 and NaN."""
    if hasattr(X, "toarray"):
        raise InputError("X is a sparse matrix; give a dense array (NaN is missing) or a frame.")
    kind = np.asarray(X).dtype.kind
    if kind == "c":
        raise InputError("Complex data not supported: X holds complex numbers; give real ones.")
    try:
        with np.errstate(over="ignore"):
            matrix = np.asarray(X, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"X is not numbers ({error}); give a frame, or encode it first.") from None
    if matrix.ndim != 2:
        raise InputError(
            f"X has shape {matrix.shape}; expected 2 dimensions (rows, features). Reshape your "
            "data: X.reshape(-1, 1) if it is one feature."
        )
    if matrix.shape[1] == 0:
        raise InputError(
            f"X has 0 feature(s) (shape={matrix.shape}) while a minimum of 1 is required."
        )
    # NaN gives way to a number in fmax and fmin, and no array of answers is built.
    if matrix.size and np.isinf([np.fmax.reduce(matrix, None), np.fmin.reduce(matrix, None)]).any():
        raise InputError("X holds infinite values; use finite numbers, or NaN where unknown.")
    return matrix


def to_vector(values: Any, what: str, n: int, low: float = -np.inf) -> FloatArray:
    """Return n finite numbers, none below `low`."""
    vector = _to_numbers(values, what)
    if vector.shape != (n,):
        raise InputError(f"{what} has shape {vector.shape}; expected ({n},) as X has {n} rows.")
    if not ((np.abs(vector) < LARGEST) & (vector >= low)).all():
        raise InputError(
            f"{what} holds values that are not finite, beyond {LARGEST:g} or below {low:g}."
        )
    return vector


def to_columns(values: Any, what: str) -> list[FloatArray]:
    """Return the columns of a matrix of finite numbers."""
    matrix = _to_numbers(values, what)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InputError(f"{what} has shape {matrix.shape}; expected (rows, outcomes).")
    return [to_vector(column, what, len(matrix)) for column in matrix.T]


def to_types(types: Sequence[str] | None, n: int) -> tuple[str, ...]:
    """Return the type of each of n columns; quantities by default."""
    if types is None:
        return ("q",) * n
    if len(types) != n or not set(types) <= {"q", "c"}:
        raise InputError(
            f"feature_types is {list(types)[:10]}, {len(types)} entries; expected 'q' or 'c' for "
            f"each of the {n} columns of X."
        )
    return tuple(types)


def to_arms(treatment: Any, n: int, weight: FloatArray | None) -> IntArray:
    """Return n arms 0 .. A, each with rows of some weight."""
    arm = np.asarray(treatment)
    if arm.shape != (n,) or arm.dtype.kind not in "iub":
        raise InputError(
            f"treatment has shape {arm.shape} and type {arm.dtype}; expected ({n},) whole numbers "
            "0 .. A."
        )
    arm = arm.astype(np.int64, copy=False)
    possible = n and arm.min() >= 0 and arm.max() < n  # or counting them could take all memory
    counts = np.bincount(arm, weight) if possible else np.zeros(1)
    if len(counts) < 2 or (counts == 0).any():
        raise InputError(
            f"treatment holds the arms {np.unique(arm).tolist()[:10]} (n_samples = {n}); expected "
            "0, 1, .. A with rows of weight above zero in each."
        )
    return arm


def to_groups(groups: Any, n: int) -> np.ndarray:
    """Return n group labels; each row its own by default."""
    rows = np.arange(n) if groups is None else np.asarray(groups)
    if rows.shape != (n,):
        raise InputError(f"groups has shape {rows.shape}; expected ({n},).")
    return rows


def to_propensity(values: Any, arm: IntArray) -> FloatArray:
    """Return probabilities of the logged arm, (n,), or of every arm, (n, A + 1)."""
    given = _to_numbers(values, "propensity")
    n, arms = len(arm), int(arm.max()) + 1
    if given.ndim != 2:
        vector = to_vector(given, "propensity", n)
        check_propensity(vector)
        return vector
    if given.shape != (n, arms):
        raise InputError(
            f"propensity has shape {given.shape}; expected ({n},) for the logged arm or "
            f"({n}, {arms}) for every arm."
        )
    if (
        not ((given >= 0) & (given <= 1)).all()
        or (abs(given.sum(axis=1) - 1) > _SUM_TOLERANCE).any()
    ):
        raise InputError(
            "propensity holds rows that are no probabilities of the arms; expected numbers in "
            "[0, 1] that add up to 1 in each row."
        )
    check_propensity(given[np.arange(n), arm])
    return given


def check_categories(X: Float32Array, types: Sequence[str]) -> None:
    """Refuse codes of categories that are no codes."""
    for column in (j for j, kind in enumerate(types) if kind == "c"):
        codes = X[:, column]
        codes = codes[~np.isnan(codes)]
        if ((codes < 0) | (codes >= MOST_CATEGORIES) | (codes != np.floor(codes))).any():
            raise InputError(
                f"column {column} of X is a category by feature_types, but holds {codes.min():g} "
                f"to {codes.max():g}; expected whole codes 0 .. {MOST_CATEGORIES - 1}: merge "
                "rare categories, or give a frame."
            )


def _to_numbers(values: Any, what: str) -> FloatArray:
    if values is None:
        raise InputError(f"fit requires {what} to be passed, but the target {what} is None.")
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is not numbers ({error}); give numbers.") from None
