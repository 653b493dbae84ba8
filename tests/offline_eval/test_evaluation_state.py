"""States of shards say together what the whole log says."""

from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_eval.costs import fieller
from offline_eval.evaluation import evaluate, gain_rows
from offline_eval.feed import simulate
from offline_eval.intervals.moments import RatioMoments
from offline_eval.intervals.ratios import Ratio, RatioSums
from offline_eval.policies import Fixed, Never, Random, walk
from offline_eval.state import EvaluationState
from uplift.clusters import ratio_estimate
from uplift.errors import InputError
from uplift.hashing import hash_keys


@pytest.fixture(scope="module")
def log():
    return simulate(1500, seed=3, rate=10)


@pytest.fixture(scope="module")
def outcome(log):
    rng = np.random.default_rng(0)
    return rng.random((len(log), 2)) * 0.05


def state_of(log, outcome, policy, judged=None):
    pi = walk(policy, log)
    gain = None if judged is None else gain_rows(log, walk(judged, log), outcome)
    return EvaluationState.of(log, policy.name, pi, outcome, judged_gain=gain)


def shards(log, count):
    return [hash_keys(log.frame["user_id"]) % count == k for k in range(count)]


@pytest.mark.parametrize("policy", [Random(0.3), Fixed(position=10), Never()])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_say_what_the_whole_says(log, outcome, policy, count):
    parts = [state_of(log.take(rows), outcome[rows], policy) for rows in shards(log, count)]
    found, whole = reduce(add, parts).evaluation(), evaluate(log, policy, outcome=outcome)
    assert found.value.keys() == whole.value.keys()
    for name, estimate in whole.value.items():
        close(found.value[name], estimate)
    close(found.gain, whole.gain)
    close(found.requests, whole.requests)
    if whole.gain_per_request is None:
        assert found.gain_per_request is None
    else:
        close(found.gain_per_request, whole.gain_per_request)
    a, b = found.diagnostics, whole.diagnostics
    assert (a.n, a.n_events, a.verdict, a.reasons) == (b.n, b.n_events, b.verdict, b.reasons)
    for name in ("n_effective", "largest_share", "largest_user_share", "tail_index"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-12)
    assert len(a.histogram) == len(b.histogram)
    for mine, other in zip(a.histogram, b.histogram, strict=True):
        assert vars(mine) == pytest.approx(vars(other), rel=1e-12)


def close(found, expected, rel=1e-10):
    told = [found.value, found.lower, found.upper]
    known = [expected.value, expected.lower, expected.upper]
    assert told == pytest.approx(known, rel=rel, abs=1e-12)


def test_advantage_is_paired(log, outcome):
    plan, other = Random(0.5), Fixed(position=10)
    parts = [state_of(log.take(r), outcome[r], other, plan) for r in shards(log, 3)]
    gains = [gain_rows(log, walk(p, log), outcome) for p in (plan, other)]
    expected = ratio_estimate(gains[0] - gains[1], np.ones(len(log)), log.cluster)
    close(reduce(add, parts).judged_advantage(), expected)
    assert state_of(log, outcome, plan).judged_advantage() is None


def test_states_of_other_policies_do_not_add(log, outcome):
    with pytest.raises(InputError, match="do not add"):
        state_of(log, outcome, Never()) + state_of(log, outcome, Random(0.2))


def test_estimators_that_choose_by_the_data_are_refused(log, outcome):
    with pytest.raises(InputError, match="cannot be added up"):
        EvaluationState.of(log, "never", walk(Never(), log), outcome, estimators=["switch_dr"])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    clusters=st.integers(2, 40),
    count=st.integers(1, 5),
    size=st.sampled_from([1e-6, 1.0, 1e6]),
    ratios=st.integers(1, 2),
)
def test_moments_are_those_of_the_sums(seed, clusters, count, size, ratios):
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, clusters, 200)
    columns = [
        Ratio(rng.normal(size, 0.1 * size, 200), rng.uniform(1, 2, 200)) for _ in range(ratios)
    ]
    whole = RatioSums.of(tuple(columns), cluster)
    parts = []
    for k in range(count):
        rows = cluster % count == k
        if rows.any():
            few = tuple(Ratio(c.numerator[rows], c.denominator[rows]) for c in columns)
            parts.append(RatioMoments.of(RatioSums.of(few, cluster[rows])))
    found = reduce(add, parts)
    close(found.estimate(), whole.estimate(), rel=1e-8)
    np.testing.assert_allclose(found.total, whole.sums.sum(axis=0), rtol=1e-12)
    if ratios == 1:
        close(fieller(found), fieller(whole), rel=1e-8)


def test_a_constant_ratio_has_no_width():
    rng = np.random.default_rng(1)
    below = rng.uniform(1, 5, 1000)
    sums = RatioSums.of((Ratio(0.37 * below, below),), rng.integers(0, 100, 1000))
    found = RatioMoments.of(sums).estimate()
    assert found.value == pytest.approx(0.37)
    assert found.upper == found.lower == found.value


def test_one_cluster_alone_tells_nothing():
    state = RatioMoments.of(RatioSums.of((Ratio(np.ones(3)),), np.zeros(3, int)))
    assert np.isinf(state.estimate().upper)
    assert np.isinf(fieller(state).upper)
