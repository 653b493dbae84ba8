"""FeatureEncoder: feature columns to a float32 matrix, the same bytes online and in batch."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from uplift.arrays import Float32Array
from uplift.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from uplift.log import RequestLog

__all__ = ["FeatureEncoder"]

Category = str | int | float | bool
_BEYOND_FLOAT32 = 2.0**128 - 2.0**103  # rounds to infinity


@dataclass(frozen=True)
class FeatureEncoder:
    """Encode feature columns for boosters that know categories and missing values.

    A number becomes its float32; a category becomes the float32 of its place in the vocabulary;
    a missing value and a category that was not seen in fitting become NaN.

    Attributes
    ----------
    names : feature columns, in the order of the matrix's columns
    vocabulary : for each categorical feature its categories, sorted
    """

    names: tuple[str, ...]
    vocabulary: Mapping[str, tuple[Category, ...]]

    @classmethod
    def fit(cls, log: "RequestLog") -> "FeatureEncoder":
        """Collect the categories of a log's features."""
        names = tuple(log.features)
        return cls(
            names,
            {
                name: _categories(log.frame[name], name)
                for name in names
                if log.schema.is_categorical(name) or _is_text(log.frame[name])
            },
        )

    @property
    def types(self) -> tuple[str, ...]:
        """XGBoost's type of each column: ``c`` for categories, ``q`` for quantities."""
        return tuple("c" if name in self.vocabulary else "q" for name in self.names)

    @cached_property
    def _places(self) -> dict[str, dict[Category, int]]:
        return {n: {c: i for i, c in enumerate(v)} for n, v in self.vocabulary.items()}

    def transform(self, frame: "pd.DataFrame") -> Float32Array:
        """Encode a frame to an (n, features) matrix; columns are found by name."""
        missing = [name for name in self.names if name not in frame]
        if missing:
            raise InputError(
                f"features {missing[:10]} are not in the frame; the model was fitted on "
                f"{len(self.names)} features and needs them all."
            )
        X = np.empty((len(frame), len(self.names)), dtype=np.float32)
        for column, name in enumerate(self.names):
            X[:, column] = self._column(frame[name], name)
        return X

    def transform_row(self, row: Mapping[str, Any]) -> Float32Array:
        """Encode one decision point, as `transform` would encode it in a frame."""
        try:
            return np.array([self._value(row[name], name) for name in self.names], np.float32)
        except KeyError as error:
            raise InputError(
                f"feature {error.args[0]!r} is missing; give a value or None."
            ) from None

    def to_json(self) -> str:
        """Return the encoder as JSON."""
        return json.dumps({"names": self.names, "vocabulary": self.vocabulary}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "FeatureEncoder":
        """Rebuild an encoder from `to_json`."""
        table = json.loads(text)
        vocabulary = {name: tuple(v) for name, v in table["vocabulary"].items()}
        return cls(tuple(table["names"]), vocabulary)

    def _value(self, value: Any, name: str) -> float:
        if value is None or type(value).__name__ == "NAType":  # pandas.NA, without pandas
            return math.nan
        if name in self.vocabulary:
            try:
                return self._places[name].get(value, math.nan)
            except TypeError:  # what cannot be hashed
                sentence = f"feature {name!r} is {value!r}; the model expects a category."
                raise InputError(sentence) from None
        return _number(value, name)

    def _column(self, values: "pd.Series", name: str) -> np.ndarray:
        if name not in self.vocabulary:
            return _numbers(values, name)
        import pandas as pd

        codes, seen = pd.factorize(values)  # a missing value gets the code -1
        table = np.array([self._value(v, name) for v in seen] + [math.nan], dtype=np.float32)
        return table[codes]


def _categories(values: "pd.Series", name: str) -> tuple[Category, ...]:
    seen: Sequence[Any] = values.drop_duplicates().dropna().tolist()
    if not all(isinstance(value, str | int | float) for value in seen):
        raise InputError(
            f"feature {name!r} is of type {values.dtype}; expected numbers, booleans or strings."
        )
    return tuple(sorted(seen, key=lambda v: (isinstance(v, str), v)))


def _is_text(values: "pd.Series") -> bool:
    import pandas as pd

    kind = values.dtype
    return isinstance(kind, pd.CategoricalDtype) or not (
        pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)
    )


def _numbers(values: "pd.Series", name: str) -> np.ndarray:
    if _is_text(values):
        raise InputError(f"feature {name!r} is of type {values.dtype}; the model expects numbers.")
    with np.errstate(over="ignore"):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32)
    if np.isinf(numbers).any():
        raise _infinite(name)
    return numbers


def _number(value: Any, name: str) -> float:
    if isinstance(value, str) or not hasattr(value, "__float__"):
        raise InputError(f"feature {name!r} is {value!r}; the model expects a number.")
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond every float
        raise _infinite(name) from None
    if abs(number) >= _BEYOND_FLOAT32:
        raise _infinite(name)
    return number


def _infinite(name: str) -> InputError:
    return InputError(
        f"feature {name!r} holds an infinite value; use a finite number, or None where unknown."
    )
