"""The way in, against judges: all assignments, and branch and bound, over thousands of problems."""

import numpy as np
import pytest
from planner_problems import (
    FEED_LIMITS,
    brute_force,
    day_budget,
    feed,
    hard_problem,
    random_problem,
    violations,
)

from policy.capacity import Capacity, Service
from policy.planner.decomposition import solve_decomposition
from policy.planner.exact import solve_exact
from policy.planner.solve import solve
from policy.problem import Limits
from uplift.errors import InputError


def check_bracket(problem, best):
    """`best` is the best gain of all assignments, minus infinity where none is allowed."""
    if best == -np.inf:
        with pytest.raises(InputError, match="must get"):
            solve(*problem)
        return
    solution = solve(*problem)
    assert violations(*problem, solution.arm) == []
    assert solution.gain <= best + 1e-9
    assert best <= solution.upper_bound + 1e-9
    assert solution.reason != "gap reached" or solution.gap <= 1e-4


def drawn_problem(rng, make):
    return make(
        int(rng.integers(10**9)),
        points=int(rng.integers(2, 80)),
        arms=int(rng.integers(1, 4)),
        windows=int(rng.integers(1, 7)),
        sessions=int(rng.integers(1, 20)),
        whole_costs=bool(rng.integers(2)),
        ties=bool(rng.integers(2)),
    )


def exact_gain(problem):
    try:
        return solve_exact(*problem).gain
    except InputError:
        return -np.inf


@pytest.mark.slow
@pytest.mark.parametrize("make", [random_problem, hard_problem])
def test_brackets_branch_and_bound(make):
    rng = np.random.default_rng(0)
    for _ in range(1000):
        problem = drawn_problem(rng, make)
        check_bracket(problem, exact_gain(problem))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_brackets_all_assignments_of_twelve_points(seed):
    problem = hard_problem(seed, points=12, arms=1, windows=3, sessions=4)
    check_bracket(problem, brute_force(*problem))


@pytest.mark.parametrize("limits", [Limits(), FEED_LIMITS])
@pytest.mark.parametrize("arms", [1, 2])
def test_brackets_branch_and_bound_of_20_000_points(arms, limits):
    demand, budget = feed(1_000, arms=arms), day_budget(1_000)
    service = Service((arms,), total=200.0)
    for capacity in (budget, Capacity(budget.window, budget.total, services=(service,))):
        found, exact = (f(demand, capacity, limits) for f in (solve, solve_exact))
        assert violations(demand, capacity, limits, found.arm) == []
        assert found.gap <= 1e-3
        assert found.gain <= exact.upper_bound * (1 + 1e-9)
        assert exact.gain <= found.upper_bound * (1 + 1e-9)


def test_solve_takes_the_hull_where_it_can():
    demand, capacity = feed(2_000), day_budget(2_000)
    seen = []
    solution = solve(demand, capacity, progress=lambda *state: seen.append(state))
    assert seen == [(1, solution.upper_bound, solution.gain)]
    options = {"gap": 1e-3, "start": solution.prices}
    limited = solve(demand, capacity, FEED_LIMITS, **options)
    expected = solve_decomposition(demand, capacity, FEED_LIMITS, **options)
    np.testing.assert_array_equal(limited.arm, expected.arm)
    service = Capacity(capacity.window, services=(Service((1,), total=300.0),))
    assert solve(demand, service).gap <= 1e-3
