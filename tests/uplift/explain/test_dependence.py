from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import trial

from uplift import InputError
from uplift.explain import partial_dependence


@pytest.fixture(scope="module")
def data():
    return trial(400)


def test_a_quantity_gives_back_its_slope_and_missing_its_own_point(data):
    found = partial_dependence(data.subject(), "uplift_only", rows=len(data.X))
    others = 0.5 * (data.X[:, 3] == 2).mean()
    np.testing.assert_allclose(found.mean[:-1], found.values[:-1] + others)
    assert np.isnan(found.values[-1])
    assert found.mean[-1] == pytest.approx(others)
    assert found.labels is None
    assert len(found.values) == 21


def test_categories_have_their_names(data):
    found = partial_dependence(data.subject(), "kind")
    assert found.labels == ("a", "b", "c")
    assert found.mean[2] - found.mean[0] == pytest.approx(0.5)
    assert found.mean[1] == found.mean[0]


def test_what_drives_the_outcome_alone_is_flat(data):
    for name in ("outcome_only", "noise"):
        found = partial_dependence(data.subject(), name)
        assert np.ptp(found.mean) == pytest.approx(0, abs=1e-12)


def test_the_band_shows_that_a_feature_works_differently_in_different_rows(data):
    """tau = sign(x0) x2 averages to nothing, and its band opens as |x2| grows."""
    crossed = data.subject(lambda X: (np.sign(X[:, 0]) * X[:, 2])[:, None])
    found = partial_dependence(crossed, "noise", rows=len(data.X))
    np.testing.assert_allclose(found.low, -np.abs(found.values))
    np.testing.assert_allclose(found.high, np.abs(found.values))
    # The mean is the value times the mean of 2,000 signs, 1 / sqrt(2000) = 0.022 (1 s.e.).
    assert (np.abs(found.mean) < 4 * 0.022 * np.abs(found.values)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 10_000))
def test_values_occur_and_shares_make_one(points, n_users, seed):
    data = trial(n_users, seed)
    found = partial_dependence(data.subject(), "uplift_only", points=points, rows=10)
    assert found.share.sum() == pytest.approx(1)
    missing = np.isnan(data.X[:, 1]).any()
    assert len(found.values) <= points + missing
    assert np.isin(found.values[: len(found.values) - missing], data.X[:, 1]).all()
    assert (found.low <= found.high).all()


def test_a_feature_of_few_values_has_them_all(data):
    X = data.X.copy()
    X[:, 2] = np.round(X[:, 2])
    found = partial_dependence(replace(data.subject(), X=X), "noise")
    np.testing.assert_array_equal(found.values, np.unique(X[:, 2]))
    np.testing.assert_allclose(found.share, [(X[:, 2] == v).mean() for v in found.values])


def test_only_the_most_frequent_of_many_categories_are_shown(data):
    X = data.X.copy()
    X[:, 3] = np.minimum(np.arange(len(X)) % 100, 50)  # the last one stands for half of them
    X[0, 3] = np.nan
    many = {"kind": tuple(f"k{i}" for i in range(51))}
    found = partial_dependence(replace(data.subject(), X=X, vocabulary=many), "kind", points=3)
    assert len(found.values) == 4
    assert found.labels[-2:] == ("k50", "missing")
    assert found.to_frame()["labels"].tolist() == list(found.labels)


def test_a_feature_that_is_never_known_is_one_point(data):
    X = data.X.copy()
    X[:, 2] = np.nan
    found = partial_dependence(replace(data.subject(), X=X), "noise")
    assert len(found.values) == 1
    assert found.share.tolist() == [1.0]


def test_the_seed_decides_over_the_rows(data):
    a, b, c = (
        partial_dependence(data.subject(), "uplift_only", rows=100, seed=s) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(a.mean, b.mean)
    assert (a.mean != c.mean).any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"feature": "colour"}, "feature 'colour' is unknown; choose among .'outcome_only'"),
        ({"feature": "noise", "points": 0}, "points is 0, rows 2000"),
        ({"feature": "noise", "rows": 0}, "points is 20, rows 0"),
    ],
)
def test_bad_input_is_told(data, options, sentence):
    with pytest.raises(InputError, match=sentence):
        partial_dependence(data.subject(), **options)
