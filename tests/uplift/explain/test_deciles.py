import numpy as np
import pytest
from planted import trial

from uplift import InputError
from uplift.explain import uplift_by_decile


@pytest.fixture(scope="module")
def data():
    return trial(2000)


def test_the_best_decile_comes_first_and_all_points_are_in_one(data):
    table = uplift_by_decile(data.truth, data.effect, data.cluster)
    assert table.points.sum() == len(data.truth)
    assert (np.diff(table.predicted) < 0).all()
    best = np.sort(data.truth)[-table.points[0] :]
    assert table.predicted[0] == pytest.approx(best.mean())


def test_measured_effects_agree_with_a_prediction_that_is_true(data):
    """Ten intervals of 95 %: more than 2 misses happen once in 90 tables; the seed is fixed."""
    table = uplift_by_decile(data.truth, data.effect, data.cluster, truth=data.truth)
    np.testing.assert_allclose(table.truth, table.predicted)
    misses = [not e.lower <= p <= e.upper for e, p in zip(table.effect, table.truth, strict=True)]
    assert sum(misses) <= 2


def test_any_rising_function_of_the_prediction_makes_the_same_deciles(data):
    a = uplift_by_decile(data.truth, data.effect, data.cluster)
    b = uplift_by_decile(np.exp(data.truth / 4), data.effect, data.cluster)
    np.testing.assert_array_equal(a.points, b.points)
    assert a.effect == b.effect


def test_points_of_equal_prediction_share_a_decile(data):
    table = uplift_by_decile(np.sign(data.truth), data.effect, data.cluster)
    assert table.points.tolist() == [np.sum(np.sign(data.truth) == s) for s in (1, 0, -1)]
    one = uplift_by_decile(np.zeros(len(data.truth)), data.effect, data.cluster)
    assert one.points.tolist() == [len(data.truth)]
    assert one.effect[0].value == pytest.approx(data.effect.mean())


def test_the_tables(data):
    table = uplift_by_decile(data.truth, data.effect, data.cluster, n_bins=5)
    frame = table.to_frame()
    assert list(frame) == ["decile", "points", "predicted", "effect", "lower", "upper"]
    assert frame["decile"].tolist() == [1, 2, 3, 4, 5]
    assert table.to_dict()[0]["effect"] == table.effect[0].to_dict()
    known = uplift_by_decile(data.truth, data.effect, data.cluster, truth=data.truth).to_frame()
    assert "truth" in known


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"uplift": np.full(10_000, np.inf)}, "uplift has shape .* finite numbers"),
        ({"truth": np.ones(2)}, r"truth has shape \(2,\)"),
        ({"n_bins": 0}, "n_bins is 0"),
        ({"uplift": np.ones(0), "effect": np.ones(0), "cluster": np.ones(0, int)}, "at least one"),
    ],
)
def test_bad_input_is_told(data, changes, sentence):
    given = {"uplift": data.truth, "effect": data.effect, "cluster": data.cluster, **changes}
    with pytest.raises(InputError, match=sentence):
        uplift_by_decile(**given)
