from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, softmax
from simulated_logs import QUICK

from uplift import InputError, TLearner
from uplift.propensity import arm_propensities, of_logged, pair_share

#: Three rounds, whatever comes: the held-out loss falls through all of them.
STEADY = replace(QUICK, max_rounds=3, learning_rate=0.1)


def training(X, arm, *, propensity=None, weight=None, groups=None, params=QUICK, **options):
    """Rows as a learner sees them; the outcome plays no part."""
    y = np.arange(len(arm)) % 7
    return TLearner(params, **options)._training(X, y, arm, propensity, weight, groups)


def two_arms(n=20_000, seed=0):
    """Arm 1 by a smooth chance between 0.2 and 0.8."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    chance = 0.2 + 0.6 * expit(2 * X[:, 0] + X[:, 1])
    return X, (rng.random(n) < chance).astype(int), np.column_stack([1 - chance, chance])


def three_arms(n=20_000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    chance = softmax(np.column_stack([np.zeros(n), X[:, 0], 0.5 * X[:, 1] - 0.5]), axis=1)
    return X, (rng.random(n)[:, None] > chance.cumsum(axis=1)).sum(axis=1), chance


def refuse(*_):
    raise AssertionError("estimated, though propensities were given")


def test_propensities_of_every_arm_are_used_as_given(monkeypatch):
    monkeypatch.setattr("uplift.propensity._estimated", refuse)
    X, arm, chance = three_arms(300)
    given = chance.clip(0.02, 0.9)
    given /= given.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(arm_propensities(training(X, arm, propensity=given)), given)


def test_of_two_arms_the_other_has_the_rest(monkeypatch):
    monkeypatch.setattr("uplift.propensity._estimated", refuse)
    X, arm, chance = two_arms(300)
    found = arm_propensities(training(X, arm, propensity=of_logged(chance, arm)))
    np.testing.assert_allclose(found, chance, rtol=1e-12)


def test_of_several_arms_the_others_share_the_rest_as_estimated():
    X, arm, chance = three_arms(3000)
    logged, rows = of_logged(chance, arm), np.arange(3000)
    estimated = arm_propensities(training(X, arm))
    found = arm_propensities(training(X, arm, propensity=logged, clip=1e-9))
    np.testing.assert_array_equal(found[rows, arm], logged)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    one, other = (arm + 1) % 3, (arm + 2) % 3
    ratio = found[rows, one] / found[rows, other]
    np.testing.assert_allclose(ratio, estimated[rows, one] / estimated[rows, other])


@pytest.mark.parametrize("simulated", [two_arms, three_arms])
def test_estimated_propensities_are_calibrated(simulated):
    """In each tenth by estimate the arm is as frequent as estimated, within 4 standard errors.

    And they are near the truth: correlation above 0.95 for each arm.
    """
    X, arm, chance = simulated()
    found = arm_propensities(training(X, arm))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    for a in range(chance.shape[1]):
        assert np.corrcoef(found[:, a], chance[:, a])[0, 1] > 0.95
        for tenth in np.array_split(np.argsort(found[:, a]), 10):
            p = found[tenth, a].mean()
            assert abs((arm[tenth] == a).mean() - p) < 4 * np.sqrt(p * (1 - p) / len(tenth))


def test_calibration_mends_boosters_that_learned_too_little():
    """Three small steps leave margins far too close together; the regression stretches them."""
    X, arm, chance = two_arms()
    found = arm_propensities(training(X, arm, params=STEADY))[:, 1]
    slope = np.polyfit(found, chance[:, 1], 1)[0]
    assert 0.9 < slope < 1.1


def test_of_a_trial_without_signal_the_other_folds_shares_come_out():
    """No round improves on none: each fold gets the arm's share of the others, and no more."""
    rng = np.random.default_rng(0)
    X, arm = rng.normal(size=(3000, 2)), rng.integers(0, 3, 3000)
    data = training(X, arm, weight=1.0 + np.arange(3000) % 2)
    found = arm_propensities(data)
    for fold in range(3):
        others = data.rows.folds != fold
        share = np.bincount(arm[others], data.weight[others]) / data.weight[others].sum()
        np.testing.assert_allclose(found[~others] - share, 0, atol=1e-6)


def test_a_rows_own_arm_hardly_moves_its_estimate():
    """Only through the few numbers that are fitted on all folds: by less than 2 / n.

    A model that has seen the row moves it by about 1 over the rows of its leaf.
    """
    X, arm, _ = two_arms(2000)
    other = arm.copy()
    other[11] = 1 - other[11]
    before, after = (arm_propensities(training(X, a, params=STEADY))[11] for a in (arm, other))
    assert np.abs(before - after).max() < 2 / 2000


@pytest.mark.parametrize("clip", [0.01, 0.05])
def test_what_is_clipped_is_counted(clip):
    X, arm, _ = two_arms(300)
    given = np.full(300, 0.5)
    given[:5], given[5:9], given[9] = 1.0, clip / 2, clip
    data = training(X, arm, propensity=given, clip=clip)
    sentence = rf"^9 of 300 rows have a propensity beyond \[{clip}, {1 - clip}\]; they are held"
    with pytest.warns(UserWarning, match=sentence):
        found = arm_propensities(data)
    np.testing.assert_array_equal(of_logged(found, arm), given.clip(clip, 1 - clip))
    assert found.min() == clip
    assert found.max() == 1 - clip


def test_estimates_beyond_are_clipped_too():
    """A feature that tells the arm: no overlap, and the warning says so."""
    X, _, _ = two_arms(3000)
    arm = (X[:, 0] > 0).astype(int)
    with pytest.warns(UserWarning, match=r"of 3000 rows have a propensity beyond") as caught:
        found = arm_propensities(training(X, arm))
    assert int(str(caught[0].message).split()[0]) > 2700
    assert found.min() == pytest.approx(0.01)


def test_rows_of_no_weight_teach_nothing():
    X, arm, _ = two_arms(2000)
    weight, groups = np.ones(2000), np.arange(2000)
    twice = np.r_[arm, 1 - arm]  # as many rows the other way round, of no weight
    alone = arm_propensities(training(X, arm, weight=weight, groups=groups))
    both = training(
        np.r_[X, X], twice, weight=np.r_[weight, 0 * weight], groups=np.r_[groups, groups]
    )
    np.testing.assert_allclose(arm_propensities(both)[:2000], alone, atol=1e-6)


def test_an_arm_that_one_fold_has_to_itself_cannot_be_estimated():
    X, _, _ = two_arms(300)
    arm = (np.arange(300) < 20).astype(int)
    data = training(X, arm, groups=np.arange(300) // 20)
    with pytest.raises(InputError, match="rows of arm 1 fall in one fold, so that its propensity"):
        arm_propensities(data)


def test_the_share_of_a_pair():
    propensity = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(pair_share(propensity, 1), [0.375, 0.5])
    np.testing.assert_allclose(pair_share(propensity, 2), [2 / 7, 8 / 9])
    assert of_logged(propensity, np.array([2, 0])).tolist() == [0.2, 0.1]
