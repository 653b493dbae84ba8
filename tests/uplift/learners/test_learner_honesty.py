"""Nuisances never see the user whom they are used for; rows are binned once."""

from dataclasses import replace

import numpy as np
import pytest
import xgboost as xgb
from simulated_logs import QUICK
from sklearn.base import clone
from trials import SHAPED, TYPES, fit, raw, simulate, uniform

from uplift import LEARNERS, InputError
from uplift.effects import effect_scores
from uplift.learners.training import Training

#: So few and so small steps that the held-out loss falls through all of them.
STEADY = replace(QUICK, max_rounds=3, learning_rate=0.1)
#: Learners with a final stage on top of out-of-fold predictions.
STAGED = ("x", "r", "dr", "logit")


def strong(n_arms=1):
    """A trial whose outcome the features tell well, three rows a user."""
    X, _, arm, _ = simulate(1500, n_arms=n_arms, binary=False)
    rng = np.random.default_rng(1)
    y = 3 * X[:, 0] + (X[:, 0] > 0) * arm + rng.normal(0, 0.1, 1500)
    return X, y, arm, np.arange(1500) // 3


@pytest.fixture
def trainings(monkeypatch):
    """Note the rows of every training: those fitted on, and those held out."""
    seen = []

    def note(module, name, held):
        train = getattr(module, name)

        def noted(task, matrix, index, *rest):
            assert matrix.num_row() == len(index)
            seen.append((task, index, rest[1] if held else None))
            return train(task, matrix, index, *rest)

        monkeypatch.setattr(module, name, noted)

    from uplift import cross_fit

    note(cross_fit, "train", held=False)
    note(cross_fit, "train_watched", held=True)
    return seen


def test_no_training_sees_users_that_it_is_held_out_for(new, trainings):
    X, y, arm, user = strong(n_arms=2)
    new(STEADY, feature_types=TYPES).fit(X, y, arm, groups=user)
    watched = [(fitted, held) for _, fitted, held in trainings if held is not None]
    assert len(watched) >= 3
    for fitted, held in watched:
        assert len(held)
        assert not np.intersect1d(user[fitted], user[held]).size


def spied(monkeypatch, method):
    """Note what a method of `Training` is called with and answers."""
    original, seen = getattr(Training, method), []

    def noted(self, *arguments):
        answer = original(self, *arguments)
        seen.append((self, arguments, answer))
        return answer

    monkeypatch.setattr(Training, method, noted)
    return seen


@pytest.mark.parametrize("staged", STAGED)
def test_a_users_outcomes_do_not_move_the_nuisances_of_that_user(staged, monkeypatch):
    """Not by a bit, where the number of rounds stays; those of other folds' users do move."""
    X, y, arm, user = strong()
    margins = spied(monkeypatch, "out_of_fold")
    learner = LEARNERS[staged](STEADY, feature_types=TYPES)
    found = []
    for outcome in (y, np.where(user == 7, -y, y)):
        margins.clear()
        learner.fit(X, outcome, arm, propensity=uniform(arm), groups=user)
        assert {boosted.rounds for _, (boosted,), _ in margins} == {STEADY.max_rounds}
        found.append(np.array([margin for *_, margin in margins]))
    assert found[0].size
    before, after = found
    np.testing.assert_array_equal(before[:, user == 7], after[:, user == 7])
    assert (before != after).any()


@pytest.mark.parametrize("name", SHAPED)
def test_a_users_outcomes_do_not_move_what_is_predicted_out_of_fold(new):
    """Not by a bit, nor by way of the nuisances behind the other users' pseudo-outcomes.

    (But the proportional learner's one effect, a constant of all rows.)
    """
    X, y, arm, user = strong()
    found = [
        new(STEADY, feature_types=TYPES).fit_out_of_fold(
            X, outcome, arm, propensity=uniform(arm), groups=user
        )
        for outcome in (y, np.where(user == 7, -y, y))
    ]
    before, after = found
    np.testing.assert_array_equal(before.outcome[user == 7], after.outcome[user == 7])
    np.testing.assert_array_equal(before.uplift[user == 7], after.uplift[user == 7])
    assert (before.outcome != after.outcome).any()


