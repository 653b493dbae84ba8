import numpy as np
import pytest
from planted import NAMES, trial, true_uplift

from uplift import InputError
from uplift.explain import Subject
from uplift.explain.subject import check_rows, sample_clusters

X = trial(20).X


def spoilt(value, place):
    changed = X.copy()
    changed[0, place] = value
    return changed


@pytest.mark.parametrize(
    ("matrix", "options", "sentence"),
    [
        (X.astype(float), {}, "X must be a float32 array"),
        (X[:0], {}, "at least one row"),
        (spoilt(np.inf, 0), {}, "X holds infinite values"),
        (X, {"names": ("a", "b")}, "names has 2 different names; X has 4 columns"),
        (X, {"names": ("a", "a", "b", "c")}, "names has 3 different names"),
        (spoilt(3, 3), {"vocabulary": {"kind": "abc"}}, "no codes of its 3 categories, 0 .. 2"),
        (spoilt(0.5, 3), {"vocabulary": {"kind": "abc"}}, "no codes"),
    ],
)
def test_what_does_not_fit_is_told(matrix, options, sentence):
    with pytest.raises(InputError, match=sentence):
        Subject(true_uplift, matrix, **{"names": NAMES, **options})


@pytest.mark.parametrize(
    ("predict", "arm", "sentence"),
    [
        (true_uplift, 2, r"arm is 2; expected one of 1 .. 1"),
        (true_uplift, 0, r"arm is 0; expected"),
        (lambda X: true_uplift(X)[:, 0], 1, r"predict gave shape \(100,\); expected \(100, arms\)"),
        (lambda X: true_uplift(X)[1:], 1, r"predict gave shape \(99, 1\)"),
        (lambda X: np.full((len(X), 1), np.nan), 1, "not finite"),
    ],
)
def test_a_model_that_does_not_fit_is_told(predict, arm, sentence):
    with pytest.raises(InputError, match=sentence):
        _ = Subject(predict, X, NAMES, arm).uplift


def test_clusters_are_drawn_whole_and_about_as_many_rows_as_asked():
    cluster = np.random.default_rng(0).integers(0, 100, 1000)
    chosen = sample_clusters(cluster, 200, seed=0)
    assert 200 <= chosen.sum() < 200 + np.bincount(cluster).max()
    assert not set(cluster[chosen]) & set(cluster[~chosen])
    assert sample_clusters(cluster, 1000, seed=0).all()
    assert (sample_clusters(cluster, 200, seed=1) != chosen).any()


def test_identifiers_are_no_codes():
    """Sums have a place for each code: identifiers would take all memory."""
    with pytest.raises(InputError, match="expected codes 0, 1"):
        check_rows(2, np.array([10**12, 10**12 + 1]))
