from functools import reduce
from operator import add

import numpy as np
import pytest
from curve_logs import ends, simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from uplift import InputError, qini_curve
from uplift.curves import (
    MultiArmCurve,
    budget_ratio,
    multi_arm_curve,
    multi_arm_cuts,
    multi_arm_state,
)

COSTS = np.array([1.0, 2.0])


def best_gain(gain, cost, weight, budget):
    """Optimum of the fractional multiple-choice knapsack, per unit of weight."""
    n, arms = gain.shape
    one_arm = np.kron(np.eye(n), np.ones(arms))
    w = np.repeat(weight, arms)
    found = linprog(
        -(w * gain.ravel()),
        A_ub=np.vstack([one_arm, w * cost.ravel()]),
        b_ub=np.r_[np.ones(n), budget * weight.sum()],
    )
    return -found.fun / weight.sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 4))
def test_the_predicted_gain_is_the_best_that_a_budget_buys(seed, n, arms):
    """Evaluated on its own predictions, the path is the optimum of a linear programme."""
    rng = np.random.default_rng(seed)
    gain = rng.integers(-2, 5, (n, arms)).astype(float)
    cost = rng.integers(1, 5, (n, arms)).astype(float)
    weight = rng.integers(1, 4, n).astype(float)
    budgets = np.linspace(0, 5, 11)
    found = multi_arm_curve(gain, cost, gain, np.arange(n), weight=weight, budgets=budgets, draws=0)
    expected = [best_gain(gain, cost, weight, budget) for budget in budgets]
    np.testing.assert_allclose(found.gain, expected, atol=1e-7)


def test_effects_are_counted_along_the_path_of_the_predictions():
    """Point 0 takes arm 1 (3 for 1), then arm 2 (2 more for 2); point 1 takes arm 2 (4 for 2)."""
    gain = np.array([[3.0, 5.0], [1.0, 4.0]])
    cost = np.array([[1.0, 3.0], [1.0, 2.0]])
    effect = np.array([[10.0, 30.0], [100.0, 200.0]])
    found = multi_arm_curve(
        gain, cost, effect, np.arange(2), budgets=np.array([0, 0.5, 1.0, 1.5, 2.5, 9]), draws=0
    )
    np.testing.assert_allclose(found.gain, np.array([0, 10, 110, 210, 230, 230]) / 2)


def test_one_arm_of_cost_1_is_a_qini_curve_that_ends_where_no_gain_is_predicted():
    log = simulate(2000)
    gain = log.u[:, None] - 0.3
    qini = qini_curve(gain[:, 0], log.effect[:, 0], log.user)
    share = (gain > 0).mean()
    on = qini.share <= share
    found = multi_arm_curve(
        gain, np.ones(1), log.effect[:, :1], log.user, budgets=np.r_[qini.share[on], share, 1]
    )
    np.testing.assert_allclose(found.gain[:-2], qini.gain[on], atol=1e-3)
    assert found.gain[-1] == found.gain[-2]


def test_equal_ratios_are_taken_in_equal_parts():
    """Without targeting, all points share one hull: two straight lines."""
    log = simulate(2000)
    flat = np.broadcast_to([1.0, 1.5], (2000, 2))
    found = multi_arm_curve(flat, COSTS, log.effect, log.user)
    first, second = log.effect.mean(axis=0)
    np.testing.assert_allclose(found.gain[:51], np.linspace(0, first, 51), atol=1e-12)
    np.testing.assert_allclose(found.gain[50:], np.linspace(first, second, 51), atol=1e-12)


def test_no_predicted_gain_is_no_spend():
    log = simulate(100)
    found = multi_arm_curve(-np.ones((100, 2)), COSTS, log.effect, log.user)
    assert found.budget.max() == 0
    assert ends(found.mean_gain) == [0, 0, 0]


