"""Estimators of causalml and econml behind the contract of our learners."""

import subprocess
import sys

import numpy as np
import pytest
from simulated_logs import QUICK, make_log
from sklearn.base import clone
from trials import TYPES, fit, simulate, uniform

from uplift import InputError, UpliftModel
from uplift.adapters import PEERS, CausalMLForest, CausalMLXLearner, EconMLForest

FORESTS = ("causalml_forest", "econml_forest")
FEW_TREES = {"n_estimators": 40}


@pytest.fixture(params=sorted(PEERS))
def new(request):
    """Make a peer of each kind; forests with few trees."""
    options = FEW_TREES if request.param in FORESTS else None
    return lambda **more: PEERS[request.param](QUICK, **{"options": options, **more})


def test_no_peer_is_imported_before_it_is_fitted():
    code = "import sys, uplift.adapters; sys.exit(bool({'causalml', 'econml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_arguments_are_stored_verbatim_and_cloned(new):
    learner = new(feature_types=TYPES, n_folds=4)
    data = simulate(1000)
    copy = clone(fit(learner, data, propensity=uniform(data[2])))
    assert copy.get_params() == learner.get_params()
    assert not hasattr(copy, "peer_")


@pytest.mark.parametrize("n_arms", [1, 3])
def test_a_step_in_the_effect_is_found(new, n_arms):
    """Mean within 4 standard errors of a difference of two binary means; ranks by the truth."""
    data = simulate(8000, n_arms=n_arms)
    learner = fit(new(feature_types=TYPES), data, propensity=uniform(data[2]))
    uplift, truth = learner.predict(data[0]), data[3]
    assert uplift.shape == truth.shape
    assert np.corrcoef(uplift[:, -1], truth[:, -1])[0, 1] > 0.6
    error = np.sqrt(2 * 0.25 / (8000 / (n_arms + 1)))
    np.testing.assert_allclose(uplift.mean(axis=0), truth.mean(axis=0), atol=4 * error)


def test_a_binary_outcome_means_probabilities(new):
    data = simulate()
    learner = fit(new(feature_types=TYPES), data, propensity=uniform(data[2]))
    outcome, uplift = learner.predict_outcome(data[0]), learner.predict(data[0])
    assert outcome.min() >= 0
    assert outcome.max() <= 1
    assert len(np.unique(uplift)) > 20  # of labels there are three differences


@pytest.mark.parametrize("name", sorted(set(PEERS) - {"causalml_forest"}))
def test_a_continuous_outcome_is_learned(name):
    data = simulate(4000, binary=False)
    options = FEW_TREES if name in FORESTS else None
    learner = fit(PEERS[name](QUICK, options=options), data, propensity=uniform(data[2]))
    assert abs(learner.predict(data[0]).mean() - 0.15) < 4 * np.sqrt(2 * 0.26 / 2000)


def test_missing_and_unseen_values_are_predicted(new):
    data = simulate()
    learner = fit(new(feature_types=TYPES), data, propensity=uniform(data[2]))
    assert np.isfinite(learner.predict([[np.nan, np.nan, np.nan], [1e30, -1e30, 99.0]])).all()


