"""Prices at which the rule spends the budget, and the rule's fast way through a log."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_eval.feed import roll_out, simulate
from offline_eval.policies import walk
from policy.budget import Budget
from policy.capacity import Capacity, Service
from policy.feedback import Logged
from policy.induction import induce
from policy.places import Places
from policy.plan import plan_requests
from policy.problem import Demand, Limits
from policy.tuning import RuleWalk, tune, tune_in_service
from uplift.clusters import ratio_estimate
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.schema import LogSchema
from uplift.scores import Scores

QUARTER_DAY = 21_600.0
SESSIONS = 40_000
LIMITS = [
    Limits(),
    Limits(per_session=1),
    Limits(per_page=1),
    Limits(per_page=2, min_gap=10),
    Limits(per_session=2, min_gap=20),
]


def log_of(rng, n=60, sessions=8, arms=1, ties=False):
    """Return a log without arms that the rule can be led through, and its gains."""
    gain = rng.normal(0.3, 1.0, (n, arms))
    gain = np.round(gain) if ties else gain
    slot = rng.choice(120, n, replace=False)
    frame = pd.DataFrame({"f_x": np.zeros(n), "session_id": rng.integers(0, sessions, n)})
    frame["page"], frame["position"] = slot // 50, slot % 50
    frame["timestamp"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(
        rng.integers(0, 86_400, n), unit="s"
    )
    cost = tuple(float(a + 1) for a in range(arms))
    names = ("none", *(f"arm_{a}" for a in range(arms)))
    schema = LogSchema(names, (0.0, *cost), ("y",), "y", ("f_*",))
    return RequestLog.unchecked(frame, schema), gain, cost


def laid_out(log, gain, cost):
    windows = log.windows(QUARTER_DAY)
    order = log.session_order
    demand = Demand(
        gain=gain[order],
        cost=np.broadcast_to(np.array(cost), gain.shape),
        window=windows.index[order],
        n_windows=len(windows.start),
        session_start=np.searchsorted(log.session[order], np.arange(log.session.max() + 2)),
        page=log.page[order],
        slot=log.slot[order],
    )
    return demand, order


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 2),
    st.booleans(),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 2),
    st.integers(0, 30),
)
def test_the_fast_way_is_the_rule_s(seed, arms, ties, per_session, per_page, min_gap):
    rng = np.random.default_rng(seed)
    log, gain, cost = log_of(rng, arms=arms, ties=ties)
    limits = Limits(per_session, per_page, min_gap)
    plan = plan_requests(
        Scores(log, np.column_stack([np.zeros(len(log)), gain])),
        Budget.share(0.1),
        limits,
        window_seconds=QUARTER_DAY,
    )
    plan = plan.at_price(float(rng.choice([0.0, 0.4, 1.0])))  # no tie is taken
    pi = walk(plan.rule(lambda log: gain, "plan"), log)
    demand, order = laid_out(log, gain, cost)
    places = Places.of(log.page, log.slot % 50)
    place = places.index(log.page, log.slot % 50)[order]
    table = induce(demand, place, places, limits)
    fast = RuleWalk(demand, place, table, limits)
    done = fast.spending(plan.price, np.zeros(4))
    spent = np.bincount(log.windows(QUARTER_DAY).index, pi[:, 1:] @ np.array(cost), 4)
    assert done.spend == pytest.approx(spent)
    assert done.gain == pytest.approx((pi[:, 1:] * gain).sum())
    arm, asked = fast.choices(plan.price, np.zeros(4))
    assert asked == pytest.approx(1 - pi[order, 0])
    assert (arm[asked > 0] == pi[order].argmax(axis=1)[asked > 0]).all()
    few = fast.above(0.9 * plan.price).spending(plan.price, np.zeros(4))
    assert (few.spend == done.spend).all()


@pytest.mark.parametrize("limits", LIMITS)
def test_the_rule_spends_each_window_s_capacity(feed_scores, limits):
    bare = Scores(without_arms(feed_scores.log), feed_scores.outcome)
    plan = plan_requests(bare, Budget.qps_share(0.1), limits, window_seconds=QUARTER_DAY)
    assert plan.feedback is None
    binds = plan.price > 0
    assert binds.any()
    # One request, or a tie that limits remember, is a step of the spend.
    assert plan.rule_spend[binds] == pytest.approx(plan.capacity[binds], abs=1.0)
    assert (plan.rule_spend[~binds] <= plan.capacity[~binds]).all()


@pytest.mark.parametrize("limits", LIMITS)
def test_the_rule_spends_a_total(feed_scores, limits):
    bare = Scores(without_arms(feed_scores.log), feed_scores.outcome)
    plan = plan_requests(bare, Budget.requests(400), limits, window_seconds=QUARTER_DAY)
    assert np.ptp(plan.price) == 0
    assert plan.rule_spend.sum() == pytest.approx(400, abs=1.0)


def test_a_total_and_windows_bind_together(feed_scores):
    log, gain = feed_scores.log, feed_scores.uplift
    demand, order = laid_out(log, gain, (1.0,))
    places = Places.of(log.page, log.slot % 50)
    place = places.index(log.page, log.slot % 50)[order]
    fast = RuleWalk(demand, place, induce(demand, place, places, Limits()), Limits())
    capacity = Capacity(np.array([np.inf, 30.0, np.inf, np.inf]), 500.0)
    price, share = tune(fast, capacity)
    spend = fast.spending(price, share).spend
    assert spend[1] == pytest.approx(30, abs=1e-3)
    assert spend.sum() == pytest.approx(500, abs=1e-3)
    assert price[1] > price[0] == price[2] == price[3] > 0


def test_a_budget_larger_than_all_demand_costs_nothing(feed_scores):
    plan = plan_requests(feed_scores, Budget.requests(1e9), Limits(per_page=1))
    assert not plan.price.any()
    wanted = plan.rule_spend.sum()
    assert 0 < wanted < (feed_scores.uplift > 0).sum()


def test_points_of_equal_gain_are_shared_under_limits_too():
    """All gain the same; a request a session: whoever waits gains nothing by it."""
    n = 4000
    frame = pd.DataFrame({"f_x": np.zeros(n), "session_id": np.arange(n) // 4})
    frame["page"], frame["position"] = 0, np.arange(n) % 4
    schema = LogSchema(("none", "request"), (0.0, 1.0), ("y",), "y", ("f_*",), page_length=4)
    scores = Scores(RequestLog.unchecked(frame, schema), np.tile([0.0, 0.5], (n, 1)))
    plan = plan_requests(scores, Budget.requests(300), Limits(per_session=1))
    assert plan.rule_spend.sum() == pytest.approx(300, abs=1.0)
    assert plan.price == pytest.approx(0.5, rel=3e-3)


def test_a_closed_window_gets_nothing(feed_scores):
    log, gain = feed_scores.log, feed_scores.uplift
    demand, _ = laid_out(log, gain, (1.0,))
    place = np.zeros(len(log), np.int64)
    table = induce(demand, place, Places(1, np.zeros(1, np.int64)), Limits())
    fast = RuleWalk(demand, place, table, Limits())
    price, share = tune(fast, Capacity(np.array([np.inf, 0.0, 50.0, np.inf])))
    assert fast.spending(price, share).spend[1] == pytest.approx(0, abs=1e-6)
    assert price[[0, 3]].tolist() == [0.0, 0.0]


def test_nothing_to_gain_spends_nothing():
    demand = Demand(
        gain=np.array([[-1.0], [0.0]]),
        cost=np.ones((2, 1)),
        window=np.zeros(2, np.int32),
        n_windows=1,
        session_start=np.array([0, 2]),
        page=np.zeros(2, np.int32),
        slot=np.arange(2),
    )
    place, places = np.zeros(2, np.int64), Places(1, np.zeros(1, np.int64))
    fast = RuleWalk(demand, place, induce(demand, place, places, Limits(1)), Limits(1))
    price, share = tune(fast, Capacity(np.ones(1)))
    assert (price.tolist(), fast.spending(price, share).gain) == ([0.0], 0.0)


def two_points(gain):
    return Demand(
        gain=np.array(gain),
        cost=np.broadcast_to(np.array([0.0, 1.0]), (2, 2)),
        window=np.zeros(2, np.int32),
        n_windows=1,
        session_start=np.array([0, 2]),
        page=np.zeros(2, np.int32),
        slot=np.arange(2),
    )


def test_forbidden_arms_are_not_given():
    demand = two_points([[-np.inf, 2.0], [0.5, -np.inf]])
    place, places = np.zeros(2, np.int64), Places(1, np.zeros(1, np.int64))
    table = induce(demand, place, places, Limits(per_session=1))
    assert np.isfinite(table.value).all()
    fast = RuleWalk(demand, place, table, Limits(per_session=1))
    assert fast.highest().tolist() == [2.0]
    price, share = tune(fast, Capacity(np.ones(1)))
    arm, asked = fast.choices(price, share)
    assert (arm[0], asked.tolist()) == (2, [1.0, 0.0])


@pytest.mark.parametrize("more", [{"least": np.ones(1)}, {"services": (Service((1,), total=3),)}])
def test_rows_that_one_price_cannot_meet_are_refused(more):
    demand, place = two_points(np.ones((2, 2))), np.zeros(2, np.int64)
    table = induce(demand, place, Places(1, np.zeros(1, np.int64)), Limits())
    fast = RuleWalk(demand, place, table, Limits())
    with pytest.raises(InputError, match="services or least requests, expected windows and a"):
        tune(fast, Capacity(np.full(1, 2.0), **more))


def test_in_service_the_feedback_meets_the_capacity(feed_scores):
    log, gain = feed_scores.log, feed_scores.uplift
    demand, order = laid_out(log, gain, (1.0,))
    place, places = np.zeros(len(log), np.int64), Places(1, np.zeros(1, np.int64))
    fast = RuleWalk(demand, place, induce(demand, place, places, Limits()), Limits())
    capacity = Capacity(np.full(4, np.inf), 600.0)
    tuned = tune(fast, capacity)
    logged = Logged.of(log, order, demand.session_start)
    assert logged is not None
    price, share, feedback = tune_in_service(fast, capacity, logged, demand.cost, tuned)
    aim = 600 / feedback.value if not feedback.lower <= 1 <= feedback.upper else 600
    assert fast.spending(price, share).spend.sum() == pytest.approx(aim, rel=0.02)


def without_arms(log):
    return RequestLog.unchecked(log.frame.drop(columns=["arm", "propensity"]), log.schema)


def handmade(log):
    """(n, 1) gains by a formula: who carts and skips has both an intent and the wrong items."""
    columns = ("f_carts_5", "f_carts_20", "f_skips_20")
    carts_5, carts_20, skips = (log.frame[c].to_numpy(dtype=np.float64) for c in columns)
    noise = log.frame["f_noise_user"].to_numpy(dtype=np.float64)
    return ((0.2 + carts_5 + carts_20) * skips + 0.1 * noise)[:, None]


def scored(log, silent=False):
    """Return handmade scores; silent, of a log that does not tell what it did."""
    kept = without_arms(log) if silent else log
    return Scores(kept.keys(), np.column_stack([np.zeros(len(log)), handmade(log)]))


@pytest.fixture(scope="module")
def to_plan():
    return simulate(SESSIONS, seed=21)


@pytest.fixture(scope="module")
def fresh():
    return simulate(SESSIONS, seed=22)


def error_of(estimate):
    return (estimate.upper - estimate.lower) / 2 / 1.96


def rolled_spend(plan):
    """Return spend over the budget of as many sessions, rolled out on fresh users."""
    out = roll_out(plan.rule(handmade, "plan"), SESSIONS, seed=23)
    budget = np.full(SESSIONS, plan.capacity.sum() / SESSIONS)
    user = np.unique(out.user_id, return_inverse=True)[1]
    return ratio_estimate(out.requests.astype(float), budget, user)


BINDING = [Limits(per_page=1), Limits(per_session=1), Limits(per_session=2, min_gap=20)]


@pytest.mark.slow
@pytest.mark.parametrize("limits", [Limits(), *BINDING])
def test_fresh_sessions_spend_the_budget(to_plan, fresh, limits):
    """Led through fresh logged sessions; the prices come from as large a log, with its errors."""
    plan = plan_requests(scored(to_plan, silent=True), Budget.qps_share(0.125), limits)
    asked = walk(plan.rule(handmade, "plan"), fresh)[:, 1]
    spend = ratio_estimate(asked, fresh.page_starts * 0.125, fresh.cluster)
    planned = plan.rule_spend.sum() / plan.capacity.sum()
    assert planned == pytest.approx(1, abs=2e-3) or (plan.price == 0).any()
    assert abs(spend.value - planned) < 3 * np.sqrt(2) * error_of(spend)
    assert error_of(spend) < 0.025


@pytest.mark.slow
@pytest.mark.parametrize("limits", [Limits(), Limits(per_page=1), Limits(per_page=2, min_gap=10)])
def test_rolled_out_on_fresh_users_the_rule_spends_the_budget(to_plan, limits):
    """Within three standard errors and the 3 % by which a feedback that is cut short may be off."""
    plan = plan_requests(scored(to_plan), Budget.qps_share(0.125), limits)
    spend = rolled_spend(plan)
    uncertain = np.hypot(np.sqrt(2) * error_of(spend), error_of(plan.feedback))
    assert abs(spend.value - 1) < 3 * uncertain + 0.03


@pytest.mark.slow
def test_feedback_is_what_keeps_the_budget(to_plan):
    """One request a page: without the feedback the spend is off by many standard errors."""
    plan = plan_requests(scored(to_plan, silent=True), Budget.qps_share(0.125), Limits(per_page=1))
    spend = rolled_spend(plan)
    assert abs(spend.value - 1) > 5 * np.sqrt(2) * error_of(spend)


@pytest.mark.slow
def test_where_only_the_budget_limits_the_rule_is_near_hindsight(to_plan, fresh):
    """At least 0.95 of the hindsight optimum of the fresh log, at about its budget."""
    best = plan_requests(scored(fresh), Budget.qps_share(0.125))
    plan = plan_requests(scored(to_plan, silent=True), Budget.qps_share(0.125))
    asked = walk(plan.rule(handmade, "plan"), fresh)[:, 1]
    assert asked.sum() == pytest.approx(best.spend.sum(), rel=0.05)
    assert asked @ handmade(fresh)[:, 0] > 0.95 * best.gain


@pytest.mark.slow
@pytest.mark.parametrize("limits", BINDING[:2])
def test_where_limits_bind_the_reserve_gains_more_than_a_threshold(to_plan, fresh, limits):
    """On fresh sessions, with no more requests; paired by user."""
    asked = []
    for keeps in (True, False):
        plan = plan_requests(
            scored(to_plan, silent=True), Budget.qps_share(0.125), limits, reserve=keeps
        )
        asked.append(walk(plan.rule(handmade, "plan"), fresh)[:, 1])
    more, ones = asked[0] - asked[1], np.ones(len(fresh))
    assert ratio_estimate(more * handmade(fresh)[:, 0], ones, fresh.cluster).lower > 0
    assert ratio_estimate(more, ones, fresh.cluster).lower <= 0
