import pickle
from functools import reduce
from operator import add

import numpy as np
import pytest
from curve_logs import ends, simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift import InputError
from uplift.curves import CostCurve, CurveState, QiniCurve, TocCurve, ranking_cuts
from uplift.hashing import hash_uniform


def state_of(log, rows=slice(None), **options):
    return CurveState.of(
        log.u[rows], log.effect[rows, 0], log.user[rows], cost=log.cost[rows], **options
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_shards_add_up_to_the_whole(seed, shards):
    """Rows are dealt out at random, so that users have rows in several shards."""
    log = simulate(500, seed)
    weight = np.random.default_rng(seed).random(500)
    shard = np.random.default_rng(seed).integers(0, shards, 500)
    cuts = ranking_cuts(log.u[:100])
    whole = state_of(log, weight=weight, cuts=cuts)
    parts = [
        state_of(log, shard == s, weight=weight[shard == s], cuts=cuts) for s in np.unique(shard)
    ]
    merged = reduce(add, parts)
    np.testing.assert_allclose(merged.totals, whole.totals, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(merged.seen, whole.seen)
    for curve in (QiniCurve, TocCurve, CostCurve):
        a, b = curve.of(merged), curve.of(whole)
        np.testing.assert_allclose(a.lower, b.lower, atol=1e-9)


def test_a_state_does_not_grow_with_the_log():
    sizes = {state_of(simulate(n)).totals.shape for n in (5000, 20_000)}
    assert all(columns == 3 and cells < 1080 and draws == 257 for columns, cells, draws in sizes)


def test_a_sample_cuts_well_enough():
    """Readings by cuts of a sample of 5,000 are within a tenth of the interval's half-width."""
    log = simulate(100_000)
    exact, coarse = (TocCurve.of(state_of(log, cuts=c)) for c in (None, ranking_cuts(log.u[:5000])))
    for name in ("autoc", "qini"):
        a, b = getattr(exact, name), getattr(coarse, name)
        assert abs(a.value - b.value) < 0.1 * (a.upper - a.value)


def test_rows_in_any_order_and_named_users_give_the_same_curve():
    log = simulate(2000)
    order = np.random.default_rng(1).permutation(2000)
    a, b = QiniCurve.of(state_of(log)), QiniCurve.of(state_of(log, order))
    np.testing.assert_allclose(ends(a.area), ends(b.area), atol=1e-12)
    names = np.array([f"user {u}" for u in log.user])
    named = [CurveState.of(log.u[o], log.effect[o, 0], names[o]) for o in (slice(None), order)]
    np.testing.assert_allclose(named[0].totals, named[1].totals, atol=1e-9)


@pytest.mark.parametrize("users", [1, 2, 50, 1500])
def test_clusters_are_counted(users):
    """Linear counting in m = 4,096 slots: standard error sqrt(m (exp(G / m) - G / m - 1))."""
    score = np.random.default_rng(0).random(4 * users)
    state = CurveState.of(score, score, np.arange(4 * users) // 4, draws=0)
    load = users / 4096
    error = np.sqrt(4096 * (np.exp(load) - load - 1))
    assert abs(state.clusters - users) < 4 * error + 0.01


def test_very_many_clusters_are_infinitely_many():
    score = np.random.default_rng(0).random(100_000)
    assert CurveState.of(score, score, np.arange(100_000), draws=0).clusters == np.inf


def test_a_split_by_the_same_seed_does_not_touch_the_draws():
    """Users of one hash range: their slots and their draws are spread as anyone's."""
    users = np.arange(200_000)
    users = users[hash_uniform(users, 5) < 0.005]
    score = np.random.default_rng(0).random(len(users))
    state = CurveState.of(score, score, users, seed=5)
    assert state.clusters == pytest.approx(len(users), rel=0.1)
    kept = state.totals[0, :, 1:].sum(axis=0) / len(users)
    assert abs(kept.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(users) * 256)


def test_rows_of_weight_0_are_absent_from_every_number():
    log = simulate(1000)
    weight = (np.arange(1000) < 600).astype(float)
    a = QiniCurve.of(state_of(log, weight=weight))
    b = QiniCurve.of(state_of(log, slice(600)))
    assert a.area.value == pytest.approx(b.area.value)
    assert a.gain == pytest.approx(b.gain)
    np.testing.assert_allclose(ends(a.area), ends(b.area))


def test_states_travel_between_processes():
    state = state_of(simulate(1000))
    again = pickle.loads(pickle.dumps(state))
    assert QiniCurve.of(again + state).area.value == pytest.approx(QiniCurve.of(state).area.value)


def test_states_that_do_not_belong_together_are_refused():
    log, cuts = simulate(1000), np.array([0.5])
    state = state_of(log, cuts=cuts)
    with pytest.raises(InputError, match="different cells; cut the ranking once"):
        state + state_of(log, cuts=np.array([0.6]))
    without_cost = CurveState.of(log.u, log.effect[:, 0], log.user, cuts=cuts)
    for other in (
        without_cost,
        state_of(log, cuts=cuts, seed=1),
        state_of(log, cuts=cuts, draws=9),
    ):
        with pytest.raises(InputError, match="same columns, draws and seed"):
            state + other
    with pytest.raises(TypeError):
        state + 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cuts": np.array([0.1, 0.2])}, "descending"),
        ({"cuts": np.array([np.nan])}, "descending"),
        ({"draws": -1}, "0 or more, got -1"),
        ({"weight": np.ones(3)}, "shapes differ"),
    ],
)
def test_impossible_options_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        state_of(simulate(1000), **options)
