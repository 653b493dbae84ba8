import numpy as np
import pytest
from hypothesis import given, settings
from planner_problems import (
    FEED_LIMITS,
    brute_force,
    day_budget,
    feed,
    hard_problems,
    larger_problems,
    problems,
    random_problem,
    small_hard_problems,
    total_gain,
    violations,
)

from policy.capacity import Capacity
from policy.planner.decomposition import solve_decomposition
from policy.planner.exact import solve_exact
from policy.planner.result import Prices
from policy.problem import Demand, Limits, assignment_in_input_order
from uplift.errors import InputError

many = settings(max_examples=200, deadline=None, derandomize=True)
REASONS = ("the budget does not bind", "gap reached", "prices are optimal: what is left of the gap")


def check_certificate(problem, solution):
    demand, _, _ = problem
    assert violations(*problem, solution.arm) == []
    assert solution.gain == pytest.approx(total_gain(demand, solution.arm), abs=1e-9)
    assert solution.gain <= solution.upper_bound
    gap = (solution.upper_bound - solution.gain) / max(abs(solution.upper_bound), 1e-300)
    assert solution.gap == pytest.approx(gap)
    assert solution.reason.startswith(REASONS)
    if solution.reason == "gap reached":
        assert solution.gap <= 1e-4


@many
@given(problems)
def test_brackets_the_best_of_all_assignments(problem):
    solution = solve_decomposition(*problem)
    check_certificate(problem, solution)
    best = brute_force(*problem)
    assert solution.gain <= best + 1e-9
    assert best <= solution.upper_bound + 1e-9


@many
@given(larger_problems)
def test_brackets_the_exact_answer(problem):
    solution, exact = solve_decomposition(*problem), solve_exact(*problem)
    check_certificate(problem, solution)
    assert solution.gain <= exact.gain + 1e-9
    assert exact.gain <= solution.upper_bound + 1e-9
    assert solution.iterations < 60


@settings(max_examples=400, deadline=None, derandomize=True)
@given(small_hard_problems)
def test_services_leasts_and_forbidden_arms_bracket_the_best_of_all_assignments(problem):
    best = brute_force(*problem)
    if best == -np.inf:
        with pytest.raises(InputError, match="must get"):
            solve_decomposition(*problem)
        return
    solution = solve_decomposition(*problem)
    check_certificate(problem, solution)
    assert solution.gain <= best + 1e-9
    assert best <= solution.upper_bound + 1e-9


@many
@given(hard_problems)
def test_services_leasts_and_forbidden_arms_bracket_the_exact_answer(problem):
    try:
        exact = solve_exact(*problem)
    except InputError:
        with pytest.raises(InputError, match="must get"):
            solve_decomposition(*problem)
        return
    solution = solve_decomposition(*problem)
    check_certificate(problem, solution)
    assert solution.gain <= exact.gain + 1e-9
    assert exact.gain <= solution.upper_bound + 1e-9


@settings(max_examples=40, deadline=None, derandomize=True)
@given(larger_problems)
def test_bounds_grow_with_the_budget(problem):
    demand, capacity, limits = problem
    total = None if capacity.total is None else 2 * capacity.total
    twice = solve_decomposition(demand, Capacity(2 * capacity.window, total), limits)
    once = solve_decomposition(demand, capacity, limits)
    assert once.gain <= twice.upper_bound + 1e-9


@pytest.mark.parametrize("limits", [Limits(), FEED_LIMITS, Limits(per_page=1), Limits(min_gap=35)])
def test_a_day_of_sessions_is_certified_in_few_passes(limits):
    problem = feed(20_000), day_budget(20_000), limits
    solution = solve_decomposition(*problem)
    check_certificate(problem, solution)
    assert solution.gap <= 1e-4
    assert solution.iterations <= 20


@pytest.mark.parametrize(("arms", "decimals"), [(3, None), (1, 2), (2, 2)])
def test_several_arms_and_tied_gains_are_certified(arms, decimals):
    problem = feed(5_000, arms=arms, decimals=decimals), day_budget(5_000), FEED_LIMITS
    solution = solve_decomposition(*problem, gap=3e-4)
    assert violations(*problem, solution.arm) == []
    assert solution.gap <= 3e-4


def test_one_budget_takes_a_handful_of_passes():
    one_window = feed(20_000, windows=1), Capacity(np.array([5_000.0])), FEED_LIMITS
    only_total = feed(20_000), Capacity(np.full(24, np.inf), 5_000.0), FEED_LIMITS
    for problem in (one_window, only_total):
        solution = solve_decomposition(*problem)
        assert solution.reason == "gap reached"
        assert solution.iterations <= 12


