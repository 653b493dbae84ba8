"""Forests read from XGBoost's files give XGBoost's margins, to the bit."""

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.forest.layout import read_forest
from policy.kernel import Forest, encode
from uplift.errors import InputError

FEATURES, CATEGORICAL = 12, {3: 40, 7: 3}


def matrix(rng, n):
    """Numbers and categories, a tenth of them missing."""
    X = rng.normal(size=(n, FEATURES)).astype(np.float32)
    for column, categories in CATEGORICAL.items():
        X[:, column] = rng.integers(0, categories, n)
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def booster(rng, n=4000, rounds=20, **options):
    X = matrix(rng, n)
    signal = np.nan_to_num(X[:, 0]) + (X[:, 3] % 3 == 1) - (X[:, 7] == 2)
    y = (rng.random(n) < 1 / (1 + np.exp(-signal))).astype(np.float32)
    types = ["c" if k in CATEGORICAL else "q" for k in range(FEATURES)]
    rows = xgb.QuantileDMatrix(X, y, feature_types=types, enable_categorical=True)
    told = {"objective": "binary:logistic", "max_depth": 6, "base_score": float(y.mean())}
    return xgb.train(told | options, rows, rounds)


def written(model, folder):
    path = folder / "model.ubj"
    path.write_bytes(model.save_raw("ubj"))
    return path


def margins(forest, X):
    return np.array([forest.margin(bytearray(row.tobytes())) for row in X], dtype=np.float32)


def told(model, X):
    return model.inplace_predict(X, predict_type="margin", missing=np.nan)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"objective": "reg:squarederror"},
        {"max_depth": 1},
        {"max_depth": 10, "min_child_weight": 0},
        {"max_cat_to_onehot": 64},
        {"grow_policy": "lossguide", "max_leaves": 31, "max_depth": 0},
        {"num_parallel_tree": 3, "subsample": 0.5},
    ],
)
def test_margins_are_xgboosts(tmp_path, options):
    rng = np.random.default_rng(0)
    model = booster(rng, **options)
    X = matrix(rng, 3000)
    X[::7, 3], X[::11, 3], X[::13, 7] = 55, 1000, 39  # not seen in fitting
    forest = read_forest(written(model, tmp_path))
    np.testing.assert_array_equal(margins(forest, X), told(model, X))


@pytest.mark.slow
def test_margins_are_xgboosts_on_100_000_rows(tmp_path):
    rng = np.random.default_rng(1)
    model = booster(rng, n=50_000, rounds=100)
    X = matrix(rng, 100_000)
    X[::7, 3] = 55
    forest = read_forest(written(model, tmp_path))
    np.testing.assert_array_equal(margins(forest, X), told(model, X))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 8))
def test_forests_of_any_shape(tmp_path_factory, seed, rounds, depth):
    rng = np.random.default_rng(seed)
    model = booster(rng, n=200, rounds=rounds, max_depth=depth, min_child_weight=0.1)
    X = matrix(rng, 50)
    forest = read_forest(written(model, tmp_path_factory.mktemp("forest")))
    np.testing.assert_array_equal(margins(forest, X), told(model, X))


def test_no_tree_at_all_is_the_base_score(tmp_path):
    model = booster(np.random.default_rng(0), rounds=0)
    X = matrix(np.random.default_rng(1), 5)
    np.testing.assert_array_equal(margins(read_forest(written(model, tmp_path)), X), told(model, X))


def test_last_feature_may_be_given_apart(tmp_path):
    rng = np.random.default_rng(0)
    forest = read_forest(written(booster(rng), tmp_path))
    row = matrix(rng, 1)[0]
    apart = forest.margin(bytearray(row.tobytes()), 1.5)
    row[-1] = 1.5
    assert apart == forest.margin(bytearray(row.tobytes()))


def test_files_that_are_no_booster_are_told(tmp_path):
    data = written(booster(np.random.default_rng(0), n=300, rounds=2), tmp_path).read_bytes()
    other = xgb.train(
        {"objective": "multi:softprob", "num_class": 3},
        xgb.DMatrix(np.eye(30), np.arange(30) % 3),
        1,
    )
    bad = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "longer": data + b"\0",
        "text": b"not a booster",
        "json": b"{}",
        "deep": b"[" * 100,
        "classes": bytes(other.save_raw("ubj")),
    }
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"export it anew|several outputs"):
            read_forest(path)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10**9), st.integers(0, 255))
def test_a_byte_changed_is_read_or_told(broken, place, value):
    """Never a crash: a forest whose nodes lead outside is refused."""
    path, data, X = broken
    changed = bytearray(data)
    changed[place % len(data)] = value
    path.write_bytes(bytes(changed))
    try:
        forest = read_forest(path)
    except InputError:
        return
    margins(forest, X)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = written(booster(rng, n=300, rounds=3), tmp_path_factory.mktemp("broken"))
    return path, path.read_bytes(), matrix(rng, 20)


def test_rows_that_are_too_short_are_refused(tmp_path):
    forest = read_forest(written(booster(np.random.default_rng(0), n=300, rounds=2), tmp_path))
    with pytest.raises(ValueError, match="shorter"):
        forest.margin(bytearray(4))
    with pytest.raises(ValueError, match="shorter"):
        encode({"a": 1.0, "b": 2.0}, ("a", "b"), (None, None), bytearray(4))
    with pytest.raises(BufferError):
        forest.margin(b"0" * 1000)
    with pytest.raises(TypeError):
        encode([], ("a",), (None,), bytearray(4))
    assert isinstance(forest, Forest)


def test_encode_by_hand():
    row = bytearray(4 * 5)
    names, places = ("a", "b", "c", "d", "e"), (None, None, {"x": 2}, {True: 1}, None)
    features = {"a": 1.5, "b": 7, "c": "x", "d": "unknown", "e": None, "more": 1}
    assert encode(features, names, places, row) == -1
    np.testing.assert_array_equal(np.frombuffer(row, np.float32), [1.5, 7, 2, np.nan, np.nan])
    assert encode(features | {"b": "text"}, names, places, row) == 1
    assert encode(features | {"c": []}, names, places, row) == 2
    assert encode({"a": 1.0}, names, places, row) == 1
    assert encode(features | {"e": 1e39}, names, places, row) == 4
