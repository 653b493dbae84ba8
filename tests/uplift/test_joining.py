"""Boosters as sums of trees: joined, and faded."""

import numpy as np
import pytest
import xgboost as xgb
from scipy.special import logit
from simulated_logs import QUICK

from uplift.binned import BinnedRows
from uplift.boosting import BoostedModel, BoostTask, train

TYPES = ("q", "q", "c")
OBJECTIVES = ("reg:squarederror", "binary:logistic")


def rows(seed=0, n=2000):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 9, n)]).astype(np.float32)
    X[rng.random(n) < 0.1, 1] = np.nan
    return X


def boosted(rounds, objective, seed=0, intercept=None):
    X = rows(seed)
    rate = 0.2 + 0.3 * (X[:, 0] > 0) + 0.3 * (X[:, 2] % 3 == 1)
    y = (np.random.default_rng(seed).random(len(X)) < rate).astype(float)
    index = np.arange(len(X))
    matrix = BinnedRows(X, TYPES, n_threads=1).matrix("all", index)
    task = BoostTask(y, objective, intercept=intercept)
    return BoostedModel(train(task, matrix, index, QUICK, rounds), TYPES)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("rounds", [(0, 0), (0, 4), (3, 0), (3, 4)])
def test_margins_add_up(objective, rounds):
    first, second = (boosted(r, objective, seed) for seed, r in enumerate(rounds))
    both, X = first.followed_by(second), rows(7)
    assert (both.rounds, both.types) == (sum(rounds), TYPES)
    np.testing.assert_allclose(both.margin(X), first.margin(X) + second.margin(X), atol=2e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_first_trees_are_the_first_boosters(objective):
    first, second = boosted(3, objective), boosted(4, objective, 1)
    dump = first.followed_by(second).booster.get_dump()
    assert dump == [*first.booster.get_dump(), *second.booster.get_dump()]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("keep", [0.25, 0.5, 1.0])
def test_what_the_trees_say_is_scaled_and_their_start_is_not(objective, keep):
    model, X = boosted(5, objective), rows(7)
    start = boosted(0, objective).margin(X[:1])[0]
    expected = start + keep * (model.margin(X) - start)
    np.testing.assert_allclose(model.faded(keep).margin(X), expected, atol=2e-6)
    assert model.faded(keep).rounds == model.rounds


def test_to_keep_all_is_to_change_nothing():
    model = boosted(5, "binary:logistic")
    assert model.faded(1.0).booster.get_dump() == model.booster.get_dump()


def test_no_trees_are_faded_too():
    model = boosted(0, "binary:logistic")
    np.testing.assert_array_equal(model.faded(0.5).margin(rows()), model.margin(rows()))


def test_day_after_day_the_number_of_trees_stays_bounded():
    """Of what is halved ten times a thousandth is left: 11 days of trees at most."""
    model = boosted(4, "binary:logistic")
    for day in range(40):
        model = model.faded(0.5).followed_by(boosted(4, "binary:logistic", day, 0.0))
        assert model.rounds <= 4 * 12


def test_a_sum_may_be_saved_and_sliced(tmp_path):
    both = boosted(3, "binary:logistic").followed_by(boosted(4, "binary:logistic", 1))
    both.save(tmp_path / "a.ubj")
    again = BoostedModel.load(tmp_path / "a.ubj", TYPES)
    np.testing.assert_array_equal(again.margin(rows(7)), both.margin(rows(7)))
    assert both.booster[:5].num_boosted_rounds() == 5


def test_an_event_that_never_happens_stays_inside():
    """Two starts at the edge of what XGBoost takes add up to one beyond it."""
    low = boosted(0, "binary:logistic", intercept=-20.0)
    margin = low.followed_by(low).margin(rows())
    np.testing.assert_allclose(margin, logit(1e-6), rtol=1e-3)


def test_to_go_on_as_xgboost_does_would_be_wrong_on_other_cuts():
    """Why boosters are joined at all: splits do not fall on the cuts of other rows."""
    model, X = boosted(40, "binary:logistic"), rows(8)
    binned = BinnedRows(X, TYPES, n_threads=1).matrix("all", np.arange(len(X)))
    assert isinstance(binned, xgb.QuantileDMatrix)
    asked = model.booster.predict(binned, output_margin=True)
    assert (np.abs(asked - model.margin(X)) > 1e-3).mean() > 0.01
