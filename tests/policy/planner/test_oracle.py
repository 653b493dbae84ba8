import numpy as np
import pytest
from planner_problems import (
    FEED_LIMITS,
    assignments,
    feed,
    random_problem,
    session_violations,
)

from policy.planner.oracle import SessionOracle
from policy.problem import Demand, Limits


def net(demand, price, arm):
    return sum(
        demand.gain[i, a - 1] - price[demand.window[i]] * demand.cost[i, a - 1]
        for i, a in enumerate(arm)
        if a > 0
    )


@pytest.mark.parametrize("seed", range(40))
def test_best_plan_of_a_session(seed):
    demand, _, limits = random_problem(seed, points=7, arms=1 + seed % 2, sessions=1)
    price = np.random.default_rng(seed).uniform(0, 0.5, demand.n_windows)
    plans = SessionOracle(demand, limits).best_plans(price)
    allowed = [
        a
        for a in assignments(demand)
        if not session_violations(demand, limits, 0, np.flatnonzero(a))
    ]
    best = max(net(demand, price, arm) for arm in allowed)
    assert net(demand, price, plans.arm) == pytest.approx(best)
    assert session_violations(demand, limits, 0, np.flatnonzero(plans.arm)) == []
    assert plans.gain.sum() - price @ plans.spend() == pytest.approx(best)


def test_groups_are_the_windows_of_the_first_points():
    demand, _ = Demand.from_points(
        [1.0, 2.0, 4.0], [1.0], session=[0, 0, 1], window=[1, 0, 2], slot=[0, 1, 0]
    )
    plans = SessionOracle(demand, Limits()).best_plans(np.zeros(3))
    np.testing.assert_array_equal(plans.gain, [0, 3, 4])
    group, window, requests = plans.entries()
    assert list(zip(group, window, requests, strict=True)) == [(1, 0, 1), (1, 1, 1), (2, 2, 1)]


def test_ties_go_to_no_request_then_to_the_smaller_arm():
    demand, _ = Demand.from_points([[1.0, 1.0], [2.0, 3.0]], [1.0, 2.0])
    price = np.array([1.0])
    np.testing.assert_array_equal(SessionOracle(demand, Limits()).best_plans(price).arm, [0, 1])


def test_threads_do_not_change_a_bit():
    demand = feed(20_000)
    price = np.full(24, 0.015)
    one, four = (SessionOracle(demand, FEED_LIMITS, threads=t).best_plans(price) for t in (1, 4))
    np.testing.assert_array_equal(one.arm, four.arm)
    np.testing.assert_array_equal(one.gain, four.gain)
    np.testing.assert_array_equal(one.usage, four.usage)


def test_ceilings_leave_nothing_but_free_arms():
    demand, _, limits = random_problem(3, points=50, arms=2)
    oracle = SessionOracle(demand, limits)
    assert not oracle.best_plans(oracle.ceilings()).spend().any()