def test_predicting_out_of_fold_changes_nothing_in_the_fit(new, data):
    groups = np.arange(len(data[0])) // 2
    learner, other = new(feature_types=TYPES), new(feature_types=TYPES)
    fit(learner, data, groups=groups)
    found = other.fit_out_of_fold(*data[:3], groups=groups)
    assert raw(learner) == raw(other)
    assert learner.constants_ == other.constants_
    assert found.outcome.shape == (len(data[0]), learner.n_arms_ + 1)
    assert found.uplift.shape == (len(data[0]), learner.n_arms_)
    assert np.isfinite(found.outcome).all()
    assert np.isfinite(found.uplift).all()


@pytest.mark.parametrize("plain", ["s", "t", "class_transform"])
def test_without_nuisances_out_of_fold_costs_no_training(plain, trainings):
    X, y, arm, user = strong()
    LEARNERS[plain](STEADY).fit(X, y, arm, groups=user)
    count = len(trainings)
    LEARNERS[plain](STEADY).fit_out_of_fold(X, y, arm, groups=user)
    assert len(trainings) == 2 * count


@pytest.mark.parametrize("staged", STAGED)
def test_nuisances_need_a_third_fold_to_be_out_of_fold_too(staged):
    X, y, arm, user = strong()
    with pytest.raises(InputError, match=r"n_folds is 2.* predicts out of fold needs 3"):
        LEARNERS[staged](STEADY, n_folds=2).fit_out_of_fold(X, y, arm, groups=user)


def test_out_of_fold_predictions_do_not_know_the_noise_of_their_rows(name, new):
    """A feature names the user, so that a model can learn each user's noise by heart.

    In-sample predictions of the outcome correlate with it; out-of-fold ones do not, within 4
    standard errors, 1 / sqrt(users). Where the model learned nothing both are constants by fold.
    """
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(400), 5)
    X, arm = rng.normal(size=400)[user][:, None], rng.integers(0, 2, 2000)
    noise = rng.normal(size=400)
    learner = new(replace(QUICK, max_depth=6, min_child_weight=1.0, reg_lambda=0.0))
    outcome = learner.fit_out_of_fold(X, noise[user], arm, groups=user).outcome[:, 0]
    mean = np.bincount(user, outcome) / 5
    assert mean.std() == 0 or abs(np.corrcoef(mean, noise)[0, 1]) < 4 / np.sqrt(400)


#: Pseudo-outcomes are held in float32: a few roundings of 2^-24 each.
FLOAT32 = 3e-7


def mean_by_call(monkeypatch):
    return spied(monkeypatch, "mean_out_of_fold"), spied(monkeypatch, "boost")


def effects_of(boosts):
    """Return the tasks of the final stage, in order."""
    return [task for data, (_, task, *_), _ in boosts if task.y is not data.y]


def test_dr_boosts_the_doubly_robust_scores_of_out_of_fold_means(monkeypatch):
    means, boosts = mean_by_call(monkeypatch)
    X, y, arm, user = strong(n_arms=2)
    given = uniform(arm)
    LEARNERS["dr"](STEADY).fit(X, y, arm, propensity=given, groups=user)
    outcome = np.column_stack([mean for *_, mean in means])
    scores = effect_scores(y, arm, given[:, 0], outcome)
    for task, score in zip(effects_of(boosts), scores.T, strict=True):
        np.testing.assert_array_equal(task.y, score.astype(np.float32))
        assert task.weight is None


def test_r_boosts_residuals_of_out_of_fold_means(monkeypatch):
    means, boosts = mean_by_call(monkeypatch)
    X, y, arm, user = strong(n_arms=2)
    weight = 1.0 + (user % 3)
    given = np.tile([0.5, 0.3, 0.2], (len(y), 1))
    LEARNERS["r"](STEADY).fit(X, y, arm, propensity=given, groups=user, sample_weight=weight)
    for a, (task, (*_, mean)) in enumerate(zip(effects_of(boosts), means, strict=True), 1):
        left = (arm == a) - given[:, a] / (given[:, 0] + given[:, a])
        np.testing.assert_allclose(task.y, (y - mean) / left, rtol=FLOAT32)
        np.testing.assert_allclose(task.weight, weight * left**2, rtol=FLOAT32)


