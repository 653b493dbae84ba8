"""Spend against a budget, and the gain of a request."""

import numpy as np
import pytest
from scipy.stats import t as student

from offline_eval.costs import fieller, gain_per_request, spend_of
from offline_eval.intervals import Ratio, RatioSums
from uplift.clusters import ratio_estimate
from uplift.errors import InputError


def drawn(rng: np.random.Generator, users: int = 200, mean: float = 0.5) -> tuple[np.ndarray, ...]:
    """Gain of 2 a request, both noisy and dependent inside users."""
    cluster = np.repeat(np.arange(users), 1 + rng.poisson(3, users))
    spent = mean + rng.normal(0, 0.4, users)[cluster] + rng.normal(0, 0.3, len(cluster))
    gained = 2 * mean + 0.8 * (spent - mean) + rng.normal(0, 1, users)[cluster]
    return gained, spent, cluster


def test_fieller_by_a_grid_of_tests() -> None:
    gained, spent, cluster = drawn(np.random.default_rng(0), 30)
    found = gain_per_request(gained, spent, cluster)
    grid = np.linspace(found.value - 3, found.value + 3, 20_001)
    sums = np.stack([np.bincount(cluster, c) for c in (gained, spent)])
    residual = sums[0] - grid[:, None] * sums[1]
    z = residual.mean(axis=1) / (residual.std(axis=1, ddof=1) / np.sqrt(30))
    kept = grid[np.abs(z) <= student.ppf(0.975, 29)]
    assert found.lower == pytest.approx(kept.min(), abs=1e-3)
    assert found.upper == pytest.approx(kept.max(), abs=1e-3)


def test_fieller_is_the_influence_interval_where_spend_is_sure() -> None:
    gained, spent, cluster = drawn(np.random.default_rng(1), 5000)
    a, b = gain_per_request(gained, spent, cluster), ratio_estimate(gained, spent, cluster)
    assert a.value == pytest.approx(b.value)
    assert (a.lower, a.upper) == pytest.approx((b.lower, b.upper), rel=5e-3)
    drawn_ends = RatioSums.of((Ratio(gained, spent),), cluster).bootstrap(2000)
    assert drawn_ends.upper - a.value == pytest.approx(a.upper - a.value, rel=0.12)


def test_fieller_where_the_spend_may_be_nothing() -> None:
    rng = np.random.default_rng(2)
    noise = RatioSums.of((Ratio(rng.normal(0, 1, 50), rng.normal(0, 1, 50)),), np.arange(50))
    estimate = fieller(noise)
    assert (estimate.lower, estimate.upper) == (-np.inf, np.inf)
    lonely = RatioSums.of((Ratio(np.ones(3), np.ones(3)),), np.zeros(3, int))
    assert fieller(lonely).upper == np.inf
    with pytest.raises(InputError, match="needs one ratio; the state has 2"):
        fieller(noise - noise)


@pytest.mark.slow
def test_fieller_covers_where_spend_is_noisy() -> None:
    rng, runs = np.random.default_rng(3), 2000
    covered = [
        e.lower <= 2 <= e.upper
        for e in (gain_per_request(*drawn(rng, 40, 0.2)) for _ in range(runs))
    ]
    assert np.mean(covered) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)


def test_probability_of_breaking_the_budget() -> None:
    spent, cluster = drawn(np.random.default_rng(4), 400)[1:]
    mean = ratio_estimate(spent, np.ones(len(spent)), cluster)
    assert spend_of(spent, cluster, mean.value).over == pytest.approx(0.5)
    assert spend_of(spent, cluster, mean.upper).over == pytest.approx(0.025, rel=1e-6)
    assert spend_of(spent, cluster, mean.lower).over == pytest.approx(0.975, rel=1e-6)
    assert (
        spend_of(spent, cluster, mean.upper).over < spend_of(spent, cluster, mean.upper, 400).over
    )


def test_a_sure_spend_is_over_or_not() -> None:
    flat, users = np.full(50, 0.25), np.arange(50)
    assert spend_of(flat, users, 0.25).over == 0.0
    assert spend_of(flat, users, 0.2).over == 1.0
    assert spend_of(flat, np.zeros(50, int), 0.3).over == 0.5  # one user tells nothing
    with pytest.raises(InputError, match="budget is nan"):
        spend_of(flat, users, np.nan)


@pytest.mark.slow
def test_probability_of_breaking_the_budget_is_calibrated() -> None:
    rng, hits, told = np.random.default_rng(5), [], []
    for _ in range(600):
        cluster = np.repeat(np.arange(100), 4)
        spent = 0.5 + rng.normal(0, 0.5, 100)[cluster]
        future = 0.5 + rng.normal(0, 0.5, 100).mean()
        budget = rng.uniform(0.4, 0.6)
        told.append(spend_of(spent, cluster, budget, users=100).over)
        hits.append(future > budget)
    gap = np.array(hits) - np.array(told)
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(600)
    sure = np.array(told) > 0.8
    assert abs(gap[sure].mean()) < 4 * gap[sure].std() / np.sqrt(sure.sum())
