"""Intervals for single effects from fits on half of the groups."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from simulated_logs import QUICK

from uplift import LEARNERS, BoostParams, InputError, SLearner, TLearner
from uplift.half_sample import half_sample_intervals

GRID = np.column_stack([np.linspace(-0.9, 0.9, 12), np.zeros(12)])


def simulate(n, seed=0, rows_per_user=1):
    """A linear effect of a feature; users share their feature, arm and half of the noise."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n // rows_per_user), rows_per_user)
    X = np.column_stack([rng.uniform(-1, 1, user[-1] + 1)[user], rng.uniform(-1, 1, n)])
    arm = rng.integers(0, 2, user[-1] + 1)[user]
    noise = np.sqrt(0.5) * (rng.normal(size=user[-1] + 1)[user] + rng.normal(size=n))
    return X, X[:, 1] + arm * (1 + 0.5 * X[:, 0]) + noise, arm, user


def intervals(learner, data, X_new=GRID, **options):
    X, y, arm, user = data
    given = {"propensity": np.full(len(y), 0.5), "groups": user}
    return half_sample_intervals(learner, X, y, arm, X_new, **{**given, **options})


def test_the_interval_is_about_the_fit_on_all_rows():
    X, y, arm, user = data = simulate(600)
    lower, upper = intervals(SLearner(QUICK), data, draws=4)
    fitted = SLearner(QUICK).fit(X, y, arm, groups=user).predict(GRID)
    assert lower.shape == upper.shape == (12, 1)
    np.testing.assert_allclose((lower + upper) / 2, fitted, atol=1e-9)
    assert (lower < upper).all()


def test_the_seed_decides_and_the_learner_is_left_alone():
    data, learner = simulate(400), SLearner(QUICK)
    a, b, c = (intervals(learner, data, draws=3, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert not hasattr(learner, "boosters_")


def test_frames_and_weights_are_taken():
    X, y, arm, user = simulate(400)
    weight = np.linspace(0.5, 1.5, 400)
    frames = [pd.DataFrame(values, columns=["a", "b"]) for values in (X, GRID)]
    arrays = intervals(SLearner(QUICK), (X, y, arm, user), draws=2, sample_weight=weight)
    framed = intervals(
        SLearner(QUICK), (frames[0], y, arm, user), frames[1], draws=2, sample_weight=weight
    )
    np.testing.assert_allclose(arrays, framed)


def test_the_width_is_that_of_a_difference_of_means_by_user():
    """Without features tau is the difference of two means of 250 users, of 8 rows each.

    A user's mean has variance 1/2 (shared) + 1/8 (1/2 of the rows' noise, 1/3 of x_1's), so the
    estimate a standard error of sqrt(2 x 0.60 / 250); the effect's own spread adds 1/12 / 250.
    Of 40 draws a standard deviation is known to 1 / sqrt(78) = 11 %, of rows alike it would be
    less than half as large.
    """
    _, y, arm, user = simulate(4000, rows_per_user=8)
    flat = np.zeros((4000, 1))
    lower, upper = intervals(TLearner(QUICK), (flat, y, arm, user), flat[:1], draws=40)
    error = (upper - lower)[0, 0] / 2 / student.ppf(0.975, 39)
    expected = np.sqrt(2 * (0.5 + (0.5 + 1 / 3) / 8) / 250 + 1 / 12 / 250)
    assert abs(error / expected - 1) < 0.4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"draws": 1}, "draws is 1"),
        ({"groups": np.arange(400) % 3}, "3 groups"),
        ({"groups": np.arange(5)}, "groups has shape"),
    ],
)
def test_bad_input_is_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        intervals(SLearner(QUICK), simulate(400), **options)


def test_a_half_without_an_arm_is_refused():
    X, y, _, user = simulate(400)
    arm = (np.arange(400) == 0).astype(int)
    with pytest.raises(InputError, match="treatment holds the arms"):
        intervals(SLearner(QUICK), (X, y, arm, user), draws=10)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rows_per_user"), [("t", 1), ("s", 1), ("t", 4)])
def test_the_intervals_cover_the_expectation_of_the_estimate(name, rows_per_user):
    """0.95 within 4 standard errors, over 12 points and 30 trials.

    The points of a trial share their data: a trial's share of covered points has a standard
    deviation of about 0.1 (measured), the mean of 30 one of 0.018. The expectation itself is the
    mean of the 30 estimates.
    """
    params = BoostParams(60, 0.2, 3, 5.0, 1.0, patience=5, n_threads=1)
    drawn = []
    for seed in range(30):
        data = simulate(2000, seed, rows_per_user)
        drawn.append(intervals(LEARNERS[name](params), data, seed=seed))
    lower, upper = np.array(drawn)[..., 0].swapaxes(0, 1)
    expectation = (lower + upper).mean(axis=0) / 2
    covered = ((lower < expectation) & (expectation < upper)).mean()
    assert abs(covered - 0.95) < 4 * 0.018
