import numpy as np
import pytest
from scipy.stats import t as student

from uplift import Estimate
from uplift.clusters import bootstrap, cluster_sums, ratio_estimate


def correlated(rng, n_clusters=60, mean=2.0):
    """Rows that share most of their noise with their cluster; clusters of 1 to 10 rows."""
    size = rng.integers(1, 11, n_clusters)
    cluster = np.repeat(np.arange(n_clusters), size)
    shared = rng.normal(0, 1, n_clusters)[cluster]
    return mean + shared + rng.normal(0, 0.5, len(cluster)), cluster


def test_sums_by_cluster():
    values = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    assert cluster_sums(values, np.array([1, 0, 1])).tolist() == [[2, 20], [4, 40]]


def test_the_mean_of_single_rows_is_students():
    y = np.random.default_rng(0).normal(3, 2, 50)
    estimate = ratio_estimate(y, np.ones(50), np.arange(50))
    half = student.ppf(0.975, 49) * y.std(ddof=1) / np.sqrt(50)
    assert estimate.value == pytest.approx(y.mean())
    assert estimate.upper - estimate.value == pytest.approx(half)
    assert estimate.value - estimate.lower == pytest.approx(half)


def test_a_ratio_by_hand():
    n, d = np.array([1.0, 2.0, 3.0, 5.0]), np.array([2.0, 2.0, 4.0, 2.0])
    estimate = ratio_estimate(n, d, np.array([0, 0, 1, 2]))
    theta = 11 / 10
    residual = np.array([3 - theta * 4, 3 - theta * 4, 5 - theta * 2])
    half = student.ppf(0.975, 2) * np.sqrt(3 / 2 * (residual**2).sum()) / 10
    assert estimate.value == pytest.approx(theta)
    assert estimate.upper - theta == pytest.approx(half)


def test_a_constant_ratio_has_no_width():
    d = np.random.default_rng(0).random(40)
    estimate = ratio_estimate(3 * d, d, np.arange(40) // 4)
    np.testing.assert_allclose([estimate.lower, estimate.value, estimate.upper], 3, rtol=1e-12)


def test_rows_may_be_merged_by_cluster_first():
    """The sums of two shards, a cluster in both, give what the rows give."""
    y, cluster = correlated(np.random.default_rng(0))
    one, sums = np.ones(len(y)), cluster_sums(np.column_stack([y, np.ones(len(y))]), cluster)
    merged = ratio_estimate(sums[:, 0], sums[:, 1], np.arange(len(sums)))
    rows = ratio_estimate(y, one, cluster)
    np.testing.assert_allclose(list(merged.to_dict().values()), list(rows.to_dict().values()))


def test_codes_and_order_of_clusters_mean_nothing():
    y, cluster = correlated(np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(len(y))
    one, recoded = np.ones(len(y)), 1000 - 7 * cluster
    a, b = ratio_estimate(y, one, cluster), ratio_estimate(y[order], one, recoded[order])
    np.testing.assert_allclose(list(a.to_dict().values()), list(b.to_dict().values()))


def test_one_cluster_tells_nothing_of_its_error():
    estimate = ratio_estimate(np.array([1.0, 2.0]), np.ones(2), np.array([3, 3]))
    assert estimate == Estimate(1.5, -np.inf, np.inf)


def test_a_ratio_to_nothing_is_unknown():
    estimate = ratio_estimate(np.ones(3), np.zeros(3), np.arange(3))
    assert np.isnan(estimate.value)
    assert (estimate.lower, estimate.upper) == (-np.inf, np.inf)


def test_clusters_widen_the_interval_of_correlated_rows():
    y, cluster = correlated(np.random.default_rng(0), 400)
    rows, users = (ratio_estimate(y, np.ones(len(y)), c) for c in (np.arange(len(y)), cluster))
    assert users.upper - users.lower > 1.5 * (rows.upper - rows.lower)


def test_estimates_print_and_become_dicts():
    estimate = Estimate(1.0, 0.5, 2.0)
    assert str(estimate) == "1 [0.5, 2]"
    assert estimate.to_dict() == {"value": 1.0, "lower": 0.5, "upper": 2.0}


def means(totals):
    return (totals[0] / totals[1])[None, :]


def test_bootstrap_agrees_with_the_analytic_interval():
    """2,000 draws know the 2.5 % quantile to sqrt(.025 x .975 / 2000) / .058 = 0.06 standard

    deviations, 3 % of the half-width 1.96; the bound is 4 times that.
    """
    y, cluster = correlated(np.random.default_rng(0), 500)
    sums = cluster_sums(np.column_stack([y, np.ones(len(y))]), cluster)
    (lower,), (upper,) = bootstrap(sums, means, 2000, seed=0)
    exact = ratio_estimate(y, np.ones(len(y)), cluster)
    half = exact.upper - exact.value
    assert abs(upper - exact.upper) < 0.12 * half
    assert abs(lower - exact.lower) < 0.12 * half


def test_the_seed_of_a_bootstrap_decides():
    y, cluster = correlated(np.random.default_rng(0))
    sums = cluster_sums(np.column_stack([y, np.ones(len(y))]), cluster)
    dense = bootstrap(sums, means, 50, seed=1)
    np.testing.assert_array_equal(bootstrap(sums, means, 50, seed=1), dense)
    assert bootstrap(sums, means, 50, seed=2)[0] != dense[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mean", "ratio"])
def test_intervals_cover(kind):
    """3 binomial standard errors of 2,000 simulations below and above 95 %."""
    rng, n, hits = np.random.default_rng(0), 2000, 0
    for _ in range(n):
        y, cluster = correlated(rng, 100)
        d = np.ones(len(y))
        if kind == "ratio":  # the denominator goes with the numerator, inside clusters too
            d = 5 + 0.5 * (y - 2) + rng.normal(0, 0.5, len(y))
        estimate = ratio_estimate(y, d, cluster)
        hits += estimate.lower <= (2.0 if kind == "mean" else 2.0 / 5) <= estimate.upper
    print(f"coverage of the {kind}: {hits / n:.4f}")
    assert abs(hits / n - 0.95) < 3 * np.sqrt(0.95 * 0.05 / n)
