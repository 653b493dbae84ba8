import numpy as np
import pytest
from scipy import sparse

from policy.planner.linear import Programme, solve_integer, solve_linear


def programme(row_lower, row_upper):
    """max 3 x + 2 y s.t. row_lower <= x + y <= row_upper, 0 <= x, y <= 1."""
    return Programme(
        np.array([3.0, 2.0]),
        np.zeros(2),
        np.ones(2),
        sparse.csr_array(np.ones((1, 2))),
        np.array([row_lower]),
        np.array([row_upper]),
        maximize=True,
    )


def test_linear_answer_has_values_and_duals():
    answer = solve_linear(programme(-np.inf, 1.5))
    np.testing.assert_allclose(answer.values, [1.0, 0.5])
    np.testing.assert_allclose(answer.duals, [2.0])
    assert answer.bound == pytest.approx(4.0)


def test_integer_answer_is_proved():
    answer = solve_integer(programme(-np.inf, 1.5), 10.0)
    np.testing.assert_allclose(answer.values, [1.0, 0.0])
    assert answer.proved
    assert answer.bound == pytest.approx(3.0)


def test_programmes_without_an_answer_are_told():
    with pytest.raises(RuntimeError, match="GLOP stopped with INFEASIBLE"):
        solve_linear(programme(3.0, 4.0))
    answer = solve_integer(programme(3.0, 4.0), time_limit=10.0)
    assert answer.values is None
    assert answer.proved
