import json
from dataclasses import dataclass

import numpy as np

from uplift.plain import to_plain


@dataclass
class Result:
    value: float
    note: str | None = None
    _cache: int = 3


def test_dataclasses_become_dicts_without_what_is_absent_or_private():
    assert to_plain(Result(1.5)) == {"value": 1.5}
    assert to_plain([Result(1.0, "n")]) == [{"value": 1.0, "note": "n"}]


def test_numbers_of_numpy_become_python_numbers():
    plain = to_plain({1: np.int64(2), "b": np.bool_(True), "c": np.arange(4.0).reshape(2, 2)})
    assert plain == {"1": 2, "b": True, "c": [[0.0, 1.0], [2.0, 3.0]]}
    assert [type(v) for v in plain.values()] == [int, bool, list]


def test_what_is_not_finite_becomes_null_so_that_json_is_strict():
    values = to_plain({"a": [np.nan, -np.inf, 1.0], "b": np.float32("inf"), "c": Result(np.nan)})
    assert values == {"a": [None, None, 1.0], "b": None, "c": {"value": None}}
    json.dumps(values, allow_nan=False)
