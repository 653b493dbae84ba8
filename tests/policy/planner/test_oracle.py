import numpy as np
import pytest
from planner_problems import (
    FEED_LIMITS,
    assignments,
    feed,
    hard_problem,
    random_problem,
    session_violations,
)

from policy.capacity import Capacity, Service
from policy.planner.oracle import SessionOracle
from policy.planner.rows import Rows
from policy.problem import Demand, Limits


def oracle_of(demand, limits, services=(), **options):
    unlimited = Capacity(np.full(demand.n_windows, np.inf), services=services)
    return SessionOracle(demand, limits, Rows.of(unlimited, demand), **options)


def net(demand, price, arm):
    """Gain less what is paid at prices of windows and arms, (W, A)."""
    return sum(
        demand.gain[i, a - 1] - price[demand.window[i], a - 1] * demand.cost[i, a - 1]
        for i, a in enumerate(arm)
        if a > 0
    )


@pytest.mark.parametrize("seed", range(60))
def test_best_plan_of_a_session(seed):
    """At prices of windows, or of windows and arms; some of them subsidies."""
    demand, _, limits = hard_problem(seed, points=7, arms=1 + seed % 2, sessions=1)
    service = (Service((1,)),) if seed % 3 else ()
    width = demand.n_arms if service else 1
    price = np.random.default_rng(seed).uniform(-0.3, 0.5, (demand.n_windows, width))
    plans = oracle_of(demand, limits, service).best_plans(price, assign=True)
    paid = np.broadcast_to(price, (demand.n_windows, demand.n_arms))
    allowed = [
        a
        for a in assignments(demand)
        if not session_violations(demand, limits, 0, np.flatnonzero(a))
    ]
    best = max(net(demand, paid, arm) for arm in allowed)
    assert net(demand, paid, plans.arm) == pytest.approx(best)
    assert session_violations(demand, limits, 0, np.flatnonzero(plans.arm)) == []
    assert plans.gain.sum() - (price * plans.spend()).sum() == pytest.approx(best)


def test_groups_are_the_windows_of_the_first_points():
    demand, _ = Demand.from_points(
        [1.0, 2.0, 4.0], [1.0], session=[0, 0, 1], window=[1, 0, 2], slot=[0, 1, 0]
    )
    plans = oracle_of(demand, Limits()).best_plans(np.zeros(3))
    np.testing.assert_array_equal(plans.gain, [0, 3, 4])
    group, window, requests = plans.entries()
    assert list(zip(group, window, requests, strict=True)) == [(1, 0, 1), (1, 1, 1), (2, 2, 1)]


def test_ties_go_to_no_request_then_to_the_smaller_arm():
    demand, _ = Demand.from_points([[1.0, 1.0], [2.0, 3.0]], [1.0, 2.0])
    price = np.array([1.0])
    np.testing.assert_array_equal(
        oracle_of(demand, Limits()).best_plans(price, assign=True).arm, [0, 1]
    )


def test_threads_do_not_change_a_bit():
    demand = feed(20_000)
    price = np.full(24, 0.015)
    one, four = (
        oracle_of(demand, FEED_LIMITS, threads=t).best_plans(price, assign=True) for t in (1, 4)
    )
    np.testing.assert_array_equal(one.arm, four.arm)
    np.testing.assert_array_equal(one.gain, four.gain)
    np.testing.assert_array_equal(one.usage, four.usage)


def test_ceilings_leave_nothing_but_free_arms():
    demand, _, limits = random_problem(3, points=50, arms=2)
    oracle = oracle_of(demand, limits)
    assert not oracle.best_plans(oracle.ceilings()).spend().any()
