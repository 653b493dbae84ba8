import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from policy.planner.result import Prices, Solution, relative_gap
from uplift.errors import InputError


def test_solution_adds_up():
    solution = Solution(
        arm=np.array([1, 0], dtype=np.int8),
        gain=3.0,
        spend=np.array([1.0, 2.0]),
        prices=Prices(np.array([0.5, 0.0]), 0.25),
        arm_price=np.array([[0.75], [0.25]]),
        upper_bound=4.0,
        iterations=2,
        reason="gap reached",
    )
    assert solution.total_spend == 3.0
    assert solution.gap == 0.25
    np.testing.assert_array_equal(solution.window_price, [0.75, 0.25])
    np.testing.assert_array_equal(solution.prices.combined, solution.window_price)
    with pytest.raises(dataclasses.FrozenInstanceError):
        solution.gain = 1.0


def test_gap_is_never_negative_and_safe_at_zero():
    assert relative_gap(0.0, 0.0) == 0.0
    assert relative_gap(1.0, 1.0 + 1e-16) == 0.0


@pytest.mark.parametrize("window", [[np.nan], [np.inf], [[1.0]]])
def test_bad_window_prices_are_told(window):
    with pytest.raises(InputError, match="window prices are not all finite"):
        Prices(np.array(window))


@pytest.mark.parametrize("total", [-1.0, np.nan, np.inf])
def test_bad_total_price_is_told(total):
    with pytest.raises(InputError, match="The total price is"):
        Prices(np.zeros(1), total)


def test_importing_problem_and_package_stays_light():
    code = (
        "import sys, policy.problem, policy.planner, policy.planner.result;"
        "print([m for m in ('numba', 'ortools', 'scipy', 'pandas') if m in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
