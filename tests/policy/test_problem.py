import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.capacity import Capacity
from policy.problem import Demand, Limits, assignment_in_input_order
from uplift.errors import InputError


def small(**changes):
    columns = {
        "gain": np.array([[1.0], [2.0], [3.0]]),
        "cost": np.ones((3, 1)),
        "window": np.array([0, 0, 1], dtype=np.int32),
        "n_windows": 2,
        "session_start": np.array([0, 2, 3]),
        "page": np.zeros(3, dtype=np.int32),
        "slot": np.array([0, 5, 0]),
    }
    return Demand(**(columns | changes))


def test_demand_keeps_float32_and_counts():
    demand = small(gain=np.ones((3, 1), dtype=np.float32))
    assert demand.gain.dtype == np.float32
    assert (demand.n_points, demand.n_arms, demand.n_sessions) == (3, 1, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        demand.n_windows = 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"gain": np.empty((0, 1))}, "at least one point"),
        ({"gain": np.empty((3, 0))}, "1 to 127 arms"),
        ({"gain": np.array([1.0, np.nan, 2.0])}, "The gain of row 1 is"),
        ({"gain": np.array([1.0, np.inf, 2.0])}, "The gain of row 1 is"),
        ({"gain": np.array([1.0, 1e16, 2.0])}, r"The highest gain is 1e\+16"),
        ({"gain": np.array([-1.0, 1e-16, -2.0])}, "The highest gain is 1e-16"),
        ({"cost": np.array([1e-16])}, "Costs reach from 1e-16 to 1e-16"),
        ({"cost": np.array([[1.0], [0.0], [1e16]])}, r"Costs reach from 1 to 1e\+16"),
        ({"cost": np.array([[1.0], [1.0], [-2.0]])}, "The cost of arm 1 in row 2 is -2.0"),
        ({"cost": np.array([np.nan])}, "The cost of arm 1 in row 0 is nan"),
        ({"cost": np.ones((2, 1))}, r"cost has shape \(2, 1\)"),
        ({"session_start": np.array([0, 2])}, "session_start does not rise from 0 to the 3"),
        ({"session_start": np.array([0, 2, 2, 3])}, "session_start does not rise"),
        ({"session_start": np.array([1, 3])}, "session_start does not rise"),
        ({"window": np.array([0, 0, 2])}, "Windows reach from 0 to 2, expected 0 to 1"),
        ({"window": np.array([-1, 0, 1])}, "Windows reach from -1"),
        ({"window": np.array([0.0, 0.0, 1.0])}, "window has shape .* and type float64"),
        ({"slot": np.array([0, 5])}, r"slot has shape \(2,\)"),
        ({"slot": np.array([5, 0, 0])}, "slot falls from 5 to 0 inside a session at row 1"),
        ({"page": np.array([1, 0, 0])}, "page falls from 1 to 0 inside a session at row 1"),
        ({"page": np.array([0, 2**40, 0])}, "expected numbers that fit int32"),
    ],
)
def test_bad_demand_is_told(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        small(**changes)


def test_slots_and_pages_may_fall_between_sessions():
    assert small(slot=np.array([3, 5, 0]), page=np.array([1, 1, 0])).n_sessions == 2


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(0, 10**6))
def test_from_points_sorts_and_the_order_maps_back(n, seed):
    rng = np.random.default_rng(seed)
    gain, session, slot = rng.normal(size=n), rng.integers(0, 5, n), rng.integers(0, 9, n)
    demand, order = Demand.from_points(gain, [1.0], session=session, slot=slot)
    np.testing.assert_array_equal(demand.gain[:, 0], gain[order])
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert demand.n_sessions == np.unique(session).size
    arm = np.arange(n) % 3
    np.testing.assert_array_equal(assignment_in_input_order(arm, order)[order], arm)


def test_from_points_is_stable_and_takes_any_ids():
    for ids in (["b", "a", "b"], np.array(["b", "a", "b"], dtype=object), [2**40, -1, 2**40]):
        demand, order = Demand.from_points([1.0, 2.0, 3.0], [1.0], session=ids)
        np.testing.assert_array_equal(order, [1, 0, 2])
        np.testing.assert_array_equal(demand.session_start, [0, 1, 3])


def test_from_points_fills_what_is_absent():
    demand, order = Demand.from_points([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0])
    assert demand.n_sessions == 2
    assert demand.n_windows == 1
    assert demand.cost.strides[0] == 0
    np.testing.assert_array_equal(order, [0, 1])
    np.testing.assert_array_equal(demand.slot, [0, 0])


def test_from_points_sorts_costs_of_points():
    demand, _ = Demand.from_points([1.0, 2.0], [[5.0], [6.0]], session=[1, 0])
    np.testing.assert_array_equal(demand.cost, [[6.0], [5.0]])


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"session": [1]}, r"session has shape \(1,\)"),
        ({"window": [0, 5], "n_windows": 2}, "Windows reach from 0 to 5"),
        ({"window": [0, 2**40]}, "expected numbers that fit int32"),
        ({"session": [0, 0], "slot": [0, 1], "page": [1, 0]}, "page falls"),
    ],
)
def test_bad_points_are_told(columns, sentence):
    with pytest.raises(InputError, match=sentence):
        Demand.from_points([1.0, 2.0], [1.0], **columns)


@pytest.mark.parametrize(
    ("capacity", "total", "sentence"),
    [
        ([0.0, 0.0], None, "Every capacity is 0"),
        ([1.0, -1.0], None, "The capacity of window 1 is -1.0"),
        ([np.nan], None, "The capacity of window 0 is nan"),
        ([[1.0]], None, r"capacity has shape \(1, 1\)"),
        ([], None, r"capacity has shape \(0,\)"),
        ([1.0], 0.0, "The total budget is 0.0"),
        ([1.0], -3.0, "The total budget is -3.0"),
        ([1.0], np.nan, "The total budget is nan"),
    ],
)
def test_bad_budget_is_told(capacity, total, sentence):
    with pytest.raises(InputError, match=sentence):
        Capacity(np.array(capacity), total)


def test_budget_takes_closed_and_unlimited_windows():
    capacity = Capacity(np.array([0, np.inf]), np.inf)
    assert capacity.total is None
    assert capacity.window.dtype == np.float64


def test_budget_for_other_windows_is_told():
    with pytest.raises(InputError, match="The budget has 3 windows and the demand has 2"):
        Capacity(np.ones(3)).check_match(2, 1)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"per_session": 0}, "per_session is 0"),
        ({"per_page": -1}, "per_page is -1"),
        ({"min_gap": -1}, "min_gap is -1"),
    ],
)
def test_bad_limits_are_told(limits, sentence):
    with pytest.raises(InputError, match=sentence):
        Limits(**limits)
