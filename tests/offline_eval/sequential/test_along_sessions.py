"""Estimators along a session against brute force and against the rolled-out feed."""

from dataclasses import dataclass

import numpy as np
import pytest
from eval_policies import Threshold, handmade
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_eval.feed import FeedParams, simulate
from offline_eval.feed.play import Feed
from offline_eval.policies import Moment, walk
from offline_eval.sequential import (
    PDIS,
    SEQUENTIAL_ESTIMATORS,
    SNPDIS,
    TIS,
    SequentialDR,
    SequentialSNDR,
    Sessions,
    fitted_values,
    step_rewards,
)
from uplift.boosting import BoostParams
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.hashing import hash_uniform
from uplift.learners import SLearner
from uplift.log import RequestLog


def made(rng: np.random.Generator, m: int = 12, longest: int = 5) -> Sessions:
    length = rng.integers(1, longest + 1, m)
    n = int(length.sum())
    start = np.r_[0, np.cumsum(length)[:-1]]
    q, v = rng.random(n), rng.random(n)
    return Sessions(
        rng.random(n), rng.uniform(0.2, 0.9, n), rng.random(n), start, rng.integers(0, 6, m), q, v
    )


def by_loops(s: Sessions) -> dict[str, float]:
    """All estimates by the textbook's double sums."""
    ends, m = np.r_[s.start[1:], len(s.reward)], len(s.start)
    sessions, ratio = (
        [range(a, b) for a, b in zip(s.start, ends, strict=True)],
        s.target / s.propensity,
    )
    weight = [np.cumprod(ratio[list(rows)]) for rows in sessions]
    steps = max(map(len, sessions))
    mean = [np.mean([w[min(t, len(w) - 1)] for w in weight]) for t in range(steps)]
    found = dict.fromkeys(SEQUENTIAL_ESTIMATORS, 0.0)
    assert s.value_logged is not None
    assert s.value_policy is not None
    for rows, w in zip(sessions, weight, strict=True):
        for t, row in enumerate(rows):
            earlier, ahead = (w[t - 1], mean[t - 1]) if t else (1.0, 1.0)
            rest = s.reward[row] - s.value_logged[row]
            found["tis"] += w[-1] * s.reward[row] / m
            found["pdis"] += w[t] * s.reward[row] / m
            found["snpdis"] += w[t] * s.reward[row] / m / mean[t]
            found["cascade_dr"] += (w[t] * rest + earlier * s.value_policy[row]) / m
            found["cascade_sndr"] += (
                w[t] / mean[t] * rest + earlier / ahead * s.value_policy[row]
            ) / m
    return found


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_every_estimate_by_double_sums(seed: int) -> None:
    sessions = made(np.random.default_rng(seed))
    for name, value in by_loops(sessions).items():
        assert SEQUENTIAL_ESTIMATORS[name](sessions).value == pytest.approx(value)


@pytest.mark.parametrize("name", ["snpdis", "cascade_sndr"])
def test_the_influence_of_a_session_is_that_of_leaving_it_out(name: str) -> None:
    m = 400
    sessions = made(np.random.default_rng(1), m)
    estimator = SEQUENTIAL_ESTIMATORS[name]
    scores = estimator.scores(sessions)
    ends = np.r_[sessions.start[1:], len(sessions.reward)]
    left = []
    for i in range(m):
        keep = np.ones(len(sessions.reward), bool)
        keep[sessions.start[i] : ends[i]] = False
        length = np.delete(sessions.length, i)
        start = np.r_[0, np.cumsum(length)[:-1]]
        rows = (getattr(sessions, n)[keep] for n in ("reward", "propensity", "target"))
        values = (getattr(sessions, n)[keep] for n in ("value_logged", "value_policy"))
        left.append(
            estimator(Sessions(*rows, start, np.delete(sessions.cluster, i), *values)).value
        )
    jackknife = (m - 1) * (np.mean(left) - np.array(left))
    assert np.corrcoef(jackknife, scores)[0, 1] > 0.99
    assert scores.std() == pytest.approx(jackknife.std(), rel=0.1)


def test_the_logging_policy_itself_is_worth_its_mean() -> None:
    one = made(np.random.default_rng(2))
    same = Sessions(one.reward, one.propensity, one.propensity, one.start, one.cluster)
    for estimator in (TIS(), PDIS(), SNPDIS()):
        assert estimator(same).value == pytest.approx(one.reward.sum() / 12)


