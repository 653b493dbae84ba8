"""Weights of the bootstrap: Poisson(1), by who a cluster is and not where it stands."""

import numpy as np
import pytest
from scipy.stats import poisson

from uplift.poisson import poisson_totals


def weights(count: int, draws: int, seed: int = 0) -> np.ndarray:
    return poisson_totals(np.eye(count), np.arange(count, dtype=np.uint64), draws, seed)


def test_weights_are_poisson_and_independent() -> None:
    """Four standard errors of 100,000 draws."""
    drawn = weights(1000, 100).ravel()
    assert drawn.size == 100_000
    for k in range(5):
        chance = poisson.pmf(k, 1)
        error = np.sqrt(chance * (1 - chance) / drawn.size)
        assert abs(np.mean(drawn == k) - chance) < 4 * error
    table = weights(300, 300)
    for axis in (0, 1):
        correlation = np.corrcoef(table, rowvar=bool(axis))
        apart = correlation[~np.eye(len(correlation), dtype=bool)]
        assert abs(apart.mean()) < 4 / np.sqrt(300 * apart.size)
        assert np.abs(apart).max() < 6 / np.sqrt(300)


def test_totals_are_sums_of_weights() -> None:
    rng = np.random.default_rng(0)
    sums, key = rng.normal(size=(50, 3)), rng.integers(0, 2**63, 50).astype(np.uint64)
    whole = poisson_totals(sums, key, 130, 7)
    assert whole.shape == (3, 130)
    each = poisson_totals(np.eye(50), key, 130, 7)
    np.testing.assert_allclose(whole, sums.T @ each)
    order = rng.permutation(50)
    np.testing.assert_allclose(poisson_totals(sums[order], key[order], 130, 7), whole)
    np.testing.assert_array_equal(poisson_totals(sums, key, 40, 7), whole[:, :40])
    assert not np.array_equal(poisson_totals(sums, key, 40, 8), whole[:, :40])


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_any_seed_is_taken(seed: int) -> None:
    assert weights(3, 5, seed).shape == (3, 5)
