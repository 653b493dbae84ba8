import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from offline_eval.feed import simulate
from uplift.calibration import UpliftCalibration, fit_calibration
from uplift.effects import effect_scores
from uplift.errors import InputError
from uplift.learners import LogitLearner

METHODS = ("isotonic", "binned")


def fitted(u, e, cluster=None, method="isotonic", weight=None):
    """Fit one arm; return the calibration and its values at u."""
    cluster = np.arange(len(u)) if cluster is None else cluster
    found = fit_calibration(u[:, None], e[:, None], cluster, method=method, weight=weight)
    return found, found.apply(u[:, None])[:, 0]


def dense(n=4000, seed=0, slope=0.5):
    """Effect scores with noise of 1 about slope x prediction; clusters of 2 rows."""
    rng = np.random.default_rng(seed)
    u = rng.normal(0, 1, n)
    return u, slope * u + rng.normal(0, 1, n), np.arange(n) // 2


def rare(n, seed, rate=2e-3):
    """A rare outcome with 5 rows a user; predictions know part of the truth, 3 times too wide.

    P(y | arm 0) = p0 lognormal, uplift p0 (exp(v) - 1); half of the rows get the arm. Returns
    prediction, effect score, cluster, true uplift.
    """
    rng = np.random.default_rng(seed)
    z, v = rng.normal(size=n), rng.normal(0.4, 0.5, n) * (rng.random(n) < 0.4)
    p0 = rate * np.exp(1.2 * z - 0.72)
    truth = p0 * np.expm1(v)
    seen, guess = z + 0.5 * rng.normal(size=n), v + 0.5 * rng.normal(size=n)
    prediction = 3 * rate * np.exp(0.96 * seen - 0.5) * np.expm1(0.4 * guess)
    arm = rng.random(n) < 0.5
    y = rng.random(n) < np.where(arm, p0 + truth, p0)
    return prediction, np.where(arm, 2.0, -2.0) * y, np.arange(n) // 5, truth


def best(prediction, truth):
    """What isotonic regression on the truth makes of the predictions."""
    order = np.argsort(prediction, kind="stable")
    values = np.empty(len(truth))
    values[order] = isotonic_regression(truth[order])
    return values