def test_a_constant_reward_of_equally_long_sessions_has_no_interval() -> None:
    rng = np.random.default_rng(3)
    ratio = rng.uniform(0.5, 1, 60), rng.random(60)
    sessions = Sessions(np.full(60, 0.2), *ratio, np.arange(0, 60, 3), np.arange(20))
    estimate = SNPDIS()(sessions)
    assert (estimate.lower, estimate.value, estimate.upper) == pytest.approx((0.6, 0.6, 0.6))


def test_shards_of_the_unnormalised_forms_add_up() -> None:
    sessions = made(np.random.default_rng(4))
    row = int(sessions.start[5])
    shards = [
        Sessions(
            *(getattr(sessions, n)[rows] for n in ("reward", "propensity", "target")),
            sessions.start[which] - (row if which.start else 0),
            sessions.cluster[which],
        )
        for rows, which in (
            (slice(0, row), slice(0, 5)),
            (slice(row, None), slice(5, None)),
        )
    ]
    joined = PDIS().sums(shards[0]) + PDIS().sums(shards[1])
    assert joined.value == pytest.approx(PDIS()(sessions).value)
    assert joined.error == pytest.approx(PDIS().sums(sessions).error)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"reward": np.full(3, np.nan)}, "reward must be finite"),
        ({"propensity": np.array([0.5, 0.0, 0.5])}, r"propensity must lie in \(0, 1\]"),
        ({"target": np.array([0.5, 1.5, 0.5])}, r"must lie in \[0, 1\]"),
        ({"target": np.ones(2)}, "target has shape"),
        ({"start": np.array([1, 2])}, "0 first, upwards"),
        ({"start": np.array([0, 0])}, "0 first, upwards"),
        ({"start": np.array([0, 3])}, "0 first, upwards"),
        ({"cluster": np.arange(3)}, "cluster has shape"),
        ({"value_policy": np.full(3, np.inf)}, "value_policy must be finite"),
        ({"reward": np.zeros(0), "propensity": np.zeros(0), "target": np.zeros(0)}, "n > 0"),
    ],
)
def test_bad_sessions_are_told(changes: dict[str, np.ndarray], sentence: str) -> None:
    good = {"reward": np.ones(3), "propensity": np.full(3, 0.5), "target": np.ones(3)}
    with pytest.raises(InputError, match=sentence):
        Sessions(**({"start": np.array([0, 2]), "cluster": np.arange(2)} | good | changes))


@pytest.mark.parametrize("estimator", [SequentialDR(), SequentialSNDR()])
def test_doubly_robust_without_values_is_told(estimator: object) -> None:
    bare = Sessions(np.ones(2), np.ones(2), np.ones(2), np.array([0]), np.array([0]))
    with pytest.raises(InputError, match="needs modelled values"):
        estimator(bare)  # type: ignore[operator]


def test_rewards_between_decisions_are_told_once() -> None:
    log = simulate(400, seed=1, rate=10)
    reward, order = step_rewards(log), log.session_order
    gap = np.r_[np.diff(log.slot[order]), 0]
    last = np.r_[log.session[order][1:] != log.session[order][:-1], True]
    expected = np.where(
        gap == 10, log.outcome("purchase_10")[order], log.outcome("purchase_5")[order]
    )
    expected[last] = log.outcome("purchase_20")[order][last]
    np.testing.assert_array_equal(reward[order], expected)


def test_rewards_of_an_unknown_gap_are_told() -> None:
    with pytest.raises(InputError, match="no outcome purchase_n"):
        step_rewards(handmade(arm=np.zeros(3, int)))
    log = simulate(200, seed=1)
    odd = log.frame.assign(position=log.frame["position"] + (log.frame["position"] > 20))
    with pytest.raises(InputError, match=r"after 6 slots, but the log has no outcome purchase_6"):
        step_rewards(RequestLog.unchecked(odd, log.schema))


def test_the_logged_past_counts_where_it_is_asked_for() -> None:
    log = handmade(
        arm=np.array([1, 0, 0, 0]), session_id=np.zeros(4, int), position=np.arange(4), f_x=1.0
    )
    limited = Threshold("f_x", per_session=1)
    assert walk(limited, log)[:, 1].tolist() == [1, 0, 0, 0]
    skipped = RequestLog.unchecked(log.frame.assign(arm=[0, 1, 0, 0]), log.schema)
    assert walk(limited, skipped, logged_past=True)[:, 1].tolist() == [1, 1, 0, 0]


def test_shapes_of_tables_are_told() -> None:
    log = simulate(200, seed=1)
    with pytest.raises(InputError, match="pi has shape"):
        Sessions.of(log, np.ones((len(log), 3)), np.zeros(len(log)))
    with pytest.raises(InputError, match="at least one sweep"):
        fitted_values(log, np.ones((len(log), 2)) / 2, np.zeros(len(log)), sweeps=0)


