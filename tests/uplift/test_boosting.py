from dataclasses import replace

import numpy as np
import pytest
import xgboost as xgb
from scipy.special import expit, logit
from simulated_logs import QUICK

from uplift.binned import BinnedRows
from uplift.boosting import BoostedModel, BoostTask, to_mean, train, train_watched

#: One tree that weighs nothing.
HARDLY = replace(QUICK, learning_rate=1e-9)
OBJECTIVES = ("reg:squarederror", "binary:logistic")


def step(n=3000, seed=0, objective="reg:squarederror", noise=0.5):
    """Features and a task whose margin is 1 where the first is positive, else -1."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)).astype(np.float32)
    mean = np.where(X[:, 0] > 0, 1.0, -1.0)
    binary = objective == "binary:logistic"
    y = (rng.random(n) < expit(mean)).astype(float) if binary else mean + rng.normal(0, noise, n)
    return X, BoostTask(y, objective)


def boost(X, task, params=QUICK, rounds=40, index=None, types=None):
    """Boost a task on the rows of an index, all by default."""
    types = types or ("q",) * X.shape[1]
    index = np.arange(len(X)) if index is None else index
    matrix = BinnedRows(X, types, n_threads=1).matrix("part", index)
    return BoostedModel(train(task, matrix, index, params, rounds), types)


def watch(X, task, params=QUICK):
    """Boost on the even rows, watched on the odd ones."""
    even, odd = np.arange(0, len(X), 2), np.arange(1, len(X), 2)
    rows = BinnedRows(X, ("q",) * X.shape[1], n_threads=1)
    return train_watched(
        task, rows.matrix("even", even), even, rows.matrix("odd", odd), odd, params
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_is_learned(objective):
    """Both sides hold 2,500 rows: the mean of either is known to some 0.05 (log-odds), 4 of it."""
    X, task = step(5000, objective=objective)
    margin = boost(X, task).margin(X)
    for side in (1.0, -1.0):
        assert margin[X[:, 0] * side > 0.1].mean() == pytest.approx(side, abs=0.2)


def test_missing_values_and_categories_are_split_on():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 4, 4000), rng.normal(size=4000)]).astype(np.float32)
    X[rng.random(4000) < 0.3, 1] = np.nan
    y = np.isin(X[:, 0], (0, 2)) + 2.0 * np.isnan(X[:, 1])
    task = BoostTask(y, "reg:squarederror")
    model = boost(X, task, replace(QUICK, reg_lambda=0.0), types=("c", "q"))
    np.testing.assert_allclose(model.margin(X), y, atol=0.05)


def test_a_category_never_seen_is_taken():
    X = np.tile(np.arange(3, dtype=np.float32), 100)[:, None]
    model = boost(X, BoostTask(X[:, 0] * 1.0, "reg:squarederror"), types=("c",))
    assert np.isfinite(model.margin(np.array([[7.0], [np.nan]], np.float32))).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_training_reads_the_rows_of_its_index(objective):
    """Outcome, weight and margin are as long as all rows, and those of other rows play no part."""
    X, task = step(objective=objective)
    index = np.random.default_rng(1).permutation(3000)[:1000]
    others = np.setdiff1d(np.arange(3000), index)
    full = {"y": task.y, "weight": 1.0 + X[:, 1] ** 2, "base_margin": X[:, 1].astype(float)}
    spoilt = {name: v.copy() for name, v in full.items()}
    for values in spoilt.values():
        values[others] = 1.0
    found = [
        boost(X, BoostTask(objective=objective, **v), index=index).booster.save_raw("ubj")
        for v in (full, spoilt)
    ]
    assert found[0] == found[1]
    plain = boost(X, task, index=index).booster.save_raw("ubj")
    assert plain != found[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_matrix_forgets_the_task_before(objective):
    """Weights, margins and labels of one task do not reach the next on the same matrix."""
    X, task = step(objective=objective)
    index = np.arange(3000)
    matrix = BinnedRows(X, ("q", "q"), n_threads=1).matrix("all", index)
    fresh = boost(X, task).booster.save_raw("ubj")
    heavy = replace(task, weight=1.0 + X[:, 1] ** 2, base_margin=X[:, 0] * 1.0, intercept=0.3)
    train(heavy, matrix, index, QUICK, 3)
    assert train(task, matrix, index, QUICK, 40).save_raw("ubj") == fresh


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_base_margin_is_added_to(objective):
    """The trees learn what the base lacks, and the base is not part of the model."""
    X, task = step(5000, objective=objective)
    base = np.where(X[:, 0] > 0, 1.0, -1.0)
    on_top = boost(X, replace(task, base_margin=base, intercept=0.0))
    assert np.abs(on_top.margin(X)).mean() < 0.25 * np.abs(boost(X, task).margin(X)).mean()
    whole = on_top.margin(X, base_margin=base)
    np.testing.assert_allclose(whole, base + on_top.margin(X), atol=1e-5)


@pytest.mark.parametrize(("objective", "start"), [(OBJECTIVES[0], 0.7), (OBJECTIVES[1], -4.0)])
def test_the_intercept_is_the_models_before_its_first_tree(objective, start):
    X, task = step(objective=objective)
    for base in (None, np.zeros(3000), X[:, 0] * 1.0):
        told = replace(task, intercept=start, base_margin=base)
        for rounds, params in ((0, QUICK), (1, HARDLY)):
            np.testing.assert_allclose(boost(X, told, params, rounds).margin(X), start, rtol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_without_an_intercept_no_tree_means_the_weighted_mean_of_the_rows(objective):
    X, task = step(objective=objective)
    weight, index = 1.0 + X[:, 0] ** 2, np.arange(500, 1500)
    model = boost(X, replace(task, weight=weight), rounds=0, index=index)
    mean = np.average(task.y[index], weights=weight[index])
    np.testing.assert_allclose(to_mean(model.margin(X), objective), mean, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_event_that_never_or_always_happens_starts_inside(value):
    X, task = step(300, objective="binary:logistic")
    margin = boost(X, replace(task, y=np.full(300, value)), rounds=0).margin(X)
    np.testing.assert_allclose(margin, logit(abs(value - 1e-6)), rtol=1e-2)


def test_margins_become_means():
    margin = np.array([-800.0, 0.0, 3.0])
    np.testing.assert_array_equal(to_mean(margin, "reg:squarederror"), margin)
    np.testing.assert_allclose(to_mean(margin, "binary:logistic"), [0, 0.5, 1 / (1 + np.exp(-3))])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_watched_losses_are_those_of_the_held_rows(objective):
    """By round, beginning with no tree: recomputed from the booster's first trees."""
    X, task = step(objective=objective)
    booster, losses = watch(X, task)
    odd = np.arange(1, 3000, 2)
    assert len(losses) == booster.num_boosted_rounds() + 1
    for rounds in (0, 1, len(losses) - 1):
        part = booster[:rounds] if rounds else boost(X, task, rounds=0, index=odd - 1).booster
        p = to_mean(BoostedModel(part, ("q", "q")).margin(X[odd]), objective)
        y = task.y[odd]
        if objective == "reg:squarederror":
            expected = np.sqrt(np.mean((y - p) ** 2))
        else:
            expected = -np.mean(np.log(np.where(y == 1, p, 1 - p)))
        assert losses[rounds] == pytest.approx(expected, rel=1e-4)


def test_watching_ends_after_some_rounds_without_improvement():
    X, task = step()
    noise = replace(task, y=np.random.default_rng(1).normal(size=3000))
    for watched in (task, noise):
        _, losses = watch(X, watched)
        assert len(losses) - 1 == min(np.argmin(losses) + QUICK.patience, QUICK.max_rounds)


@pytest.mark.parametrize("rounds", [0, 1, 10])
def test_a_model_saved_and_loaded_is_the_same(tmp_path, rounds):
    X, task = step(500)
    model = boost(X, task, rounds=rounds)
    model.save(tmp_path / "a.ubj")
    again = BoostedModel.load(tmp_path / "a.ubj", model.types)
    np.testing.assert_array_equal(again.margin(X), model.margin(X))
    assert again.rounds == rounds
    assert isinstance(xgb.Booster(model_file=tmp_path / "a.ubj"), xgb.Booster)