def test_windows_without_order_are_certified():
    # Sessions that touch all windows couple every price with every other.
    day = feed(5_000, windows=12)
    window = np.random.default_rng(1).integers(0, 12, day.n_points).astype(np.int32)
    scattered = Demand(day.gain, day.cost, window, 12, day.session_start, day.page, day.slot)
    solution = solve_decomposition(scattered, day_budget(5_000, 12), FEED_LIMITS)
    assert solution.gap <= 1e-4
    assert solution.iterations <= 30


def test_closed_and_unlimited_windows():
    windows = np.full(24, 200.0)
    windows[::5], windows[::7] = 0.0, np.inf
    problem = feed(5_000), Capacity(windows, 3_000.0), FEED_LIMITS
    solution = solve_decomposition(*problem)
    check_certificate(problem, solution)
    closed = windows == 0
    assert (solution.spend[closed] == 0).all()
    assert (solution.price[np.isinf(windows)] == 0).all()


def test_budget_that_does_not_bind_costs_one_pass():
    problem = feed(500), Capacity(np.full(24, 1e6), 1e9), FEED_LIMITS
    solution = solve_decomposition(*problem)
    assert solution.reason == "the budget does not bind"
    assert solution.iterations == 1
    assert solution.gap == 0.0
    assert not solution.window_price.any()


def test_nothing_worth_a_request():
    demand, _ = Demand.from_points([-1.0, 0.0, -2.0], [1.0])
    solution = solve_decomposition(demand, Capacity(np.array([1.0])), Limits())
    assert not solution.arm.any()
    assert (solution.gain, solution.upper_bound, solution.gap) == (0.0, 0.0, 0.0)


def test_capacity_for_less_than_one_request():
    demand, _ = Demand.from_points([1.0, 2.0], [1.0])
    solution = solve_decomposition(demand, Capacity(np.array([0.5])), Limits())
    assert not solution.arm.any()
    assert solution.upper_bound >= 0


def test_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    n = 4000
    columns = {
        "session": rng.integers(0, 300, n),
        "window": rng.integers(0, 4, n),
        "slot": rng.permutation(n),
    }
    gain = rng.normal(0, 1, n)
    capacity, limits = Capacity(np.full(4, 60.0)), Limits(per_session=2, min_gap=300)
    demand, order = Demand.from_points(gain, [1.0], **columns)
    expected = assignment_in_input_order(solve_decomposition(demand, capacity, limits).arm, order)
    shuffle = rng.permutation(n)
    shuffled = {name: column[shuffle] for name, column in columns.items()}
    demand, order = Demand.from_points(gain[shuffle], [1.0], **shuffled)
    arm = assignment_in_input_order(solve_decomposition(demand, capacity, limits).arm, order)
    np.testing.assert_array_equal(arm, expected[shuffle])


def test_start_from_known_prices():
    problem = feed(20_000), day_budget(20_000), FEED_LIMITS
    cold = solve_decomposition(*problem)
    tomorrow = feed(20_000, seed=1), *problem[1:]
    warm = solve_decomposition(*tomorrow, start=cold.prices)
    assert warm.gap <= 1e-4
    assert warm.iterations < cold.iterations
    # Prices far too high, and prices for a budget that does not bind, are left again.
    high = solve_decomposition(*problem, start=Prices(np.full(24, 1e6), 1e6))
    assert high.gap <= 1e-4
    free = problem[0], Capacity(np.full(24, 1e6)), FEED_LIMITS
    assert solve_decomposition(*free, start=cold.prices).gap <= 1e-4


def test_progress_narrows_and_iteration_limit_is_told():
    seen = []
    problem = feed(2_000), day_budget(2_000), FEED_LIMITS
    solution = solve_decomposition(
        *problem, gap=0.0, max_iterations=5, progress=lambda *state: seen.append(state)
    )
    assert solution.reason == "iteration limit"
    assert [state[0] for state in seen] == [1, 2, 3, 4, 5]
    uppers, lowers = np.array(seen)[:, 1], np.array(seen)[:, 2]
    assert (np.diff(uppers) <= 0).all()
    assert (np.diff(lowers) >= 0).all()
    assert violations(*problem, solution.arm) == []


def test_rounding_that_no_price_can_mend_is_told():
    # Two requests of cost 2 and capacity for 3: the bound is 1.5 requests, the answer is one.
    demand, _ = Demand.from_points([1.0, 1.0], [2.0])
    solution = solve_decomposition(demand, Capacity(np.array([3.0])), Limits())
    assert solution.gain == 1.0
    assert solution.gap == pytest.approx(1 / 3, abs=0.02)
    assert solution.reason.startswith("prices are optimal")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gap": -1.0}, "gap is -1.0"),
        ({"gap": np.nan}, "gap is nan"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"start": Prices(np.zeros(2))}, "start has prices for 2 windows"),
    ],
)
def test_bad_options_are_told(options, sentence):
    with pytest.raises(InputError, match=sentence):
        solve_decomposition(*random_problem(0), **options)
