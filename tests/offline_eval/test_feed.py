"""The simulated feed: its truth is true, its luck is common, its log is a randomised log."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from offline_eval.feed import FEED_SCHEMA, FeedParams, click_curve, play, roll_out, simulate
from offline_eval.feed.truth import true_purchases
from offline_eval.feed.world import draw_sessions
from offline_eval.policies import Always, Fixed, Never, Random
from uplift.errors import InputError
from uplift.log import DAY_SECONDS, RequestLog

HORIZONS = (5, 10, 15, 20)
SESSIONS = 20_000


@pytest.fixture(scope="module")
def log() -> RequestLog:
    return simulate(SESSIONS, seed=3, rate=10, days=2)


def _clustered_z(difference: np.ndarray, cluster: np.ndarray) -> float:
    """Sum over its standard error, clustered; zero-mean differences stay within 4."""
    sums = np.bincount(cluster, difference)
    return float(sums.sum() / np.sqrt((sums**2).sum()))


@pytest.mark.parametrize("arm", [0, 1])
@pytest.mark.parametrize("n", HORIZONS)
def test_outcomes_are_draws_of_the_truth(log: RequestLog, n: int, arm: int) -> None:
    rows = log.arm == arm
    difference = log.outcome(f"purchase_{n}") - log.outcome(f"true_purchase_{n}_{arm}")
    assert abs(_clustered_z(difference[rows], log.cluster[rows])) < 4


def test_weighted_outcomes_estimate_the_mean_truth(log: RequestLog) -> None:
    for arm in range(2):
        weighted = (log.arm == arm) / log.propensity * log.outcome()
        truth = log.outcome(f"true_purchase_10_{arm}")
        assert abs(_clustered_z(weighted - truth, log.cluster)) < 4


def _flip(on: float, off: float) -> np.ndarray:
    """Row-stochastic change of one bit."""
    return np.array([[1 - on, on], [off, 1 - off]])


def _reference_truth(
    world: play.Sessions, rates: play.Rates, state: int, slot: int, arm: int
) -> list[float]:
    """The truth by 8 x 8 matrices, the order of bits being annoyed, match, heat."""
    buy, leave, annoy = world.buy[0], world.leave[0], world.annoy[0]
    change = np.kron(
        _flip(0, rates.recover),
        np.kron(_flip(0, world.drift[0]), _flip(world.heat[0], world.cool[0])),
    )
    refresh = np.kron(np.eye(2), np.kron(_flip(rates.page_refresh, 0), np.eye(2)))
    request = np.kron(_flip(annoy, 0), np.kron(_flip(rates.refresh, 0), np.eye(2)))
    mass = np.eye(8)[state] @ (request if arm else np.eye(8))
    result, bought = [], 0.0
    for at in range(slot + 1, slot + 21):
        if at % 50 == 0:
            mass = mass @ refresh
        hazard = buy * rates.appetite
        bought += mass @ hazard
        stay = 1 - leave * rates.impatience * (1 + rates.leave_growth * (at // 50))
        mass = (mass * (1 - hazard) * stay) @ change
        if at % 5 == 0 and at % 50:
            share = rates.request_share[min(at // 50, len(rates.request_share) - 1)]
            mass = mass @ ((1 - share) * np.eye(8) + share * request)
        if (at - slot) % 5 == 0:
            result.append(bought)
    return result


@pytest.mark.parametrize("slot", [5, 40, 95, 240])
def test_truth_agrees_with_matrices(slot: int) -> None:
    params = FeedParams(disturbed_share=0.5)
    ids = np.arange(40)
    sessions = draw_sessions(ids, ids, 10.0, 1, params)
    disturbed = int(np.argmax(sessions.annoy > 0))
    world = play.Sessions(*(a[disturbed : disturbed + 1] for a in sessions))
    for state in range(8):
        found = true_purchases(
            np.arange(1), slot, np.array([state], np.int8), world, params.rates()
        )
        for arm in range(2):
            expected = _reference_truth(world, params.rates(), state, slot, arm)
            np.testing.assert_allclose(found[arm, :, 0], expected, rtol=1e-5)


def test_same_seed_same_log_other_seed_other_users(log: RequestLog) -> None:
    again = simulate(SESSIONS, seed=3, rate=10, days=2)
    pd.testing.assert_frame_equal(log.frame, again.frame)
    other = simulate(500, seed=4, rate=10)
    assert not set(other.frame["user_id"]) & set(log.frame["user_id"])


def test_log_keeps_the_contract(log: RequestLog) -> None:
    RequestLog(log.frame, FEED_SCHEMA)
    assert not log.frame.duplicated(["session_id", "page", "position"]).any()
    assert set(log.frame["position"]) == set(range(5, 50, 5))
    assert 18 <= len(log.features) <= 22
    known = log.frame.drop(columns=log.features)
    assert not known.isna().any().any()
    assert 0 < log.frame["f_dwell"].isna().mean() < 0.1
    assert log.frame["timestamp"].dt.normalize().nunique() == 2
    assert log.windows().covered.sum() == pytest.approx(2 * 86_400, rel=0.02)


def test_decisions_of_a_session_follow_each_other(log: RequestLog) -> None:
    order = log.session_order
    same = np.diff(log.session[order]) == 0
    assert set(np.diff(log.slot[order])[same]) <= {5, 10}
    seconds = log.frame["timestamp"].to_numpy()[order].astype(np.int64)
    assert (np.diff(seconds)[same] >= 0).all()
    assert np.diff(seconds)[same].max() <= 10 * 4_000_000


def test_money_comes_with_purchases_and_horizons_nest(log: RequestLog) -> None:
    np.testing.assert_array_equal(log.outcome("gmv_10") > 0, log.outcome("purchase_10") > 0)
    for n, longer in pairwise(HORIZONS):
        assert (log.outcome(f"purchase_{n}") <= log.outcome(f"purchase_{longer}")).all()
        for arm in range(2):
            shorter = log.outcome(f"true_purchase_{n}_{arm}")
            assert (shorter <= log.outcome(f"true_purchase_{longer}_{arm}")).all()


def test_arms_match_the_propensities(log: RequestLog) -> None:
    share = np.array(FeedParams().request_share)[np.minimum(log.page, 3)]
    np.testing.assert_allclose(log.propensity, np.where(log.arm == 1, share, 1 - share))
    for page in range(4):
        rows = log.page == page
        p = share[rows][0]
        z = (log.arm[rows].mean() - p) / np.sqrt(p * (1 - p) / rows.sum())
        assert abs(z) < 4


def test_evening_peak(log: RequestLog) -> None:
    seconds = log.frame["timestamp"].to_numpy().astype(np.int64) // 1_000_000 % DAY_SECONDS
    by_hour = np.bincount(seconds // 3600, minlength=24)
    assert 18 <= by_hour.argmax() <= 23
    assert 3 < by_hour.max() / by_hour.min() < 5


def test_rolling_out_the_logging_probabilities_gives_the_log() -> None:
    params = FeedParams(request_share=(0.15,))
    log = simulate(3000, seed=5, rate=10, params=params)
    rolled = roll_out(Random(0.15), 3000, seed=5, rate=10, params=params)
    assert rolled.decision_points == len(log)
    assert rolled.n_requests == log.arm.sum()
    assert rolled.purchase_10 == pytest.approx(log.outcome().mean(), abs=1e-12)


def test_expected_purchases_agree_with_realised_ones() -> None:
    rolled = roll_out(Never(), SESSIONS, seed=6, rate=10)
    rate, n = rolled.purchase_10, rolled.decision_points
    # Two overlapping decisions and sessions of one user: the design effect is below 10.
    assert abs(rate - rolled.expected_purchase_10) < 4 * np.sqrt(10 * rate / n)
    assert rolled.n_requests == 0
    assert rolled.n_pages >= rolled.n_sessions == SESSIONS > rolled.n_users
    assert list(rolled.to_frame()) == ["user_id", "purchases", "requests"]


@pytest.mark.parametrize(("one", "other"), [(Never(), Random(0.0)), (Always(), Random(1.0))])
def test_policies_that_never_differ_meet_the_same_luck(one: Random, other: Random) -> None:
    first, second = (roll_out(policy, 2000, seed=7) for policy in (one, other))
    pd.testing.assert_frame_equal(first.to_frame(), second.to_frame())
    assert first.purchase_10 == second.purchase_10


def test_luck_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = roll_out(Fixed(), 2500, seed=8)
    monkeypatch.setattr(play, "CHUNK_SESSIONS", 1000)
    pd.testing.assert_frame_equal(whole.to_frame(), roll_out(Fixed(), 2500, seed=8).to_frame())


def test_requests_help_every_session_where_nobody_is_disturbed() -> None:
    params = FeedParams(disturbed_share=0.0)
    gain = _always_minus_never(params)
    assert (gain >= 0).all()
    assert gain.mean() > 0
    uplift = _true_uplift(params)
    assert (uplift >= -1e-9).all()


def test_requests_harm_where_they_only_disturb() -> None:
    params = FeedParams(disturbed_share=0.5, refresh=0.0)
    gain = _always_minus_never(params)
    assert (gain <= 0).all()
    assert gain.mean() < 0
    uplift = _true_uplift(params)
    assert (uplift <= 1e-9).all()
    assert uplift.mean() < 0


def _always_minus_never(params: FeedParams) -> np.ndarray:
    always, never = (roll_out(p, 2000, seed=9, params=params) for p in (Always(), Never()))
    return always.purchases - never.purchases


def _true_uplift(params: FeedParams) -> np.ndarray:
    log = simulate(500, seed=9, params=params)
    return log.outcome("true_purchase_10_1") - log.outcome("true_purchase_10_0")


def test_policy_sees_the_columns_of_a_log_and_its_own_past(log: RequestLog) -> None:
    seen: list[pd.DataFrame] = []

    class Watching(Fixed):
        def prepare(self, log: RequestLog) -> np.ndarray:
            seen.append(log.frame)
            return super().prepare(log)

    rolled = roll_out(Watching(position=20), 500, seed=10)
    assert {*log.features, "session_id", "user_id", "timestamp"} <= set(seen[0])
    assert not any(c.startswith(("true_", "purchase_", "arm")) for c in seen[0])
    assert all(frame.dtypes[log.features].equals(log.frame[log.features].dtypes) for frame in seen)
    assert 0 < rolled.n_requests <= rolled.n_pages


def test_clicks_fall_inside_a_page_and_rise_after_its_request() -> None:
    curve = click_curve(30_000, seed=11)
    rate = curve.groupby(["page", curve["position"] // 10])["clicks"].sum()
    rate = rate / curve.groupby(["page", curve["position"] // 10])["views"].sum()
    assert rate[0, 0] > 1.5 * rate[0, 4]
    assert rate[1, 0] > 1.5 * rate[0, 4]
    assert rate[0, 0] > rate[1, 0] > rate[2, 0]
    assert curve["views"].iloc[0] == 30_000


def test_shape_is_near_the_published_one(log: RequestLog) -> None:
    none, request = (log.outcome(f"true_purchase_10_{arm}").mean() / 10 for arm in range(2))
    uplift = log.outcome("true_purchase_10_1") - log.outcome("true_purchase_10_0")
    best = np.sort(uplift)[::-1][: len(uplift) // 10].sum() / uplift.sum()
    assert 0.0007 < none < 0.0011
    assert 1.3 < request / none < 1.5
    assert 0.7 < best < 0.9
    assert 0.03 < (uplift < 0).mean() < 0.2


def test_progress_counts_the_sessions() -> None:
    calls: list[tuple[int, int]] = []
    simulate(1000, rate=10, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (1000, 1000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_sessions": 0}, "n_sessions is 0"),
        ({"n_sessions": 2.5}, "whole number"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"rate": 1e6}, "exceeds 1"),
        ({"days": 0}, "days is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_input_is_told_in_a_sentence(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulate(**({"n_sessions": 10} | arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments", [{"drift": 1.2}, {"leave": 0.0}, {"request_share": (0.0,)}, {"evening": 2.0}]
)
def test_bad_parameters_are_told(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        FeedParams(**arguments)  # type: ignore[arg-type]


def test_too_few_sessions_for_a_log() -> None:
    with pytest.raises(InputError, match="simulate more"):
        simulate(1, params=FeedParams(leave=1.0))


def test_a_last_chunk_without_decisions_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "CHUNK_SESSIONS", 1)
    log = simulate(60, rate=10)
    assert 2 <= log.frame["session_id"].nunique() < 60
