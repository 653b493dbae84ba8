import numpy as np
import pytest
from hypothesis import given, settings
from planner_problems import larger_problems, total_gain, violations

from policy.capacity import Capacity
from policy.planner.oracle import SessionOracle
from policy.planner.rounding import repair
from policy.planner.rows import Rows
from policy.problem import Demand, Limits


@settings(max_examples=150, deadline=None, derandomize=True)
@given(larger_problems)
def test_violates_nothing_from_any_prices(problem):
    demand, capacity, limits = problem
    rows = Rows.of(capacity, demand)
    oracle = SessionOracle(demand, limits, rows)
    for price in (0.0, 0.2, 1.0):
        prices = np.where(rows.limited, price, 0.0)
        planned = oracle.best_plans(rows.combined(prices), assign=True).arm
        before = planned.copy()
        arm = repair(demand, rows, limits, planned, prices)
        assert violations(*problem, arm) == []
        np.testing.assert_array_equal(planned, before)
        if not violations(*problem, planned):
            assert total_gain(demand, arm) >= total_gain(demand, planned) - 1e-9


def repaired(gain, cost, capacity, arm, total=None, **columns):
    demand, _ = Demand.from_points(gain, cost, **columns)
    rows = Rows.of(Capacity(np.asarray(capacity, dtype=float), total), demand)
    prices = np.append(np.ones(demand.n_windows), 0.0)
    return repair(demand, rows, Limits(per_session=1), np.asarray(arm, dtype=np.int8), prices)


def test_drops_the_least_gain_per_cost():
    np.testing.assert_array_equal(repaired([3.0, 1.0, 2.0], [1.0], [2], [1, 1, 1]), [1, 0, 1])


def test_free_requests_are_never_dropped():
    np.testing.assert_array_equal(
        repaired([[0.1], [5.0], [4.0]], [[0.0], [1.0], [1.0]], [1], [1, 1, 1]), [1, 1, 0]
    )


def test_total_weighs_what_the_windows_leave():
    # Equal gains; the request in the dearer window is given up. Window 1 has price 1 as window 0,
    # so the smaller gain goes.
    arm = repaired([3.0, 2.0], [1.0], [1, 1], [1, 1], total=1.0, window=[0, 1])
    np.testing.assert_array_equal(arm, [1, 0])


def test_fills_within_the_session_limits_and_with_better_arms():
    arm = repaired([3.0, 2.9, 1.0], [1.0], [2], [1, 0, 0], session=[0, 0, 1])
    np.testing.assert_array_equal(arm, [1, 0, 1])
    np.testing.assert_array_equal(repaired([[3.0, 5.0]], [1.0, 2.0], [2], [1]), [2])


def test_sums_of_decimals_fill_their_capacity():
    np.testing.assert_array_equal(repaired([1.0, 1.0, 1.0], [0.1], [0.3], [0, 0, 0]), [1, 1, 1])


@pytest.mark.parametrize("capacity", [[0.0, np.inf], [0.0, 5.0]])
def test_closed_windows_stay_closed(capacity):
    arm = repaired([1.0, 1.0], [1.0], capacity, [1, 1], window=[0, 1])
    np.testing.assert_array_equal(arm, [0, 1])
