from dataclasses import fields, replace

import numpy as np
import pytest
from logged_worlds import world

from offline_eval.estimators import ESTIMATORS, Decisions, ValueState
from uplift.clusters import ratio_estimate
from uplift.errors import InputError

NAMES = ("dr", "snips", "sndr")


def part(decisions: Decisions, rows: np.ndarray) -> Decisions:
    return Decisions(**{f.name: getattr(decisions, f.name)[rows] for f in fields(decisions)})


@pytest.fixture(scope="module")
def decisions() -> Decisions:
    return world(np.random.default_rng(0), 400)


@pytest.mark.parametrize("name", NAMES)
def test_shards_add_up_to_the_whole(decisions: Decisions, name: str) -> None:
    """A user may have rows in several shards."""
    estimator, shard = ESTIMATORS[name], np.random.default_rng(1).integers(0, 3, 10**6)
    rows = [np.flatnonzero(shard[: len(decisions.reward)] == k) for k in range(3)]
    parts = [estimator.state(part(decisions, r)) for r in rows]
    whole, merged = estimator.state(decisions), parts[2] + parts[0] + parts[1]
    assert str(merged.estimate()) == str(whole.estimate())
    assert str(merged.bootstrap(200, seed=1)) == str(whole.bootstrap(200, seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_names_and_order_of_users_mean_nothing_but_to_draws(
    decisions: Decisions, name: str
) -> None:
    order = np.random.default_rng(1).permutation(len(decisions.reward))
    shuffled = part(decisions, order)
    named = replace(shuffled, cluster=np.char.add("u", shuffled.cluster.astype(str)))
    far = replace(shuffled, cluster=10**12 - shuffled.cluster)
    expected = str(ESTIMATORS[name].estimate(decisions))
    for same in (shuffled, named, far):
        assert str(ESTIMATORS[name].estimate(same)) == expected


def test_one_term_is_the_ratio(decisions: Decisions) -> None:
    weight = decisions.weight
    expected = ratio_estimate(weight * decisions.reward, weight, decisions.cluster)
    assert str(ESTIMATORS["snips"].estimate(decisions)) == str(expected)


@pytest.mark.parametrize("name", NAMES)
def test_bootstrap_and_influence_function_agree(decisions: Decisions, name: str) -> None:
    """Ends of 4,000 draws: about .03 of the half width is the draws' own noise."""
    state = ESTIMATORS[name].state(decisions)
    exact, drawn = state.estimate(), state.bootstrap(4000)
    half = exact.upper - exact.value
    assert drawn.value == exact.value
    assert abs(drawn.lower - exact.lower) < 0.12 * half
    assert abs(drawn.upper - exact.upper) < 0.12 * half


def test_a_constant_reward_has_no_width(decisions: Decisions) -> None:
    constant = part(decisions, np.arange(len(decisions.reward)))
    constant.reward[:] = 0.3
    state = ESTIMATORS["snips"].state(constant)
    for found in (state.estimate(), state.bootstrap(100)):
        np.testing.assert_allclose([found.lower, found.value, found.upper], 0.3, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_paired_difference_is_narrower_than_two_intervals(decisions: Decisions, name: str) -> None:
    rival = replace(decisions, target=0.9 * decisions.target)
    first, second = (ESTIMATORS[name].state(d) for d in (decisions, rival))
    difference = (first - second).estimate()
    assert difference.value == pytest.approx(first.value - second.value)
    assert (first - first).estimate().upper == pytest.approx(0.0, abs=1e-12)
    apart = np.hypot(first.error, second.error)
    assert (first - second).error < apart


def test_a_difference_by_hand() -> None:
    cluster = np.array([0, 1, 1, 2])
    rows = np.array([[1.0, 2.0, 0.0, 4.0], [0.5, 1.0, 1.0, 2.0]])
    ones = np.ones(4)
    first, second = (ValueState.of([r], [ones], cluster) for r in rows)
    expected = ratio_estimate(rows[0] - rows[1], ones, cluster)
    assert str((first - second).estimate()) == str(expected)


def test_what_does_not_belong_together_is_told(decisions: Decisions) -> None:
    dr, sndr = (ESTIMATORS[name].state(decisions) for name in ("dr", "sndr"))
    with pytest.raises(InputError, match="different estimates"):
        dr + sndr
    with pytest.raises(InputError, match="different users"):
        dr - ESTIMATORS["dr"].state(part(decisions, np.arange(10)))


def test_one_user_and_no_weight(decisions: Decisions) -> None:
    alone = replace(decisions, cluster=np.zeros_like(decisions.cluster))
    estimate = ESTIMATORS["dr"].estimate(alone)
    assert (estimate.lower, estimate.upper) == (-np.inf, np.inf)
    nothing = replace(decisions, target=np.zeros_like(decisions.target))
    for estimate in (ESTIMATORS["snips"].estimate(nothing), ESTIMATORS["sndr"].estimate(nothing)):
        assert np.isnan(estimate.value)
        assert (estimate.lower, estimate.upper) == (-np.inf, np.inf)