def test_shards_add_up_to_the_whole():
    log = simulate(3000)
    gain, half = np.column_stack([log.u, 1.3 * log.v]), np.arange(3000) % 2 == 0
    cuts = multi_arm_cuts(gain[:500], COSTS)
    parts = [
        multi_arm_state(gain[rows], COSTS, log.effect[rows], log.user[rows], cuts=cuts)
        for rows in (half, ~half)
    ]
    whole = multi_arm_state(gain, COSTS, log.effect, log.user, cuts=cuts)
    a, b = (MultiArmCurve.of(state) for state in (reduce(add, parts), whole))
    np.testing.assert_allclose(a.lower, b.lower, atol=1e-9)
    np.testing.assert_allclose(ends(a.mean_gain), ends(b.mean_gain))


def two_models(n=10_000, **options):
    log, budgets = simulate(n), np.linspace(0, 1.2, 61)
    for score in (log.u, log.noisy):
        gain = np.column_stack([score, 1.3 * log.v])
        yield multi_arm_curve(gain, COSTS, log.effect, log.user, budgets=budgets, **options)


def test_differences_are_paired():
    a, b = two_models()
    better = a - b
    assert better.mean_gain.value == pytest.approx(a.mean_gain.value - b.mean_gain.value)
    assert better.gain_at(0.5).value == pytest.approx(a.gain_at(0.5).value - b.gain_at(0.5).value)
    assert better.mean_gain.lower > 0
    width = better.mean_gain.upper - better.mean_gain.lower
    assert width < a.mean_gain.upper - a.mean_gain.lower


def test_a_better_model_needs_less_budget():
    a, b = two_models()
    ratio = budget_ratio(a, b, 0.6)
    assert ratio.lower < ratio.value < ratio.upper < 1
    assert a.gain_at(0.6 * ratio.value).value == pytest.approx(b.gain_at(0.6).value, abs=1e-3)
    assert budget_ratio(a, a, 0.6).value == pytest.approx(1)


def test_what_is_never_gained_needs_infinite_budget():
    log, budgets = simulate(2000), np.linspace(0, 1.5, 31)
    gains = np.column_stack([log.u, log.v]), -np.column_stack([log.u, log.v])
    a, none = (multi_arm_curve(g, COSTS, log.effect, log.user, budgets=budgets) for g in gains)
    assert budget_ratio(none, a, 1.0).value == np.inf
    assert budget_ratio(a, none, 1.0).value == 0


def test_unlike_curves_and_unknown_budgets_are_refused():
    a, b = two_models(500)
    log = simulate(500)
    other = multi_arm_curve(log.effect, COSTS, log.effect, log.user)
    for combine in (lambda: a - other, lambda: budget_ratio(a, other, 0.5)):
        with pytest.raises(InputError, match="different budgets"):
            combine()
    with pytest.raises(InputError, match=r"from budget 0 to 1\.2, 3 is outside"):
        a.gain_at(3)
    with pytest.raises(InputError, match="above 0"):
        budget_ratio(a, b, 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cost": np.array([1.0, 0.0])}, "cost more than 0"),
        ({"cost": np.ones(3)}, r"gain and effect must be \(n, A\)"),
        ({"gain": np.full((10, 2), np.nan)}, "must be finite"),
        ({"gain": np.ones((0, 2)), "effect": np.ones((0, 2))}, "no rows or no arms"),
        ({"cluster": np.arange(3)}, "shapes differ"),
        ({"weight": -np.ones(10)}, "weights must be"),
        ({"budgets": np.array([0.5, 0.5])}, "budgets must ascend"),
        ({"budgets": np.array([-1.0])}, "0 or more"),
    ],
)
def test_impossible_input_is_refused(change, sentence):
    given = {"gain": np.ones((10, 2)), "cost": COSTS, "effect": np.ones((10, 2))}
    with pytest.raises(InputError, match=sentence):
        multi_arm_curve(**{**given, "cluster": np.arange(10), **change})
