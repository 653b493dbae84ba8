from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_problems import (
    FEED_LIMITS,
    brute_force,
    day_budget,
    feed,
    hard_problems,
    larger_problems,
    small_hard_problems,
    total_gain,
    violations,
)
from scipy import sparse

from policy.capacity import Capacity, Service
from policy.planner import steps
from policy.planner.curve import MOST_BREAKPOINTS, budget_curve
from policy.planner.decomposition import solve_decomposition
from policy.planner.exact import solve_exact
from policy.planner.hull import solve_hull
from policy.planner.linear import Programme, solve_linear
from policy.planner.rows import Rows
from policy.planner.solve import solve
from policy.problem import Demand, Limits
from uplift.errors import InputError

many = settings(max_examples=200, deadline=None, derandomize=True)
REASONS = ("the budget does not bind", "gap reached", "prices are optimal: what is left of the gap")


def on_their_own(problem):
    """The same points without what needs the decomposition: windows and a total are left."""
    demand, capacity, _ = problem
    return demand, Capacity(capacity.window + (not capacity.window.any()), capacity.total), Limits()


small_problems = small_hard_problems.map(on_their_own)
hull_problems = st.one_of(larger_problems, hard_problems).map(on_their_own)


def check_certificate(problem, solution):
    assert violations(*problem, solution.arm) == []
    assert solution.gain == pytest.approx(total_gain(problem[0], solution.arm), abs=1e-9)
    assert solution.gain <= solution.upper_bound
    assert solution.iterations == 1
    assert solution.reason.startswith(REASONS)
    assert (solution.reason == "the budget does not bind") == (not solution.window_price.any())
    if solution.reason == "gap reached":
        assert solution.gap <= 1e-4


