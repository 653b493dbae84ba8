"""What the columns of a randomised request log must hold; anything else stops the reading."""

import numpy as np
import pandas as pd

from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.schema import LogSchema

__all__ = ["LARGEST", "check_columns", "check_propensity", "check_rows"]

#: Outcomes and costs stay below this in size: boosters compute in float32.
LARGEST = 1e30
_LAST_PLACE = 32_767


def check_columns(frame: pd.DataFrame, schema: LogSchema) -> None:
    """Raise InputError at the first thing that a randomised request log cannot hold."""
    check_rows(frame, schema)
    if len(frame) < 2:
        raise InputError(
            f"the log has {len(frame)} row(s); expected at least one decision point an arm."
        )
    _check_every_arm(frame["arm"], schema)


def check_rows(frame: pd.DataFrame, schema: LogSchema) -> None:
    """Raise InputError at the first thing that no row of a log can hold, though it be one of few.

    Every column of the contract must be there.
    """
    _check_names(frame, schema)
    if frame.empty:
        return
    _check_arm(frame["arm"], schema)
    if "propensity" in frame:
        check_propensity(_numbers(frame, "propensity"))
    for outcome in schema.outcomes:
        _check_finite(_numbers(frame, outcome), f"outcome {outcome!r}", -np.inf)
    if "cost" in frame:
        _check_finite(_numbers(frame, "cost"), "cost", 0.0)
    for column in ("session_id", "user_id", schema.cluster):
        if column in frame:
            _check_there(frame[column])
    _check_time(frame)
    _check_place(frame, schema)


def _check_names(frame: pd.DataFrame, schema: LogSchema) -> None:
    unnamed = [column for column in frame.columns if not isinstance(column, str)]
    if unnamed:
        raise InputError(f"column {unnamed[0]!r} has no name in letters; name every column.")
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise InputError(f"column {doubled[0]!r} occurs twice in the log; keep one of them.")
    estimated = {"propensity"} if schema.propensity == "estimate" else set()
    for column in ("arm", "propensity", *schema.outcomes):
        if column not in frame and column not in estimated:
            raise InputError(
                f"column {column!r} is not in the log, which has {_listing(list(frame.columns))}; "
                "add it, or correct the schema."
            )
    if schema.cluster not in frame and schema.cluster not in ("user_id", "session_id"):
        raise InputError(
            f"the schema clusters by {schema.cluster!r}, which is not in the log; correct it."
        )
    for glob in schema.features:
        if "*" not in glob and glob not in frame:
            raise InputError(f"feature {glob!r} is not in the log; add it or correct the schema.")
    if not schema.feature_columns({*frame.columns, *estimated}):
        raise InputError(
            f"no column matches the features {list(schema.features)}; the log has "
            f"{_listing(list(frame.columns))}."
        )


def _check_arm(arm: pd.Series, schema: LogSchema) -> None:
    if not pd.api.types.is_integer_dtype(arm.dtype):
        raise InputError(f"column 'arm' is of type {arm.dtype}; expected whole numbers 0, 1, ....")
    _check_there(arm)
    seen = np.unique(arm.to_numpy())
    if seen[0] < 0 or seen[-1] > schema.n_arms:
        raise InputError(
            f"column 'arm' holds {seen.tolist()[:10]}; the schema names arms 0 to {schema.n_arms} "
            f"({', '.join(schema.arms)})."
        )


def _check_every_arm(arm: pd.Series, schema: LogSchema) -> None:
    seen = np.unique(arm.to_numpy())
    for index, name in enumerate(schema.arms):
        if index not in seen:
            raise InputError(
                f"arm {index} ({name!r}) is never logged; nothing can be learned of it: take it "
                "out of the schema, or log it."
            )


def check_propensity(propensity: FloatArray) -> None:
    """Refuse what is no probability of a logged arm."""
    bad = ~((propensity > 0) & (propensity <= 1))  # NaN is bad as well
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"column 'propensity' holds {propensity[row]} in row {row} ({int(bad.sum())} such "
            "rows); expected the probability of the logged arm, in (0, 1]."
        )


def _check_finite(values: FloatArray, what: str, low: float) -> None:
    bad = ~((np.abs(values) < LARGEST) & (values >= low))
    if bad.any():
        row = int(np.argmax(bad))
        bound = "" if low == -np.inf else f" >= {low:g}"
        raise InputError(
            f"{what} holds {values[row]} in row {row} ({int(bad.sum())} such rows); expected a "
            f"finite number{bound} (below {LARGEST:g} in size)."
        )


def _check_time(frame: pd.DataFrame) -> None:
    if "timestamp" not in frame:
        return
    time = frame["timestamp"]
    if not pd.api.types.is_datetime64_any_dtype(time.dtype):
        raise InputError(f"column 'timestamp' is of type {time.dtype}; expected datetimes in UTC.")
    _check_there(time)


def _check_place(frame: pd.DataFrame, schema: LogSchema) -> None:
    for column in ("page", "position"):
        if column not in frame:
            continue
        if not pd.api.types.is_integer_dtype(frame[column].dtype):
            raise InputError(
                f"column {column!r} is of type {frame[column].dtype}; expected whole numbers."
            )
        _check_there(frame[column])
        low, high = int(frame[column].min()), int(frame[column].max())
        if low < 0 or high > _LAST_PLACE:
            raise InputError(
                f"column {column!r} reaches from {low} to {high}; expected 0 to {_LAST_PLACE}."
            )
    if "position" in frame and frame["position"].max() >= schema.page_length:
        raise InputError(
            f"column 'position' holds {frame['position'].max()}, but a page has "
            f"{schema.page_length} slots; set page_length in the schema."
        )


def _check_there(values: pd.Series) -> None:
    missing = int(values.isna().sum())
    if missing:
        raise InputError(f"column {values.name!r} misses {missing} values; every row needs one.")


def _numbers(frame: pd.DataFrame, column: str) -> FloatArray:
    kind = frame[column].dtype
    if not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)):
        raise InputError(f"column {column!r} is of type {kind}; expected numbers.")
    return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _listing(names: list[str]) -> str:
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
