"""What learners find on trials with known truth; bounds are 4 standard errors where not said."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_logs import QUICK
from trials import SHAPED, TYPES, fit, simulate

from uplift import LEARNERS
from uplift.learners.training import Training


def standard_error(name, y, n):
    """Standard error of the mean effect that a learner finds on n rows of two equal arms.

    A difference of two means of n / 2 rows of variance 1/4: ``1 / sqrt(n)``. Class transformation
    averages ``2 z - 1`` of a binary outcome, +-1, and so has the same; of another outcome it
    averages ``+- 2 y``, which takes all of y, not its variance: ``2 sqrt(E[y^2] / n)``.
    """
    binary = np.isin(y, (0, 1)).all()
    return (2 * np.sqrt((y**2).mean()) if name == "class_transform" and not binary else 1) / n**0.5


def check_mean(name, found, truth, error):
    """S shrinks what it splits late: up to a fifth of the effect with these few rounds."""
    least = 0.8 * truth if name == "s" else truth
    assert least - 4 * error < found < truth + 4 * error


STEPS = [{"n": 20_000}, {"n": 20_000, "binary": False}, {"n": 40_000, "n_arms": 3}]


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("options", STEPS, ids=["binary", "continuous", "three arms"])
def test_a_step_in_the_effect_is_found(name, new, options):
    """Correlation with the truth above 0.9 for the strongest arm.

    The truth has variance 0.15^2 = 0.0225. A side of the step holds 5,000 rows an arm, its effect
    is known to about 0.01; correlation 0.9 allows an error variance of 0.0053, a deviation of
    0.07, that is several times what a booster of 20 leaves an arm should add.
    """
    data = simulate(**options)
    X_new, _, _, truth = simulate(seed=1, n=5000, n_arms=options.get("n_arms", 1))
    uplift = fit(new(feature_types=TYPES), data).predict(X_new)
    assert np.corrcoef(uplift[:, -1], truth[:, -1])[0, 1] > 0.9
    check_mean(name, uplift[:, -1].mean(), 0.15, standard_error(name, data[1], 20_000))


@pytest.mark.parametrize("binary", [True, False])
def test_a_constant_effect_has_the_right_mean(name, new, binary):
    data = simulate(20_000, binary=binary, step=False, effect=0.2)
    uplift = fit(new(feature_types=TYPES), data).predict(data[0])
    check_mean(name, uplift.mean(), 0.2, standard_error(name, data[1], 20_000))


@pytest.mark.parametrize("n_arms", [1, 3])
def test_a_binary_outcome_means_probabilities(new, n_arms):
    """Between 0 and 1, and in the mean the arm's rate."""
    data = simulate(n_arms=n_arms)
    outcome = fit(new(), data).predict_outcome(data[0])
    assert outcome.min() >= 0
    assert outcome.max() <= 1
    for a in range(n_arms + 1):
        y = data[1][data[2] == a]
        assert abs(outcome[:, a].mean() - y.mean()) < 4 * np.sqrt(0.25 / len(y))


def test_where_features_tell_nothing_the_uplift_is_the_mean_effect(name, new):
    """One constant, of the size of the effect, though the outcome is far from 0.

    Known propensities, and a standard deviation of 1/2: see `standard_error`. For class
    transformation it is that of all of y.
    """
    rng = np.random.default_rng(0)
    arm = rng.integers(0, 2, 4000)
    y = 10 + 0.3 * arm + rng.normal(0, 0.5, 4000)
    X = np.ones((4000, 1))
    uplift = new().fit(X, y, arm, propensity=np.full(4000, 0.5)).predict(X)
    assert np.ptp(uplift) == 0
    check_mean(name, uplift[0, 0], 0.3, standard_error(name, y, 4000))


def confounded(n=20_000, seed=0):
    """Users who buy anyhow are treated with probability 0.8, others 0.2; the effect is 0.1.

    The difference of the arms' means is 0.1 + 0.3 (0.8 - 0.2) = 0.28.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    eager = X[:, 0] > 0
    chance = np.where(eager, 0.8, 0.2)
    arm = (rng.random(n) < chance).astype(int)
    y = (rng.random(n) < 0.2 + 0.3 * eager + 0.1 * arm).astype(float)
    return X, y, arm, np.column_stack([1 - chance, chance])


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("known", [True, False])
def test_arms_that_were_given_by_the_features_do_not_bias(name, new, known):
    """A row weighs ``1 / p``: ``sqrt(E[1/4 / e + 1/4 / (1 - e)] / n) = sqrt(25 / 16 / n)``.

    Class transformation averages +-1 with weights 1 / p of mean 2 and mean square 6.25: the same.
    """
    X, y, arm, chance = confounded()
    uplift = new().fit(X, y, arm, propensity=chance if known else None).predict(X)
    check_mean(name, uplift.mean(), 0.1, 1.25 / np.sqrt(len(y)))


@pytest.mark.parametrize("known", [True, False])
def test_a_wrong_propensity_shows_where_it_is_used(known):
    """The test above can fail: class transformation, told 1/2, finds what the arms differ by."""
    X, y, arm, chance = confounded()
    given = chance if known else np.full((len(y), 2), 0.5)
    learner = LEARNERS["class_transform"](replace(QUICK, max_rounds=1, learning_rate=0.01))
    mean = learner.fit(X, y, arm, propensity=given).predict(X).mean()
    assert (abs(mean - 0.1) < 5 / np.sqrt(len(y))) == known


def rare_trial(seed, n=600):
    """A trial with 15 % treated, purchases of 4 to 8 %, and effects of 5 and 13 points."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    arm = (rng.random(n) < 0.15).astype(int)
    truth = 0.05 + 0.08 * (X[:, 0] > 0)
    y = (rng.random(n) < 0.04 + 0.04 * (X[:, 1] > 0) + truth * arm).astype(float)
    return X, y, arm, truth


def nonsense(data, fitted):
    """Means that have nothing to do with the trial."""
    X = data.rows.binned.X
    return 0.5 * np.sin(3 * X[:, 0]) + 0.4 * X[:, 1] + 0.3


def errors(name, trials):
    """Return the error of the mean uplift in each trial, its propensity known."""
    learner = LEARNERS[name](replace(QUICK, max_rounds=10, patience=3))
    found = []
    for seed in range(trials):
        X, y, arm, truth = rare_trial(seed)
        given = np.tile([0.85, 0.15], (len(y), 1))
        uplift = learner.fit(X, y, arm, propensity=given).predict(X)
        found.append(uplift.mean() - truth.mean())
    return np.array(found)


def in_standard_errors(found):
    return abs(found.mean()) / (found.std(ddof=1) / np.sqrt(len(found)))


@pytest.mark.slow
@pytest.mark.parametrize("means", ["fitted", "nonsense"])
def test_with_known_propensities_the_mean_of_dr_is_unbiased_whatever_the_outcome_model(
    means, monkeypatch
):
    """Within 4 standard errors over 200 trials, of the simulation itself."""
    if means == "nonsense":
        monkeypatch.setattr(Training, "mean_out_of_fold", nonsense)
    assert in_standard_errors(errors("dr", 200)) < 4


@pytest.mark.slow
def test_the_same_nonsense_biases_x(monkeypatch):
    """The test above has power: X, which trusts its outcome models, is off by many of them."""
    monkeypatch.setattr(Training, "mean_out_of_fold", nonsense)
    assert in_standard_errors(errors("x", 50)) > 10
