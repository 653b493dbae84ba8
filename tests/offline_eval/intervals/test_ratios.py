"""States of ratios: they add, pair, and agree with brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_eval.estimators import ESTIMATORS, Decisions
from offline_eval.intervals import Ratio, RatioSums
from uplift.clusters import Estimate, ratio_estimate
from uplift.errors import InputError


def rows(rng: np.random.Generator, n: int, users: int) -> Decisions:
    propensity = rng.uniform(0.2, 0.8, n)
    user = rng.integers(0, users, n)
    mood = rng.normal(0, 1, users)[user]
    model = rng.random(n)
    return Decisions(mood + rng.random(n), propensity, rng.random(n), user, model, model + 0.1)


def numbers(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.lower, estimate.upper


def part(d: Decisions, chosen: np.ndarray) -> Decisions:
    return Decisions(**{name: values[chosen] for name, values in vars(d).items()})


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["ips", "snips", "dm", "dr", "sndr"]))
def test_shards_add_up_to_the_whole(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    whole, side = rows(rng, 60, 12), rng.random(60) < 0.4
    side[:2] = True, False
    shards = [ESTIMATORS[name].sums(part(whole, s)) for s in (side, ~side)]
    together, once = shards[0] + shards[1], ESTIMATORS[name].sums(whole)
    assert np.array_equal(together.cluster, once.cluster)
    np.testing.assert_allclose(together.sums, once.sums)
    assert together.estimate().upper == pytest.approx(once.estimate().upper)
    drawn = [numbers(state.bootstrap(70, seed=1)) for state in (together, once)]
    assert drawn[0] == pytest.approx(drawn[1])  # shards draw as the whole does


def test_one_ratio_is_the_known_ratio_estimate() -> None:
    rng = np.random.default_rng(0)
    above, below, cluster = rng.random(50), rng.random(50), rng.integers(0, 9, 50)
    state = RatioSums.of((Ratio(above, below),), cluster)
    assert numbers(state.estimate()) == pytest.approx(
        numbers(ratio_estimate(above, below, cluster))
    )


def test_identifiers_may_be_strings_or_any_integers() -> None:
    rng = np.random.default_rng(1)
    values, cluster = rng.random(40), rng.integers(0, 8, 40)
    expected = RatioSums.of((Ratio(values),), cluster).estimate()
    for names in (cluster.astype(str), cluster * 10**12 - 7):
        found = RatioSums.of((Ratio(values),), names).estimate()
        assert numbers(found) == pytest.approx(numbers(expected))


def test_two_ratios_have_the_error_of_the_jackknife() -> None:
    """An independent judge: leave one cluster out of the SNDR estimate."""
    whole = rows(np.random.default_rng(2), 4000, 400)
    state = ESTIMATORS["sndr"].sums(whole)
    left = [RatioSums(*_without(state, i), state.sign).value for i in range(400)]
    jackknife = np.sqrt(399 / 400 * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert state.error == pytest.approx(jackknife, rel=0.02)


def _without(state: RatioSums, i: int) -> tuple[np.ndarray, np.ndarray]:
    return np.delete(state.cluster, i), np.delete(state.sums, i, axis=0)


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "sndr"])
def test_bootstrap_agrees_with_the_influence_function(name: str) -> None:
    state = ESTIMATORS[name].sums(rows(np.random.default_rng(3), 6000, 800))
    plain, drawn = state.estimate(), state.bootstrap(2000, seed=1)
    assert drawn.value == plain.value
    # The quantiles of 2,000 draws are known to about 3 % of the half width.
    half = plain.upper - plain.value
    assert abs(drawn.upper - plain.upper) < 0.12 * half
    assert abs(drawn.lower - plain.lower) < 0.12 * half
    assert state.draws(2000, seed=1).std() == pytest.approx(state.error, rel=0.08)


def test_a_paired_difference_is_narrow_where_policies_agree() -> None:
    rng = np.random.default_rng(4)
    one = rows(rng, 5000, 500)
    target = np.where(rng.random(5000) < 0.05, rng.random(5000), one.target)
    other = Decisions(**(vars(one) | {"target": target}))
    for name in ("ips", "snips", "sndr"):
        a, b = (ESTIMATORS[name].sums(d) for d in (one, other))
        paired = a - b
        assert paired.value == pytest.approx(a.value - b.value)
        assert paired.error < 0.5 * np.hypot(a.error, b.error)
        assert numbers((a - a).estimate()) == pytest.approx((0.0, 0.0, 0.0))


def test_a_paired_difference_of_means_is_the_mean_difference() -> None:
    rng = np.random.default_rng(5)
    a, b, cluster = rng.random(60), rng.random(60), rng.integers(0, 9, 60)
    paired = RatioSums.of((Ratio(a),), cluster) - RatioSums.of((Ratio(b),), cluster)
    expected = ratio_estimate(a - b, np.ones(60), cluster)
    assert numbers(paired.estimate()) == pytest.approx(numbers(expected))


def test_one_user_has_an_infinite_interval() -> None:
    state = RatioSums.of((Ratio(np.arange(4.0)),), np.zeros(4, int))
    for estimate in (state.estimate(), state.bootstrap(10)):
        assert (estimate.value, estimate.lower, estimate.upper) == (1.5, -np.inf, np.inf)


def test_states_that_do_not_match_are_told() -> None:
    one = RatioSums.of((Ratio(np.ones(3)),), np.arange(3))
    two = RatioSums.of((Ratio(np.ones(3)), Ratio(np.ones(3))), np.arange(3))
    with pytest.raises(InputError, match="hold different ratios"):
        _ = one + two
    with pytest.raises(InputError, match="different clusters"):
        _ = one - RatioSums.of((Ratio(np.ones(3)),), np.arange(1, 4))
    with pytest.raises(InputError, match="rows to sum have shapes"):
        RatioSums.of((Ratio(np.ones(3)),), np.arange(4))
    with pytest.raises(InputError, match="n > 0"):
        RatioSums.of((Ratio(np.ones(0)),), np.arange(0))
