import numpy as np
import pytest
from hypothesis import assume, given, settings
from planner_problems import (
    FEED_LIMITS,
    assignments,
    feed,
    problems,
    small_hard_problems,
    total_gain,
    violations,
)

from policy.capacity import Capacity
from policy.planner.decomposition import solve_decomposition
from policy.planner.ends import least_requests, worth_a_price
from policy.problem import Demand, Limits
from uplift.errors import InputError

some = settings(max_examples=80, deadline=None, derandomize=True)


def requests(demand, arm):
    return sum(demand.cost[i, a - 1] for i, a in enumerate(arm) if a > 0)


@some
@given(problems)
def test_least_requests_bracket_the_least_of_all_assignments(problem):
    demand = problem[0]
    allowed = [arm for arm in assignments(demand) if not violations(*problem, arm)]
    most = solve_decomposition(*problem)
    assume(most.gain > 0.1)
    wanted = 0.7 * most.gain
    found = least_requests(*problem, wanted)
    least = min(requests(demand, arm) for arm in allowed if total_gain(demand, arm) >= wanted)
    assert violations(*problem, found.solution.arm) == []
    assert total_gain(demand, found.solution.arm) >= wanted
    assert found.lower_bound <= least + 1e-9
    assert least <= found.requests + 1e-9


def test_least_requests_of_a_day_are_certified():
    problem = feed(20_000), Capacity(np.full(24, 400.0)), FEED_LIMITS
    most = solve_decomposition(*problem)
    found = least_requests(*problem, 0.8 * most.gain)
    assert violations(*problem, found.solution.arm) == []
    assert found.solution.gain >= 0.8 * most.gain
    assert found.gap <= 1e-3
    assert found.requests < 0.8 * most.total_spend
    assert found.solves <= 12


@some
@given(small_hard_problems)
def test_requests_worth_a_price_are_the_best_of_all_assignments(problem):
    demand, capacity, _ = problem
    assume(capacity.least is None)
    price = 0.4
    solution = worth_a_price(*problem, price)

    def net(arm):
        return total_gain(demand, arm) - price * requests(demand, arm)

    best = max(net(arm) for arm in assignments(demand) if not violations(*problem, arm))
    assert violations(*problem, solution.arm) == []
    assert solution.gain == pytest.approx(total_gain(demand, solution.arm))
    assert net(solution.arm) <= best + 1e-9
    assert best <= solution.upper_bound - price * solution.total_spend + 1e-9


def test_a_price_alone_takes_what_gains_more():
    demand, _ = Demand.from_points([3.0, 1.0, 2.0, -1.0], [1.0])
    solution = worth_a_price(demand, Capacity(np.array([np.inf])), Limits(), 1.0)
    np.testing.assert_array_equal(solution.arm, [1, 0, 1, 0])
    assert solution.reason == "the budget does not bind"
    assert solution.window_price == pytest.approx([1.0])


@pytest.mark.parametrize("gain", [0.0, -1.0, np.nan, np.inf])
def test_a_gain_that_is_none_is_told(gain):
    with pytest.raises(InputError, match="the gain to reach is"):
        least_requests(feed(10), Capacity(np.full(24, 10.0)), Limits(), gain)


def test_a_gain_out_of_reach_is_told():
    with pytest.raises(InputError, match="brings at most"):
        least_requests(feed(10), Capacity(np.full(24, 10.0)), Limits(), 1e6)


@pytest.mark.parametrize("price", [-1.0, np.nan, np.inf])
def test_a_price_that_is_none_is_told(price):
    with pytest.raises(InputError, match="the price is"):
        worth_a_price(feed(10), Capacity(np.full(24, 10.0)), Limits(), price)
