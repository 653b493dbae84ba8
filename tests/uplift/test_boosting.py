from dataclasses import replace

import numpy as np
import pytest
import xgboost as xgb
from scipy.special import expit
from simulated_logs import QUICK

from uplift.boosting import BoostedModel, BoostTask, train, train_cross_fitted
from uplift.cross_fit import fold_of

#: One tree that weighs nothing.
HARDLY = replace(QUICK, max_rounds=1, learning_rate=1e-9)


def step_task(n=3000, seed=0, objective="reg:squarederror", noise=0.5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)).astype(np.float32)
    mean = np.where(X[:, 0] > 0, 1.0, -1.0)
    binary = objective == "binary:logistic"
    y = (rng.random(n) < expit(mean)).astype(float) if binary else mean + rng.normal(0, noise, n)
    return BoostTask(X, y, objective, ("q", "q"))


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic"])
def test_a_step_is_learned(objective):
    """Both sides hold 2,500 rows: the mean of either is known to some 0.05 (log-odds), 4 of it."""
    task = step_task(5000, objective=objective)
    margin = train(task, QUICK).margin(task.X)
    for side in (1.0, -1.0):
        assert margin[task.X[:, 0] * side > 0.1].mean() == pytest.approx(side, abs=0.2)


def test_missing_values_and_categories_are_split_on():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 4, 4000), rng.normal(size=4000)]).astype(np.float32)
    X[rng.random(4000) < 0.3, 1] = np.nan
    y = np.isin(X[:, 0], (0, 2)) + 2.0 * np.isnan(X[:, 1])
    model = train(BoostTask(X, y, "reg:squarederror", ("c", "q")), replace(QUICK, reg_lambda=0.0))
    np.testing.assert_allclose(model.margin(X), y, atol=0.05)


def test_a_category_never_seen_is_taken():
    X = np.tile(np.arange(3, dtype=np.float32), 100)[:, None]
    model = train(BoostTask(X, X[:, 0] * 1.0, "reg:squarederror", ("c",)), QUICK)
    assert np.isfinite(model.margin(np.array([[7.0], [np.nan]], np.float32))).all()


def test_the_rounds_follow_the_signal():
    folds = fold_of(np.arange(3000), 3, 0)
    task = step_task()
    noise = replace(task, y=np.random.default_rng(1).normal(size=3000))
    assert train_cross_fitted(task, folds, QUICK).rounds > 5
    assert train_cross_fitted(noise, folds, QUICK).rounds <= 3


def test_no_round_is_the_mean():
    task = step_task()
    folds = fold_of(np.arange(3000), 3, 0)
    constant = train_cross_fitted(replace(task, y=np.full(3000, 2.5)), folds, QUICK)
    np.testing.assert_allclose(constant.margin(task.X), 2.5, rtol=1e-6)


def test_one_fold_alone_trains_all_rounds():
    task = step_task(500)
    assert train_cross_fitted(task, np.zeros(500, int), QUICK).rounds == QUICK.max_rounds


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic"])
def test_a_base_margin_is_added_to(objective):
    """The trees learn what the base lacks, and the base is not part of the model."""
    task = step_task(5000, objective=objective)
    base = np.where(task.X[:, 0] > 0, 1.0, -1.0)
    on_top = train(replace(task, base_margin=base, intercept=0.0), QUICK)
    assert (
        np.abs(on_top.margin(task.X)).mean()
        < 0.25 * np.abs(train(task, QUICK).margin(task.X)).mean()
    )
    whole = on_top.margin(task.X, base_margin=base)
    np.testing.assert_allclose(whole, base + on_top.margin(task.X), atol=1e-5)


def test_the_intercept_is_the_models_before_its_first_tree():
    task = replace(step_task(), intercept=0.7, base_margin=np.zeros(3000))
    none = train(task, HARDLY)
    np.testing.assert_allclose(none.margin(task.X), 0.7, rtol=1e-6)
    logistic = replace(step_task(objective="binary:logistic"), intercept=-4.0)
    none = train(logistic, HARDLY)
    np.testing.assert_allclose(none.margin(task.X), -4.0, rtol=1e-5)


def test_rows_of_a_task_keep_all_their_columns_together():
    n = np.arange(6.0)
    task = BoostTask(n[:, None].astype(np.float32), n, "reg:squarederror", ("q",), n, n)
    part = task.rows(n > 3)
    for column in (part.X[:, 0], part.y, part.weight, part.base_margin):
        assert column.tolist() == [4, 5]


@pytest.mark.parametrize("rounds", [1, 10])
def test_a_model_saved_and_loaded_is_the_same(tmp_path, rounds):
    task = step_task(500)
    model = train(task, replace(QUICK, max_rounds=rounds))
    model.save(tmp_path / "a.ubj")
    again = BoostedModel.load(tmp_path / "a.ubj", task.types)
    np.testing.assert_array_equal(again.margin(task.X), model.margin(task.X))
    assert again.rounds == rounds
    assert isinstance(xgb.Booster(model_file=tmp_path / "a.ubj"), xgb.Booster)
