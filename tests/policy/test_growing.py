import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.growing import Growing
from policy.problem import Demand
from uplift.errors import InputError


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12), st.sampled_from([(), (3,)]))
def test_is_its_parts_one_behind_the_other(sizes, width):
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(size, *width)).astype(np.float32) for size in sizes]
    column = Growing(np.zeros((0, *width), dtype=np.float32))
    for part in parts:
        column.extend(part)
    whole = column.array()
    assert whole.dtype == np.float32
    assert whole.flags.c_contiguous
    np.testing.assert_array_equal(whole, np.concatenate([np.zeros((0, *width)), *parts]))


def day(cost, sessions=(0, 0, 1)):
    points = len(sessions)
    return Demand.from_points(np.arange(1.0, points + 1), cost, session=sessions)[0]


def test_demands_join_to_what_they_are_together():
    whole = Demand.join(iter([day([2.0]), day([2.0], (0, 1, 1, 1))]))
    assert whole.n_sessions == 4
    np.testing.assert_array_equal(whole.session_start, [0, 2, 3, 4, 7])
    np.testing.assert_array_equal(whole.gain[:, 0], [1, 2, 3, 1, 2, 3, 4])
    np.testing.assert_array_equal(whole.cost, np.full((7, 1), 2.0))
    whole = Demand.join([day([[1.0], [2.0], [3.0]]), day([[4.0]], (0,))])
    np.testing.assert_array_equal(whole.cost[:, 0], [1, 2, 3, 4])


def test_demands_of_different_costs_do_not_join():
    for other in (day([3.0]), day([[2.0], [2.0], [2.0]])):
        with pytest.raises(InputError, match="different costs"):
            Demand.join([day([2.0]), other])
