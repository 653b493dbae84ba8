import numpy as np
import pytest

from uplift.curves import half_samples
from uplift.curves.half_samples import cluster_keys, half_sample_totals

MASK = 2**64 - 1


def kept_bits(key, words):
    """Which draws keep a cluster, by the definition of splitmix64: (64 words,) zeros and ones."""
    state, bits = int(key), []
    for _ in range(words):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        bits += [(z >> bit) & 1 for bit in range(64)]
    return bits


def draws_of(cluster, seed, words=4):
    """(clusters, draws) zeros and ones."""
    n = len(cluster)
    totals = half_sample_totals(
        np.arange(n + 1), np.arange(n), cluster_keys(cluster, seed), np.ones((n, 1)), words
    )
    return totals[0, :, 1:]


def test_totals_are_sums_of_the_rows_that_a_draw_keeps():
    rng = np.random.default_rng(0)
    cluster, values, order = rng.integers(0, 20, 60), rng.normal(size=(60, 3)), rng.permutation(60)
    key, start = cluster_keys(cluster, 7), np.array([0, 10, 10, 45, 60])
    kept = np.array([[1, *kept_bits(k, 2)] for k in key])
    found = half_sample_totals(start, order, key, values, 2)
    for cell in range(4):
        rows = order[start[cell] : start[cell + 1]]
        np.testing.assert_allclose(found[:, cell], values[rows].T @ kept[rows], atol=1e-12)


def test_half_of_the_clusters_are_kept_independently():
    """20,000 clusters, 256 draws: means of draws, and correlations of draws, of neighbouring

    clusters and of seeds lie within 5 standard errors of 1/2 and 0.
    """
    n = 20_000
    draws = 2 * draws_of(np.arange(n), 0) - 1
    error = 1 / np.sqrt(n)
    assert np.abs(draws.mean(axis=0)).max() < 5 * error
    correlation = draws.T @ draws / n
    assert np.abs(correlation - np.eye(256)).max() < 5 * error
    assert np.abs((draws[1:] * draws[:-1]).mean(axis=0)).max() < 5 * error
    other = 2 * draws_of(np.arange(n), 1) - 1
    assert np.abs(draws.T @ other / n).max() < 5 * error


def test_a_cluster_is_kept_wherever_it_stands():
    names = np.array(["ann", "bob", "cy", "ann"])
    draws = draws_of(names, 3)
    np.testing.assert_array_equal(draws[0], draws[3])
    np.testing.assert_array_equal(draws_of(names[::-1], 3), draws[::-1])
    np.testing.assert_array_equal(draws_of(names[1:2], 3), draws[1:2])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_means_nothing(monkeypatch, threads):
    rng = np.random.default_rng(0)
    start, order = np.r_[0, np.sort(rng.integers(0, 50_000, 300)), 50_000], rng.permutation(50_000)
    key, values = cluster_keys(np.arange(50_000) // 3, 0), rng.normal(size=(50_000, 2))
    expected = half_sample_totals(start, order, key, values, 1)
    monkeypatch.setattr(half_samples, "_cores", lambda: threads)
    found = half_sample_totals(start, order, key, values, 1)
    np.testing.assert_array_equal(found, expected)