def relaxation(demand, capacity):
    """Optimum of the linear relaxation, by GLOP."""
    rows = Rows.of(capacity, demand)
    n, arms = demand.gain.shape
    known = np.isfinite(demand.gain).ravel()
    column, variables = np.repeat(demand.window, arms), np.arange(n * arms)
    places = (demand.cost.ravel(), (column, variables))
    budget = rows.member @ sparse.csr_array(places, shape=(demand.n_windows, n * arms))
    one = sparse.csr_array((np.ones(n * arms), (variables // arms, variables)))
    upper = np.concatenate((rows.upper, np.ones(n)))
    objective = np.where(known, demand.gain.ravel(), 0.0).astype(np.float64)
    matrix = sparse.vstack((budget, one), format="csr")
    bounds = (np.zeros(n * arms), known.astype(np.float64), matrix, np.full(upper.size, -np.inf))
    return solve_linear(Programme(objective, *bounds, upper, maximize=True)).bound


@many
@given(small_problems)
def test_brackets_the_best_of_all_assignments(problem):
    solution = solve_hull(*problem)
    check_certificate(problem, solution)
    best = brute_force(*problem)
    assert solution.gain <= best + 1e-9
    assert best <= solution.upper_bound + 1e-9


@many
@given(hull_problems)
def test_brackets_the_exact_answer(problem):
    solution, exact = solve_hull(*problem), solve_exact(*problem)
    check_certificate(problem, solution)
    assert solution.gain <= exact.gain + 1e-9
    assert exact.gain <= solution.upper_bound + 1e-9


@many
@given(hull_problems, st.sampled_from([0, steps.FEW]))
def test_bound_is_the_linear_relaxation(problem, few):
    with patch.object(steps, "FEW", few):  # 0: steps of one bin are taken as one
        solution = solve_hull(*problem)
    assert solution.upper_bound == pytest.approx(relaxation(*problem[:2]), rel=1e-6, abs=1e-9)


@many
@given(hull_problems)
def test_curve_is_the_bound_of_every_total(problem):
    demand, capacity, _ = problem
    curve = budget_curve(*problem)
    assert curve.requests[0] == 0
    assert (np.diff(curve.requests) > 0).all()
    assert (np.diff(curve.price) <= 0).all()
    assert curve.price[-1] == 0
    whole = (demand.cost == np.floor(demand.cost)).all()
    for total in np.linspace(0, 1.1 * curve.requests[-1], 7)[1:]:
        total = max(np.floor(total), 1.0) if whole else total
        solution = solve_hull(demand, capacity.with_total(float(total) or 1.0))
        worth = curve.at(total or 1.0)
        assert worth == pytest.approx(solution.upper_bound, rel=1e-6, abs=1e-9)


def test_curve_by_hand():
    gain = [[3.0, 4.0], [1.0, 3.5], [0.5, -np.inf], [-1.0, -2.0]]
    demand, _ = Demand.from_points(gain, [1.0, 2.0])
    curve = budget_curve(demand, Capacity(np.array([np.inf]), total=1.0))
    # 3 for one request, then 1.75 twice, then 1, then 0.5.
    np.testing.assert_allclose(curve.requests, [0, 1, 3, 4, 5])
    np.testing.assert_allclose(curve.gain, [0, 3, 6.5, 7.5, 8])
    np.testing.assert_allclose(curve.price, [3, 1.75, 1, 0.5, 0])
    np.testing.assert_allclose(curve.at([0.5, 2, 9]), [1.5, 4.75, 8])
    np.testing.assert_allclose(curve.marginal([0, 0.5, 1, 9]), [3, 3, 1.75, 0])
    assert curve.at(2) == 4.75
    assert curve.to_frame().columns.tolist() == ["requests", "gain", "price"]
    assert len(curve.to_frame()) == 5


def test_curve_stops_at_the_windows():
    demand, _ = Demand.from_points([4.0, 3.0, 2.0, 1.0], [1.0], window=[0, 0, 1, 1])
    curve = budget_curve(demand, Capacity(np.array([1.0, 5.0])))
    np.testing.assert_allclose(curve.requests, [0, 1, 2, 3])
    np.testing.assert_allclose(curve.gain, [0, 4, 6, 7])


def test_free_arms_are_taken_first():
    demand, _ = Demand.from_points([[1.0, 3.0], [2.0, 0.5]], [0.0, 1.0])
    capacity = Capacity(np.array([np.inf]))
    np.testing.assert_allclose(budget_curve(demand, capacity).gain, [3, 5])
    assert solve_hull(demand, capacity.with_total(0.5)).gain == 3
    solution = solve_hull(demand, capacity.with_total(1.0))
    np.testing.assert_array_equal(solution.arm, [2, 1])
    assert (solution.gain, solution.upper_bound) == (5, 5)


@pytest.mark.parametrize(("arms", "decimals"), [(1, None), (3, None), (1, 2), (2, 2)])
def test_a_day_is_certified_at_once(arms, decimals):
    demand, capacity = feed(20_000, arms=arms, decimals=decimals), day_budget(20_000)
    problem = demand, capacity, Limits()
    solution = solve_hull(*problem)
    check_certificate(problem, solution)
    assert solution.gap <= 5e-5
    decomposition = solve_decomposition(*problem)
    assert decomposition.gain <= solution.upper_bound * (1 + 1e-9)
    assert solution.upper_bound <= decomposition.upper_bound * (1 + 1e-9)
    assert solution.gain >= decomposition.gain * (1 - 5e-5)


def test_curve_of_a_day_is_thin_and_near_the_optimum():
    demand = feed(20_000)
    capacity = Capacity(np.full(24, np.inf))
    curve = budget_curve(demand, capacity)
    assert 900 <= curve.requests.size <= MOST_BREAKPOINTS
    assert (np.diff(curve.price) <= 0).all()
    gain = demand.gain[demand.gain > 0]
    assert curve.requests[-1] == gain.size
    assert curve.gain[-1] == pytest.approx(gain.sum(dtype=np.float64))
    for total in (10.0, 3_000.0, 50_000.0, 150_000.0):
        solution = solve_hull(demand, capacity.with_total(total))
        assert curve.at(total) <= solution.upper_bound * (1 + 1e-9)
        # A thin curve may be as far below as the planner's own gap.
        assert curve.at(total) == pytest.approx(solution.upper_bound, rel=1e-4)
        assert curve.marginal(total) == pytest.approx(solution.total_price, rel=0.02)


def test_a_price_is_what_one_more_request_gains():
    demand, capacity = feed(20_000), day_budget(20_000)
    price = solve_hull(demand, capacity).window_price
    solution = solve_hull(demand, capacity)
    asked = (demand.gain[:, 0] > price[demand.window]).astype(np.int8)
    # Gains are all different: the rule of the prices is the assignment.
    np.testing.assert_array_equal(asked, solution.arm)
    more = solve_hull(demand, capacity.with_total(capacity.total + 1))
    assert more.gain - solution.gain == pytest.approx(solution.total_price, rel=1e-3)


def test_budget_larger_than_all_demand():
    problem = feed(20_000), Capacity(np.full(24, 1e6), 1e9), Limits()
    solution = solve_hull(*problem)
    assert solution.reason == "the budget does not bind"
    assert solution.gap == 0.0
    assert not solution.window_price.any()
    np.testing.assert_array_equal(solution.arm, problem[0].gain[:, 0] > 0)


def test_closed_and_unlimited_windows():
    windows = np.full(24, 800.0)
    windows[::5], windows[::7] = 0.0, np.inf
    problem = feed(20_000), Capacity(windows, 12_000.0), Limits()
    solution = solve_hull(*problem)
    check_certificate(problem, solution)
    assert solution.gap <= 1e-6
    assert (solution.spend[windows == 0] == 0).all()
    assert (solution.price[np.isinf(windows)] == 0).all()


def test_windows_that_bind_beside_windows_that_do_not():
    windows = np.where(np.arange(24) % 2 == 0, 500.0, 1e6)
    problem = feed(20_000), Capacity(windows, 1e6), Limits()
    solution = solve_hull(*problem)
    check_certificate(problem, solution)
    assert solution.gap <= 1e-6
    assert solution.total_price == 0
    np.testing.assert_array_equal(solution.price > 0, windows == 500)


def test_more_windows_than_points_and_windows_without_demand():
    demand, _ = Demand.from_points([2.0, 1.0], [1.0], window=[3, 3], n_windows=50)
    solution = solve_hull(demand, Capacity(np.ones(50)))
    np.testing.assert_array_equal(solution.arm, [1, 0])
    np.testing.assert_array_equal(np.flatnonzero(solution.price), [3])
    assert solution.gap == 0


def test_nothing_worth_a_request():
    demand, _ = Demand.from_points([-1.0, 0.0, -np.inf], [1.0])
    solution = solve_hull(demand, Capacity(np.array([1.0])))
    assert not solution.arm.any()
    assert (solution.gain, solution.upper_bound, solution.gap) == (0.0, 0.0, 0.0)
    curve = budget_curve(demand, Capacity(np.array([1.0])))
    assert (curve.at(5), curve.marginal(0)) == (0, 0)


def test_sums_of_decimals_fill_their_capacity():
    demand, _ = Demand.from_points([1.0, 1.0, 1.0, 1.0], [0.1])
    solution = solve_hull(demand, Capacity(np.array([0.3])))
    assert solution.gain == 3.0
    assert solution.gap <= 1e-8


def test_rounding_that_no_price_can_mend_is_told():
    demand, _ = Demand.from_points([1.0, 1.0], [2.0])
    solution = solve_hull(demand, Capacity(np.array([3.0])))
    assert (solution.gain, solution.upper_bound) == (1.0, 1.5)
    assert solution.reason.startswith("prices are optimal")


def test_bad_input_is_told():
    demand, capacity = feed(50), day_budget(50)
    with pytest.raises(InputError, match="use solve_decomposition"):
        solve_hull(demand, capacity, FEED_LIMITS)
    service = Capacity(capacity.window, services=(Service((1,), total=3.0),))
    least = Capacity(capacity.window, least=np.full(24, 0.5))
    for other in (service, least):
        with pytest.raises(InputError, match=r"services or a least.*use solve_decomposition"):
            budget_curve(demand, other)
    with pytest.raises(InputError, match="2 windows"):
        solve_hull(demand, Capacity(np.ones(2)))
    for gap in (-1.0, np.nan):
        with pytest.raises(InputError, match=f"gap is {gap}"):
            solve_hull(demand, capacity, gap=gap)
    for requests in (-1.0, [1.0, np.nan]):
        with pytest.raises(InputError, match="below 0 or missing"):
            budget_curve(demand, capacity).at(requests)


def test_limits_of_sessions_of_one_point_do_not_matter():
    rng = np.random.default_rng(0)
    demand, _ = Demand.from_points(rng.normal(size=500), [1.0], window=rng.integers(0, 3, 500))
    problem = demand, Capacity(np.full(3, 40.0), 90.0), FEED_LIMITS
    assert solve(*problem).iterations == 1
    assert solve(*problem).gain == solve_exact(*problem).gain