@dataclass(frozen=True)
class Scaled:
    """Request by the log's own shares times a factor, the more the more clicks there were."""

    factor: float
    tilt: float = 0.0
    name: str = "scaled"
    has_memory: bool = False

    def prepare(self, log: RequestLog) -> np.ndarray:
        base = np.array(FeedParams().request_share)[np.minimum(log.page, 3)]
        clicks = log.frame["f_clicks_20"].to_numpy(dtype=np.float64)
        share = np.clip(base * (self.factor + self.tilt * (clicks > 1)), 0.0, 1.0)
        return np.column_stack([1 - share, share])

    def probabilities(self, prepared: np.ndarray, moment: Moment) -> np.ndarray:
        return prepared


def rolled_out(policy: Scaled, horizon: int) -> tuple[float, float]:
    """Mean of the step rewards by session, expected given the latent path; share of requests."""
    total, entered, asked, decided = 0.0, 0, 0, 0
    for chunk in Feed(60_000, 22, RATE).chunks():
        taken = [(d.step, d.rows, d.slot) for d in chunk.decisions(policy)]
        entered += len(taken[0][1])
        asked += int(chunk.requests.sum())
        decided += sum(len(rows) for _, rows, _ in taken)
        for step, rows, slot in taken[:horizon]:
            total += float(chunk.chance_within(step, 2 if slot % 50 == 45 else 1)[rows].sum())
    return total / entered, asked / decided


SHARDS, SESSIONS, RATE = 60, 75_000, 40.0
SMALL = BoostParams(max_rounds=25, max_depth=4, learning_rate=0.3)


@pytest.mark.slow
def test_intervals_cover_the_rolled_out_truth() -> None:
    """Shards of 1,250 sessions, three policies at 5 to 30 % requests: 180 intervals each.

    The further a policy is from the log, the fewer decisions of a session it can be judged on.
    """
    log = simulate(SESSIONS, seed=21, rate=RATE)
    reward, users = step_rewards(log), log.frame["user_id"].to_numpy()
    shard = (hash_uniform(users, 5) * SHARDS).astype(int)
    learner = SLearner(SMALL, n_folds=2, feature_types=FeatureEncoder.fit(log).types)
    value = fitted_values(log, walk(Scaled(1.0), log), reward, learner=learner, sweeps=2)
    covered = {name: list[bool]() for name in SEQUENTIAL_ESTIMATORS}
    shares = []
    for policy, horizon in ((Scaled(0.3), 9), (Scaled(0.6, 1.2), 10**6), (Scaled(1.75), 9)):
        truth, share = rolled_out(policy, horizon)
        shares.append(share)
        pi = walk(policy, log, logged_past=True)
        for i in range(SHARDS):
            rows = np.flatnonzero(shard == i)
            sessions = Sessions.of(
                log.take(rows), pi[rows], reward[rows], value[rows], horizon=horizon
            )
            for name, estimator in SEQUENTIAL_ESTIMATORS.items():
                estimate = estimator(sessions)
                covered[name].append(estimate.lower <= truth <= estimate.upper)
    assert 0.04 < min(shares) < 0.06 < 0.25 < max(shares) < 0.31
    found = {name: float(np.mean(hits)) for name, hits in covered.items()}
    print(found, {n: np.reshape(h, (3, -1)).mean(axis=1).round(3) for n, h in covered.items()})
    noise = np.sqrt(0.95 * 0.05 / (3 * SHARDS))
    for name, share in found.items():
        # Trajectory weights have heavy tails: that interval is too narrow at this size.
        low = 0.85 if name == "tis" else 0.95
        assert low - 3 * noise < share < 0.95 + 3 * noise, (name, found)


def test_a_far_policy_is_told_by_its_effective_sessions() -> None:
    log = simulate(3000, seed=1)
    near, far = (
        Sessions.of(log, walk(Scaled(factor), log), np.zeros(len(log))) for factor in (1.1, 2.5)
    )
    assert near.n_effective > 0.8 * len(near.start)
    assert far.n_effective < 0.1 * len(far.start)
    short = Sessions.of(log, walk(Scaled(2.5), log), np.zeros(len(log)), horizon=2)
    assert short.length.max() == 2
    assert short.n_effective > 0.3 * len(short.start)
    with pytest.raises(InputError, match="horizon is 0"):
        Sessions.of(log, walk(Scaled(1.0), log), np.zeros(len(log)), horizon=0)
