import numpy as np
import pytest
import xgboost as xgb

from uplift.binned import BinnedRows, chunks

N = 2000
TYPES = ("q", "q", "c")


def features(seed=0):
    """Two numbers, one of them with gaps, and a category."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(N, 2)), rng.integers(0, 4, N)]).astype(np.float32)
    X[rng.random(N) < 0.1, 1] = np.nan
    return X


def binned(X, types=TYPES, **options):
    return BinnedRows(X, types, max_bin=32, n_threads=1, **options)


def cuts(matrix):
    return [part.tolist() for part in matrix.get_quantile_cut()]


def booster(matrix, y):
    matrix.set_info(label=y)
    return xgb.train({"max_depth": 4, "nthread": 1, "max_bin": 32}, matrix, 5).save_raw("ubj")


def test_a_part_has_the_cuts_of_the_whole():
    """Rows of one tail alone would have other cuts of their own."""
    X = features()
    tail = np.flatnonzero(X[:, 0] > 1)
    rows = binned(X)
    assert cuts(rows.matrix("tail", tail)) == cuts(rows.matrix("all", np.arange(N)))
    assert cuts(binned(X[tail]).matrix("all", np.arange(len(tail)))) != cuts(
        rows.matrix("tail", tail)
    )


def test_a_part_is_binned_as_its_rows_are_in_the_whole():
    """A booster trained on the part is one trained on the whole with no weight elsewhere."""
    X, part = features(), np.arange(0, N, 3)
    y = np.nan_to_num(X[:, 0] + X[:, 1])
    rows = binned(X)
    ours = xgb.Booster(model_file=bytearray(booster(rows.matrix("part", part), y[part])))
    whole = rows.matrix("all", np.arange(N))
    whole.set_info(weight=np.isin(np.arange(N), part).astype(float))
    theirs = xgb.Booster(model_file=bytearray(booster(whole, y)))
    np.testing.assert_allclose(
        ours.inplace_predict(X[part]), theirs.inplace_predict(X[part]), rtol=1e-5
    )


def test_a_matrix_is_made_once_for_a_key_where_it_is_kept():
    rows, part = binned(features()), np.arange(100)
    assert rows.matrix("a", part) is not rows.matrix("a", part)
    rows.keep = True
    assert rows.matrix("a", part) is rows.matrix("a", part)
    assert rows.matrix("a", part) is not rows.matrix("b", part)
    assert rows.matrix("a", np.arange(N)) is rows.matrix("b", np.arange(N))


def test_cuts_are_found_once_and_only_when_needed(monkeypatch):
    own, original = [], xgb.QuantileDMatrix

    def noted(*arguments, ref=None, **options):
        own.append(ref is None)
        return original(*arguments, ref=ref, **options)

    monkeypatch.setattr("uplift.binned.xgb.QuantileDMatrix", noted)
    rows = binned(features())
    assert own == []
    for key, size in (("a", 10), ("b", 500), ("c", N), ("a", 10)):
        rows.matrix(key, np.arange(size))
    assert own == [True, False, False, False]


def test_cuts_of_many_rows_are_found_on_some_and_know_every_category(monkeypatch):
    """The one row of the last category is not among the evenly spread ones."""
    monkeypatch.setattr("uplift.binned.CUT_ROWS", 200)
    X = features()
    X[5, 2] = 7.0
    rows, part = binned(X), np.arange(0, N, 3)
    values = rows.matrix("part", part).get_quantile_cut()[1]
    assert rows._cuts.num_row() == 201
    assert values[-8:].tolist() == list(range(8))
    whole = rows.matrix("all", np.arange(N))
    assert (whole.num_row(), cuts(whole)) == (N, cuts(rows.matrix("part", part)))
    spread = np.sort(X[np.linspace(0, N - 1, 200).astype(int), 0])
    shares = np.searchsorted(spread, values[1:32]) / 200
    assert np.abs(shares - np.arange(1, 32) / 32).max() < 2 / 32


def test_types_are_told_only_where_there_is_a_category():
    """XGBoost evaluates slower where it has to ask each feature."""
    assert binned(features()).told_types == ["q", "q", "c"]
    assert binned(features()[:, :2], ("q", "q")).told_types is None


def test_chunks_change_nothing(monkeypatch):
    """Fewer values than bins, so that no piece can cut elsewhere."""
    X = np.round(features(), 0)
    y = np.nan_to_num(X[:, 0])
    whole = booster(binned(X).matrix("all", np.arange(N)), y)
    monkeypatch.setattr("uplift.binned.CHUNK_ROWS", 64)
    assert booster(binned(X).matrix("all", np.arange(N)), y) == whole


def test_the_last_feature_may_stand_beside_the_others():
    X = features()
    beside = binned(X[:, :2], extra=X[:, 2])
    np.testing.assert_array_equal(beside.gather(np.arange(5)), X[:5])
    np.testing.assert_array_equal(binned(X).gather(np.array([7, 3])), X[[7, 3]])
    y = X[:, 2] == 1
    index = np.arange(N)
    assert booster(beside.matrix("all", index), y) == booster(binned(X).matrix("all", index), y)


def test_a_feature_without_values_is_taken():
    X = features()
    X[:, 1:] = np.nan
    matrix = binned(X).matrix("part", np.arange(100))
    assert (matrix.num_row(), matrix.num_col()) == (100, 3)


@pytest.mark.parametrize("n", [0, 1, 64, 65, 200])
def test_chunks_are_the_index_in_order(monkeypatch, n):
    monkeypatch.setattr("uplift.binned.CHUNK_ROWS", 64)
    pieces = chunks(np.arange(n)[::-1])
    assert all(0 < len(piece) <= 64 for piece in pieces)
    assert [i for piece in pieces for i in piece] == list(range(n))[::-1]