def test_the_same_seed_gives_the_same_numbers(new):
    data = simulate(1000)
    a, b = (fit(new(), data, propensity=uniform(data[2])).predict(data[0]) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_propensities_are_estimated_where_none_are_given(new):
    data = simulate(4000)
    uplift = fit(new(), data).predict(data[0])
    assert abs(uplift.mean() - 0.15) < 4 * np.sqrt(2 * 0.25 / 2000)


@pytest.mark.parametrize("name", ["causalml_forest", "econml_dr", "econml_forest"])
def test_propensities_remove_confounding(name):
    """Arm 1 is likelier where outcomes are high, by a feature that the learner does not see.

    The naive difference of means is 0.3 x 0.6 = 0.18 too high; 4 standard errors are 0.07.
    """
    rng = np.random.default_rng(0)
    n = 8000
    hidden = rng.random(n) < 0.5
    p = np.where(hidden, 0.8, 0.2)
    arm = (rng.random(n) < p).astype(int)
    y = (rng.random(n) < 0.2 + 0.3 * hidden + 0.1 * arm).astype(float)
    options = FEW_TREES if name in FORESTS else None
    learner = PEERS[name](QUICK, options=options)
    X = rng.normal(size=(n, 2))
    uplift = learner.fit(X, y, arm, propensity=np.where(arm, p, 1 - p)).predict(X)
    assert abs(uplift.mean() - 0.1) < 0.07


@pytest.mark.parametrize("name", sorted(set(PEERS) - {"causalml_x"}))
def test_a_weight_of_zero_is_no_row_for_the_effect(name):
    """As for our own learners: rows of weight 0 tell of a huge effect, the rest of none."""
    X, y, arm, _ = simulate(4000, effect=0.0)
    n = len(X)
    lie = np.r_[y, np.repeat([0.0, 1.0], n // 2)], np.r_[arm, np.repeat([0, 1], n // 2)]
    options = FEW_TREES if name in FORESTS else None
    learner = PEERS[name](QUICK, options=options).fit(
        np.r_[X, X],
        *lie,
        propensity=np.full(2 * n, 0.5),
        sample_weight=np.repeat([1.0, 0.0], n),
    )
    assert abs(learner.predict(X).mean()) < 4 * np.sqrt(2 * 0.25 / (n / 2))


def test_out_of_fold_has_not_seen_the_user(new):
    """Noise by user that a feature identifies: known users are overfitted, held-out ones not."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(300), 10)
    X, arm = rng.normal(size=300)[user][:, None], np.tile([0, 1], 1500)
    noise = rng.integers(0, 2, 300)[user]
    y = np.where(arm == 1, noise, 1 - noise).astype(float)
    found = new().fit_out_of_fold(X, y, arm, propensity=np.full(3000, 0.5), groups=user)
    again = new().fit(X, y, arm, propensity=np.full(3000, 0.5), groups=user)
    effect = 2.0 * noise - 1
    assert found.uplift.shape == (3000, 1)
    assert found.outcome.shape == (3000, 2)
    assert abs(np.corrcoef(found.uplift[:, 0], effect)[0, 1]) < 4 / np.sqrt(300)
    assert np.corrcoef(again.predict(X)[:, 0], effect)[0, 1] > 4 / np.sqrt(300)


def test_copies_for_many_outcomes_are_those_of_fit(new):
    data = simulate(1000)
    X, y, arm, _ = data
    many = new().fit_many(X, np.column_stack([1 - y, y]), arm, propensity=uniform(data[2]))
    np.testing.assert_array_equal(
        many[1].predict(X), fit(new(), data, propensity=uniform(data[2])).predict(X)
    )


def test_what_a_peer_has_no_place_for_is_refused():
    X, y, arm, _ = simulate(500, binary=False)
    with pytest.raises(InputError, match="takes binary outcomes only"):
        CausalMLForest(QUICK).fit(X, y, arm)
    with pytest.raises(InputError, match="causalml's X-learner takes none"):
        CausalMLXLearner(QUICK).fit(X, y, arm, sample_weight=np.ones(500))
    with pytest.raises(InputError, match=r"options do not fit CausalForestDML: .*n_trees"):
        EconMLForest(QUICK, options={"n_trees": 3}).fit(X, y, arm)


def test_a_peer_is_not_saved(new, tmp_path):
    model = UpliftModel.fit(make_log(n_users=100), new())
    with pytest.raises(InputError, match="without a pickle"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_arm_without_rows_is_refused(new):
    with pytest.raises(InputError, match="the arms"):
        new().fit(np.ones((10, 1)), np.zeros(10), np.ones(10, int))


def test_one_fold_left_is_refused():
    X, y, arm, _ = simulate(500)
    with pytest.raises(InputError, match="n_folds of at least 3"):
        PEERS["econml_dr"](QUICK, n_folds=2).fit_out_of_fold(X, y, arm)


def test_intervals_of_the_forest_hold_its_estimates():
    data = simulate(2000, n_arms=2)
    forest = fit(EconMLForest(QUICK, options=FEW_TREES), data, propensity=uniform(data[2]))
    lower, upper = forest.predict_interval(data[0])
    assert lower.shape == upper.shape == data[3].shape
    estimate = forest.predict(data[0])
    assert ((lower < estimate) & (estimate < upper)).all()


def test_intervals_by_row_are_refused_where_rows_are_not_the_units():
    X, y, arm, _ = simulate(600)
    users = np.arange(600) // 2
    fitted = [
        EconMLForest(QUICK, options=FEW_TREES).fit(X, y, arm, groups=users),
        *EconMLForest(QUICK, options=FEW_TREES).fit_many(X, np.c_[y, y], arm, groups=users),
    ]
    for forest in fitted:
        with pytest.raises(InputError, match="half_sample_intervals"):
            forest.predict_interval(X)


@pytest.mark.slow
def test_intervals_of_the_forest_cover_a_smooth_effect():
    """Coverage of the truth at 20 points over 30 trials: 0.9 of 600, less 4 standard errors.

    Points of one trial share their data, so a trial counts as one draw: sd of its share of covered
    points about 0.15, of the mean of 30 about 0.03. The forest's bias takes some of the 0.95.
    """
    grid = np.column_stack([np.linspace(-0.8, 0.8, 20), np.zeros(20)])
    covered = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, arm = rng.uniform(-1, 1, (2000, 2)), rng.integers(0, 2, 2000)
        y = X[:, 1] + arm * (1 + 0.5 * X[:, 0]) + rng.normal(size=2000)
        forest = EconMLForest(QUICK, options={"n_estimators": 100})
        lower, upper = forest.fit(X, y, arm, propensity=np.full(2000, 0.5)).predict_interval(grid)
        truth = (1 + 0.5 * grid[:, 0])[:, None]
        covered.append(((lower < truth) & (truth < upper)).mean())
    assert np.mean(covered) > 0.9 - 4 * 0.03
