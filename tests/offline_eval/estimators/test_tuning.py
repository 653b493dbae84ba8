"""Limits chosen on a log: against the formula by hand, and against the mean squared error."""

from dataclasses import replace

import numpy as np
import pytest
from logged_worlds import TRUTH, world

from offline_eval.estimators import ESTIMATORS, Decisions, Estimator, Tuned, weights
from offline_eval.estimators.tuning import LIMITS, by_mse, by_slope, estimated_mse
from uplift.clusters import ratio_estimate

CLIPPED = Estimator("clipped_ips", weights.clipped)


def heavy(rng: np.random.Generator, n: int = 2000) -> Decisions:
    """Rare actions: a weight of 400 in one row of 800, whose rewards differ little."""
    rare = rng.random(n) < 1 / 800
    target, propensity = np.where(rare, 0.5, 0.5), np.where(rare, 1 / 800, 0.9)
    reward = 1.0 + rng.normal(0, 0.1, n)
    return Decisions(reward, propensity, target, np.arange(n))


def test_estimated_mse_by_hand() -> None:
    decisions = heavy(np.random.default_rng(0), 500)
    w, r, n = decisions.weight, decisions.reward, 500
    clipped = np.minimum(w, 3.0)
    spread = ratio_estimate(clipped * r, np.ones(n), np.arange(n))
    variance = (spread.upper - spread.value) ** 2 / 1.9647**2  # Student's t, 499 degrees
    bias = abs(np.mean((w - clipped) * r))
    bias += np.sqrt(2 * np.mean(w**2) * np.log(40) / n) + 2 * w.max() * np.log(40) / (3 * n)
    found = estimated_mse(CLIPPED.with_limit(3.0), decisions)
    assert found == pytest.approx(variance + bias**2, rel=1e-3)
    assert estimated_mse(CLIPPED, decisions) == pytest.approx(
        ESTIMATORS["ips"].state(decisions).error ** 2
    )


def test_no_shrinking_where_weights_are_small() -> None:
    decisions = world(np.random.default_rng(0), 300)
    assert by_mse(CLIPPED, decisions) > decisions.weight.max()
    assert by_slope(CLIPPED, decisions) >= 1.0


def test_slope_stops_before_bias_shows() -> None:
    """Rewards of rare actions are ten times as high: to clip them is wrong, and seen."""
    rng = np.random.default_rng(0)
    n = 20_000
    rare = rng.random(n) < 0.02
    propensity, target = np.where(rare, 0.02, 0.98), np.where(rare, 0.5, 0.5)
    decisions = Decisions(np.where(rare, 10.0, 1.0), propensity, target, np.arange(n))
    limit = by_slope(CLIPPED, decisions)
    assert limit >= 30.0
    truth = 0.5 * 10 + 0.5
    estimate = CLIPPED.with_limit(limit).estimate(decisions)
    assert abs(estimate.value - truth) < 4.5 / 1.96 * (estimate.upper - estimate.value)


@pytest.mark.slow
@pytest.mark.parametrize("slope", [False, True])
def test_tuning_pays_where_weights_are_heavy(slope: bool) -> None:
    """Mean squared error over 300 logs: below DR's by more than three standard errors.

    The model is right, so that shrinking costs no bias; rewards are noisy.
    """
    rng, errors = np.random.default_rng(5), []
    tuned = Tuned(Estimator("dros", weights.optimistic, uses_model=True), slope=slope)
    for _ in range(300):
        decisions = heavy(rng)
        reward, model = decisions.reward + rng.normal(0, 10, 2000), np.ones(2000)
        known = replace(decisions, reward=reward, outcome_logged=model, outcome_policy=model)
        values = [tuned.value(known), ESTIMATORS["dr"].value(known)]
        errors.append((np.array(values) - 1.0) ** 2)
    better = np.array(errors) @ [-1.0, 1.0]
    assert better.mean() > 3 * better.std() / np.sqrt(len(better))


def test_a_tuned_estimator_is_its_base_at_the_limit_chosen() -> None:
    decisions = heavy(np.random.default_rng(2))
    tuned = ESTIMATORS["clipped_ips"]
    assert isinstance(tuned, Tuned)
    chosen = tuned.on(decisions)
    assert chosen.limit in LIMITS
    assert tuned.value(decisions) == chosen.value(decisions)
    found, own = tuned.estimate(decisions), chosen.estimate(decisions)
    assert found.value == own.value
    moved = abs(ESTIMATORS["ips"].value(decisions) - found.value)
    assert own.lower - found.lower == pytest.approx(moved)
    assert found.upper - own.upper == pytest.approx(moved)
    assert (tuned.name, tuned.uses_model) == ("clipped_ips", False)


def test_truth_of_the_world_is_what_its_tests_say() -> None:
    big = world(np.random.default_rng(0), 20_000)
    estimate = ESTIMATORS["dr"].estimate(big)
    assert abs(estimate.value - TRUTH) < 4.5 / 1.96 * (estimate.upper - estimate.value)