def test_x_boosts_what_the_other_arms_mean_leaves(monkeypatch):
    means, boosts = mean_by_call(monkeypatch)
    X, y, arm, user = strong()
    learner = LEARNERS["x"](STEADY).fit(X, y, arm, groups=user)
    control, treated = (mean for *_, mean in means)
    on_treated, on_untreated = effects_of(boosts)
    np.testing.assert_array_equal(on_treated.y, (y - control).astype(np.float32))
    np.testing.assert_array_equal(on_untreated.y, (treated - y).astype(np.float32))
    assert learner.constants_ == {"share_1": (arm == 1).mean()}


def test_logit_boosts_the_arm_on_top_of_out_of_fold_margins(monkeypatch):
    margins, boosts = spied(monkeypatch, "out_of_fold"), spied(monkeypatch, "boost")
    X, y, arm, _ = simulate(1000, n_arms=2)
    LEARNERS["logit"](QUICK).fit(X, y, arm)
    tasks = [task for _, (_, task, *_), _ in boosts if task.base_margin is not None]
    assert len(tasks) == 2
    for task in tasks:
        np.testing.assert_array_equal(task.base_margin, margins[0][2])


@pytest.fixture
def matrices(monkeypatch):
    """Note every quantile matrix that is made, by whether it finds its own cuts."""
    made, original = [], xgb.QuantileDMatrix

    def noted(*arguments, ref=None, **options):
        made.append(ref is None)
        return original(*arguments, ref=ref, **options)

    monkeypatch.setattr("uplift.binned.xgb.QuantileDMatrix", noted)
    return made


def test_cuts_are_found_once(new, data, matrices):
    fit(new(feature_types=TYPES), data)
    assert sum(matrices) == 1


def several(n_arms=1):
    """A trial with a binary, a rare and a continuous outcome."""
    X, y, arm, _ = simulate(1000, n_arms=n_arms)
    rng = np.random.default_rng(1)
    return X, np.column_stack([y, y * (rng.random(1000) < 0.2), y + rng.normal(size=1000)]), arm


@pytest.mark.parametrize("known", [True, False])
def test_outcomes_fitted_together_are_those_fitted_alone(new, known):
    """To the byte, though weights, margins and labels come and go on the matrices they share."""
    X, Y, arm = several(n_arms=2)
    options = {
        "sample_weight": np.random.default_rng(2).random(1000) + 0.5,
        "groups": np.arange(1000) // 2,
        "propensity": uniform(arm) if known else None,
    }
    learner = new(feature_types=TYPES)
    together = learner.fit_many(X, Y, arm, **options)
    assert not hasattr(learner, "boosters_")
    for one, y in zip(together, Y.T, strict=True):
        alone = clone(learner).fit(X, y, arm, **options)
        assert raw(one) == raw(alone)
        assert (one.objective_, one.constants_) == (alone.objective_, alone.constants_)
        np.testing.assert_array_equal(one.predict(X), alone.predict(X))


def test_outcomes_fitted_together_share_their_matrices(new, matrices):
    X, Y, arm = several()
    new().fit(X, Y[:, 0], arm)
    alone = len(matrices)
    matrices.clear()
    new().fit_many(X, Y, arm)
    assert sum(matrices) == 1
    assert len(matrices) <= alone + 3  # rows that one outcome has no tree for, another has


BAD_OUTCOMES = [np.zeros(100), np.zeros((100, 0)), np.zeros((99, 2)), np.full((100, 2), np.nan)]


@pytest.mark.parametrize("Y", BAD_OUTCOMES, ids=["vector", "no column", "short", "NaN"])
def test_outcomes_that_are_no_columns_are_refused(new, Y):
    X, arm = np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 2
    with pytest.raises(InputError, match=r"Y has shape|y has shape|Y holds values"):
        new().fit_many(X, Y, arm)
