import numpy as np
import pytest

from uplift import arm_scores, effect_scores


def test_scores_by_hand():
    scores = arm_scores(
        np.array([1.0, 0.0]),
        np.array([1, 0]),
        np.array([0.25, 0.5]),
        np.array([[0.2, 0.5], [0.1, 0.3]]),
    )
    np.testing.assert_allclose(scores, [[0.2, 0.5 + 0.5 / 0.25], [0.1 - 0.1 / 0.5, 0.3]])


def test_without_a_model_scores_are_inverse_propensity_weighting():
    y, arm, p = np.array([2.0, 3.0]), np.array([0, 2]), np.array([0.5, 0.1])
    scores = arm_scores(y, arm, p, np.zeros((2, 3)))
    np.testing.assert_allclose(scores, [[4, 0, 0], [0, 0, 30]])


def test_effects_are_differences_to_arm_0_and_leave_the_model_alone():
    outcome = np.array([[0.2, 0.5, 0.9]])
    before = outcome.copy()
    effects = effect_scores(np.array([1.0]), np.array([2]), np.array([0.5]), outcome)
    np.testing.assert_allclose(effects, [[0.3, 0.9 + 0.1 / 0.5 - 0.2]])
    np.testing.assert_array_equal(outcome, before)


@pytest.mark.parametrize("model", ["right", "wrong", "none"])
def test_scores_are_unbiased_whatever_the_model(model):
    """Bound: 4 standard errors of the mean; propensities differ with x, so a naive mean fails."""
    rng = np.random.default_rng(0)
    n = 200_000
    x = rng.random(n)
    chance = np.column_stack([0.2 + 0.5 * x, 0.5 - 0.3 * x, 0.3 - 0.2 * x])
    arm = (rng.random(n)[:, None] > chance.cumsum(axis=1)).sum(axis=1)
    truth = np.column_stack([x, 1 - x, 0.5 + 0 * x])
    y = truth[np.arange(n), arm] + rng.normal(size=n)
    outcome = {"right": truth, "wrong": 3 - 5 * truth, "none": 0 * truth}[model]
    scores = arm_scores(y, arm, chance[np.arange(n), arm], outcome)
    half = x > 0.5
    for rows in (slice(None), half):
        error = (scores - truth)[rows]
        z = error.mean(axis=0) / (error.std(axis=0) / np.sqrt(len(error)))
        assert np.abs(z).max() < 4
    naive = np.array([y[arm == a].mean() for a in range(3)]) - truth.mean(axis=0)
    assert np.abs(naive[0]) > 4 * 1.1 / np.sqrt((arm == 0).sum())
