import numpy as np
import pytest
from hypothesis import given, settings
from planner_problems import (
    brute_force,
    larger_problems,
    problems,
    random_problem,
    total_gain,
    violations,
)

from policy.capacity import Capacity
from policy.planner.exact import solve_exact
from policy.problem import Demand, Limits
from uplift.errors import InputError

few = settings(max_examples=60, deadline=None, derandomize=True)


@few
@given(problems)
def test_equals_the_best_of_all_assignments(problem):
    solution = solve_exact(*problem)
    assert solution.gain == pytest.approx(brute_force(*problem), abs=1e-9)
    assert solution.upper_bound == pytest.approx(solution.gain, abs=1e-6)
    assert violations(*problem, solution.arm) == []


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_best_of_all_assignments_with_two_arms(seed):
    problem = random_problem(seed, points=6, arms=2)
    assert solve_exact(*problem).gain == pytest.approx(brute_force(*problem), abs=1e-9)


@few
@given(larger_problems)
def test_figures_follow_from_the_assignment(problem):
    demand, _, _ = problem
    solution = solve_exact(*problem)
    assert violations(*problem, solution.arm) == []
    assert solution.gain == pytest.approx(total_gain(demand, solution.arm))
    chosen = [(i, a) for i, a in enumerate(solution.arm) if a > 0]
    spent = sum(demand.cost[i, a - 1] for i, a in chosen)
    assert solution.total_spend == pytest.approx(spent)
    assert solution.gap <= 1e-6
    assert (solution.window_price >= 0).all()


@few
@given(larger_problems)
def test_doubling_the_budget_never_lowers_the_gain(problem):
    demand, capacity, limits = problem
    total = None if capacity.total is None else 2 * capacity.total
    twice = solve_exact(demand, Capacity(2 * capacity.window, total), limits)
    assert twice.gain >= solve_exact(*problem).gain - 1e-9


def test_prices_are_the_duals_of_the_relaxation():
    # Capacity for 2.5 of the gains 3, 2, 1 at a cost of a half: one more unit is worth two of the
    # last, half served gain.
    demand, _ = Demand.from_points([3.0, 2.0, 1.0], [0.5])
    solution = solve_exact(demand, Capacity(np.array([1.25])), Limits())
    assert solution.price == pytest.approx([2.0])
    assert solution.total_price == 0.0
    solution = solve_exact(demand, Capacity(np.array([np.inf]), 0.75), Limits())
    assert solution.price == pytest.approx([0.0])
    assert solution.total_price == pytest.approx(4.0)
    assert solution.reason == "proved optimal"


def test_time_limit_still_gives_a_certified_assignment():
    problem = random_problem(3, points=2000, arms=2, windows=12, sessions=200, whole_costs=False)
    solution = solve_exact(*problem, time_limit=0.01)
    assert violations(*problem, solution.arm) == []
    assert 0 < solution.gain <= solution.upper_bound < np.inf
    assert solution.reason in ("time limit", "proved optimal")


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_scale_of_gain_and_cost_does_not_matter(scale):
    demand, capacity, limits = random_problem(5, points=40, windows=2, sessions=8)
    total = None if capacity.total is None else capacity.total * scale
    scaled = Demand(
        demand.gain * scale,
        demand.cost * scale,
        demand.window,
        demand.n_windows,
        demand.session_start,
        demand.page,
        demand.slot,
    )
    plain = solve_exact(demand, capacity, limits)
    other = solve_exact(scaled, Capacity(capacity.window * scale, total), limits)
    assert other.gain == pytest.approx(plain.gain * scale)


def test_bad_input_is_told():
    demand, capacity, limits = random_problem(0)
    with pytest.raises(InputError, match="time_limit is 0"):
        solve_exact(demand, capacity, limits, time_limit=0)
    with pytest.raises(InputError, match="The budget has 1 windows and the demand has 3"):
        solve_exact(demand, Capacity(np.array([1.0])), limits)