rows = st.lists(
    st.tuples(st.integers(-6, 6), st.integers(-3, 3), st.integers(0, 9), st.integers(0, 3)),
    min_size=1,
    max_size=40,
).filter(lambda rows: any(row[3] for row in rows))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(rows)
def test_never_decreases_and_keeps_the_mean_effect(method, rows):
    u, e, cluster, weight = (np.array(v) for v in zip(*rows, strict=True))
    u, e, weight = u / 7, e / 3, weight / 2
    found, values = fitted(u, e, cluster, method, weight)
    assert np.average(values, weights=weight) == pytest.approx(
        np.average(e, weights=weight), abs=1e-9
    )
    grid = found.apply(np.linspace(-5, 5, 401)[:, None])[:, 0]
    assert (np.diff(grid) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("slope", [0.5, 0.0, -0.5])
def test_the_ranking_stays_strict_even_where_it_is_wrong(method, slope):
    u, e, cluster = dense(slope=slope)
    found, values = fitted(u, e, cluster, method)
    assert (np.diff(values[np.argsort(u)]) > 0).all()
    assert (np.diff(found.apply(np.linspace(-50, 50, 1001)[:, None])[:, 0]) > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_finds_a_known_shape(method):
    """A kink at 0; 100,000 rows with noise of 1 in at most 100 blocks: each knows its mean to

    1 / sqrt(1000) = 0.03, and a block is 0.06 wide or more; the bound is 4 standard errors.
    """
    rng = np.random.default_rng(0)
    u = rng.uniform(-3, 3, 100_000)
    truth = np.maximum(u, 0.2 * u)
    _, values = fitted(u, truth + rng.normal(size=len(u)), method=method)
    assert np.abs(values - truth).max() < 0.16
    assert np.sqrt(np.mean((values - truth) ** 2)) < 0.04


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("factor", "shift"), [(3.0, 0.0), (1e-3, 0.2), (1e4, -5.0)])
def test_scale_and_place_of_the_predictions_mean_nothing(method, factor, shift):
    u, e, cluster = dense()
    moved = fitted(factor * u + shift, e, cluster, method)[1]
    np.testing.assert_allclose(moved, fitted(u, e, cluster, method)[1], atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_rows_and_codes_of_clusters_mean_nothing(method):
    u, e, cluster = dense()
    u = np.round(u, 2)
    order = np.random.default_rng(1).permutation(len(u))
    shuffled = fitted(u[order], e[order], 1 + 3 * cluster[order], method)[1]
    np.testing.assert_allclose(shuffled, fitted(u, e, cluster, method)[1][order], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_weight_2_is_a_row_twice_in_its_cluster(method):
    u, e, cluster = dense(400)
    heavy = np.arange(len(u)) % 3 == 0
    weighed = fitted(u, e, cluster, method, 1.0 + heavy)[0].maps[0]
    twice = [np.r_[v, v[heavy]] for v in (u, e, cluster)]
    # Where blocks are cut depends on squared scores, which two equal rows have half of.
    np.testing.assert_allclose(
        weighed(u).mean(), fitted(*twice, method)[0].maps[0](u).mean(), atol=0.02
    )
    silent = np.where(heavy, 0.0, 1.0)
    left_out = fitted(u[~heavy], e[~heavy], cluster[~heavy], method)[0].maps[0]
    np.testing.assert_allclose(fitted(u, e, cluster, method, silent)[0].maps[0](u), left_out(u))


@pytest.mark.parametrize("method", METHODS)
def test_each_arm_has_its_own_map_and_json_keeps_every_bit(method):
    (u, e, cluster), (v, f, _) = dense(), dense(seed=1, slope=2.0)
    both = fit_calibration(np.column_stack([u, v]), np.column_stack([e, f]), cluster, method=method)
    for arm, (column, effect) in enumerate(((u, e), (v, f))):
        alone = fitted(column, effect, cluster, method)[1]
        np.testing.assert_array_equal(both.apply(np.column_stack([u, v]))[:, arm], alone)
    read = UpliftCalibration.from_json(both.to_json())
    assert read.method == method
    new = np.random.default_rng(2).normal(0, 5, (1000, 2))
    np.testing.assert_array_equal(read.apply(new), both.apply(new))
    json.loads(both.to_json(), parse_constant=pytest.fail)


def test_none_changes_nothing():
    u, e, cluster = dense()
    np.testing.assert_array_equal(fitted(u, e, cluster, "none")[1], u)


@pytest.mark.parametrize("method", METHODS)
def test_what_teaches_nothing_becomes_the_mean(method):
    rng = np.random.default_rng(0)
    e = rng.normal(1, 1, 50)
    np.testing.assert_allclose(fitted(np.full(50, 0.3), e, method=method)[1], e.mean())
    np.testing.assert_allclose(fitted(rng.normal(size=50), np.full(50, 0.1), method=method)[1], 0.1)
    assert fitted(np.array([0.3]), np.array([2.0]), method=method)[1].tolist() == [2.0]
    backwards, one = np.arange(4.0), np.zeros(4, int)
    np.testing.assert_allclose(fitted(backwards, -backwards, one, method)[1], -1.5)


def test_rows_of_one_user_are_one_event():
    """40 copies of each row teach no more than the rows: the same map, though 40 times the rows."""
    u, e, cluster = dense(300)
    copies = fitted(*(np.repeat(v, 40) for v in (u, e, cluster)))[0].maps[0]
    np.testing.assert_allclose(copies(u), fitted(u, e, cluster)[0].maps[0](u), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"uplift": np.full((4, 1), np.nan)}, "uplift holds 4 values that are not finite"),
        ({"effect": np.array([[0.0], [1], [np.inf], [0]])}, "effect holds 1 values"),
        ({"effect": np.zeros((3, 1))}, "shapes differ"),
        ({"cluster": np.arange(3)}, "shapes differ"),
        ({"uplift": np.zeros(4), "effect": np.zeros(4)}, r"expected \(n, arms\)"),
        ({"weight": np.ones(3)}, "weight has shape"),
        ({"weight": np.zeros(4)}, "not all 0"),
        ({"weight": np.array([1.0, -1, 1, 1])}, "at least 0"),
        ({"method": "platt"}, "choose among"),
        (
            {"uplift": np.zeros((0, 1)), "effect": np.zeros((0, 1)), "cluster": np.arange(0)},
            "no rows",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(change, sentence):
    rows = {"uplift": np.zeros((4, 1)), "effect": np.zeros((4, 1)), "cluster": np.arange(4)}
    with pytest.raises(InputError, match=sentence):
        fit_calibration(**rows | change)


def test_other_arms_than_fitted_are_refused():
    calibration = fitted(*dense())[0]
    for shape in ((5, 2), (5,)):
        with pytest.raises(InputError, match=r"expected \(n, 1\)"):
            calibration.apply(np.zeros(shape))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_rare_outcomes_get_the_right_size(method):
    """2 per mille, 500,000 rows, predictions 3 times too wide: about 1,200 events.

    Squared error to the best monotone map, mean of 6 simulations, beside those before, of bare
    isotonic regression, and spread in every one. The ranking is kept, so what the best 10 % gain
    is too.
    """
    errors = []
    for seed in range(6):
        u, e, cluster, truth = rare(500_000, seed)
        goal, (_, after) = best(u, truth), fitted(u, e, cluster, method)
        steps = best(u, e)
        errors.append([np.mean((v - goal) ** 2) / truth.var() for v in (u, steps, after)])
        assert 0.5 < after.std() / goal.std() < 2
        assert len(np.unique(after)) > 0.99 * len(np.unique(u))
        top = [truth[np.argsort(-v, kind="stable")[:50_000]].sum() for v in (u, after)]
        assert top[1] == pytest.approx(top[0], rel=1e-3)
    before, steps, after = np.mean(errors, axis=0)
    print(f"{method}: squared error before {before:.3f}, bare {steps:.3f}, after {after:.3f}")
    assert after < 0.6 * min(before, steps)


@pytest.mark.slow
def test_learners_on_the_feed_get_the_right_size():
    """3 per mille, 80 effective events: out-of-fold predictions, scores with their models."""
    errors = np.mean([feed_errors(simulate(20_000, seed=s, rate=3.0)) for s in (1, 2, 3)], axis=0)
    print("squared error before {:.3f}, after {:.3f}".format(*errors))
    assert errors[1] < 0.5 * errors[0]


def feed_errors(log):
    """Squared error to the best monotone map, before and after."""
    half = log.cluster % 2 == 0
    X = log.frame[[c for c in log.frame if c.startswith("f_")]].to_numpy(np.float32)
    outcome = np.empty((len(log), 2))
    for held in (half, ~half):
        learner = LogitLearner().fit(
            X[~held], log.outcome()[~held], log.arm[~held], groups=log.cluster[~held]
        )
        outcome[held] = learner.predict_outcome(X[held])
    effect = effect_scores(log.outcome(), log.arm, log.propensity, outcome)[:, 0]
    u = outcome[:, 1] - outcome[:, 0]
    truth = log.outcome("true_purchase_10_1") - log.outcome("true_purchase_10_0")
    goal, (_, after) = best(u, truth), fitted(u, effect, log.cluster)
    return [np.mean((v - goal) ** 2) / truth.var() for v in (u, after)]
