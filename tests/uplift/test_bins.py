import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift import InputError
from uplift.bins import bin_estimates, bin_means, quantile_bins
from uplift.clusters import ratio_estimate


def test_bins_hold_equal_numbers_and_rise():
    values = np.random.default_rng(0).normal(size=1000)
    bins = quantile_bins(values, 10)
    assert np.bincount(bins).tolist() == [100] * 10
    assert (np.diff(bins[np.argsort(values)]) >= 0).all()


def test_ties_stay_together_and_a_constant_is_one_bin():
    assert quantile_bins(np.array([1.0, 1, 1, 1, 2, 3]), 3).tolist() == [0, 0, 0, 0, 1, 1]
    assert quantile_bins(np.full(5, 7.0), 10).tolist() == [0] * 5


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 10_000))
def test_order_scale_and_weights_as_repeated_rows(n, n_bins, seed):
    rng = np.random.default_rng(seed)
    values, weight = rng.integers(0, 15, n).astype(float), rng.integers(1, 4, n)
    bins, order = quantile_bins(values, n_bins), rng.permutation(n)
    assert bins.max() < n_bins
    np.testing.assert_array_equal(quantile_bins(values[order], n_bins), bins[order])
    np.testing.assert_array_equal(quantile_bins(np.exp(values / 5), n_bins), bins)
    repeated = quantile_bins(np.repeat(values, weight), n_bins)
    weighted = quantile_bins(values, n_bins, weight.astype(float))
    np.testing.assert_array_equal(repeated, np.repeat(weighted, weight))


def test_estimates_are_those_of_each_bin_alone():
    rng = np.random.default_rng(0)
    values, weight, cluster = rng.normal(size=60), rng.random(60), np.arange(60) // 3
    bins = quantile_bins(rng.normal(size=60), 4)
    estimates = bin_estimates(values, bins, cluster, weight)
    for b, estimate in enumerate(estimates):
        rows = bins == b
        alone = ratio_estimate((values * weight)[rows], weight[rows], cluster[rows])
        assert estimate == alone
    np.testing.assert_allclose(bin_means(values, bins, weight), [e.value for e in estimates])


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (np.ones(3), {"n_bins": 0}, "n_bins is 0; expected at least 1"),
        (np.empty(0), {"n_bins": 2}, "at least one value"),
        (np.array([1.0, np.nan]), {"n_bins": 2}, "all of them finite"),
        (np.ones(2), {"n_bins": 2, "weight": np.zeros(2)}, "not all of them 0"),
        (np.ones(2), {"n_bins": 2, "weight": np.ones(3)}, r"weight must be \(2,\)"),
    ],
)
def test_bad_input_is_told(values, options, sentence):
    with pytest.raises(InputError, match=sentence):
        quantile_bins(values, **options)
