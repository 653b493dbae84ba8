"""FeatureEncoder: feature columns to a float32 matrix, the same bytes online and in batch."""

import heapq
import json
import math
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
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
_MOST_CATEGORIES = 1_000
#: What pandas infers of a column of objects that are numbers.
_NUMBERS = ("boolean", "integer", "floating", "mixed-integer-float")
_BEYOND_FLOAT32 = 2.0**128 - 2.0**103  # rounds to infinity


@dataclass(frozen=True)
class FeatureEncoder:
    """Encode feature columns for boosters that know categories and missing values.

    A number becomes its float32; a category becomes the float32 of its place in the vocabulary;
    a missing value and a category that was not seen in fitting become NaN. Of more than 1,000
    categories the most frequent 1,000 are kept, with a warning; the others count as not seen. A
    column of nothing but numbers where the categories are texts, or the other way round, is
    refused, as a column of texts is where numbers were.

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
        return cls.of(log.frame, names, [n for n in names if log.schema.is_categorical(n)])

    @classmethod
    def of(
        cls,
        frame: "pd.DataFrame",
        names: Sequence[str] | None = None,
        categorical: Sequence[str] = (),
    ) -> "FeatureEncoder":
        """Collect the categories of a frame's columns, all by default.

        Texts and pandas categories are categories without being named.
        """
        names = tuple(frame.columns) if names is None else tuple(names)
        _check_names(frame, names)
        of_categories = [n for n in names if n in categorical or _is_text(frame[n])]
        return cls(names, {name: _categories(frame[name], name) for name in of_categories})

    @property
    def types(self) -> tuple[str, ...]:
        """XGBoost's type of each column: ``c`` for categories, ``q`` for quantities."""
        return tuple("c" if name in self.vocabulary else "q" for name in self.names)

    @cached_property
    def places(self) -> dict[str, dict[Category, int]]:
        """Place of each category in its feature's vocabulary."""
        return {n: {c: i for i, c in enumerate(v)} for n, v in self.vocabulary.items()}

    def transform(self, frame: "pd.DataFrame") -> Float32Array:
        """Encode a frame to an (n, features) matrix; columns are found by name."""
        self.check_there(frame.columns)
        _check_names(frame, self.names)
        X = np.empty((len(frame), len(self.names)), dtype=np.float32)
        for column, name in enumerate(self.names):
            X[:, column] = self._column(frame[name], name)
        return X

    def check_there(self, columns: Collection[str]) -> None:
        """Refuse columns that lack a feature."""
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise InputError(
                f"features {missing[:10]} are not in the frame; the model was fitted on "
                f"{len(self.names)} features and needs them all."
            )

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
                return self.places[name].get(value, math.nan)
            except TypeError:  # what cannot be hashed
                sentence = f"feature {name!r} is {value!r}; the model expects a category."
                raise InputError(sentence) from None
        return _number(value, name)

    def _column(self, values: "pd.Series", name: str) -> np.ndarray:
        if name not in self.vocabulary:
            return _numbers(values, name)
        import pandas as pd

        codes, seen = pd.factorize(values)  # a missing value gets the code -1
        _check_kind(seen, self.vocabulary[name], name)
        table = np.array([self._value(v, name) for v in seen] + [math.nan], dtype=np.float32)
        return table[codes]


def _check_names(frame: "pd.DataFrame", names: Sequence[str]) -> None:
    times = Counter(frame.columns)
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"column {name!r} has no name in letters; name every column.")
        if times[name] > 1:
            raise InputError(f"column {name!r} occurs {times[name]} times; keep one of them.")


def _check_kind(found: Iterable[Any], known: Sequence[Category], name: str) -> None:
    """Refuse a column in which no category can be known: numbers for texts, texts for numbers."""
    kinds = {isinstance(value, str) for value in found}
    if known and kinds and kinds.isdisjoint(isinstance(value, str) for value in known):
        holds, expects = ("texts", "numbers") if kinds == {True} else ("numbers", "texts")
        raise InputError(
            f"feature {name!r} holds {holds}; the model expects {expects} such as {known[0]!r}."
        )


def _categories(values: "pd.Series", name: str) -> tuple[Category, ...]:
    try:
        seen = values.drop_duplicates().dropna().tolist()
    except TypeError:  # what cannot be hashed, such as lists
        seen = [None]
    if not all(isinstance(value, str | int | float) for value in seen):
        raise InputError(
            f"feature {name!r} is of type {values.dtype}; expected numbers, booleans or strings."
        )
    if len(seen) > _MOST_CATEGORIES:
        seen = _most_frequent(values, name)
    return tuple(sorted(seen, key=_order))


def _most_frequent(values: "pd.Series", name: str) -> list[Any]:
    """Return the categories with the most rows; ties by value, not by the order of rows."""
    counts = values.astype(object).value_counts()
    warnings.warn(
        f"feature {name!r} has {len(counts):,} categories; the {_MOST_CATEGORIES:,} most frequent "
        "are kept, the others are read as missing.",
        UserWarning,
        stacklevel=2,
    )
    counted = dict(counts)
    return heapq.nsmallest(_MOST_CATEGORIES, counted, key=lambda c: (-counted[c], _order(c)))


def _order(category: Category) -> tuple[bool, Category]:
    return isinstance(category, str), category


def _is_text(values: "pd.Series") -> bool:
    from pandas import CategoricalDtype
    from pandas.api import types

    kind = values.dtype
    if types.is_object_dtype(kind) and types.infer_dtype(values, skipna=True) in _NUMBERS:
        return False  # numbers or yes, no and unknown, as Parquet and polars hand them over
    return isinstance(kind, CategoricalDtype) or not (
        types.is_numeric_dtype(kind) or types.is_bool_dtype(kind)
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
