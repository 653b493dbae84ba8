import numpy as np
import pytest

from uplift.curves.hull import Steps


def steps_of(gain, cost):
    steps = Steps.of(np.array([gain], float), np.array([cost], float))
    return list(zip(steps.before, steps.arm, steps.slope, strict=True))


@pytest.mark.parametrize(
    ("gain", "cost", "expected"),
    [
        ([3, 5], [1, 3], [(-1, 0, 3), (0, 1, 1)]),  # both arms, dearer second
        ([5, 3], [3, 1], [(-1, 1, 3), (1, 0, 1)]),  # in any order of columns
        ([1, 5], [1, 2], [(-1, 1, 2.5)]),  # below the hull
        ([3, 2], [1, 2], [(-1, 0, 3)]),  # dearer and no better
        ([1, 2], [1, 2], [(-1, 1, 1)]),  # on one line: one step
        ([1, 2], [1, 1], [(-1, 1, 2)]),  # of one cost the better
        ([2, 2], [1, 1], [(-1, 0, 2)]),  # equal arms: the first
        ([0, -1], [1, 2], []),  # nothing to gain
        ([4, 6, 7], [1, 2, 4], [(-1, 0, 4), (0, 1, 2), (1, 2, 0.5)]),
    ],
)
def test_steps_by_hand(gain, cost, expected):
    assert steps_of(gain, cost) == expected


def test_what_a_step_adds():
    steps = Steps.of(np.array([[3.0, 5.0], [1.0, 4.0]]), np.array([[1.0, 3.0], [1.0, 2.0]]))
    assert steps.row.tolist() == [0, 0, 1]
    added = steps.change(np.array([[10.0, 30.0], [100.0, 200.0]]))
    assert added.tolist() == [10, 20, 200]
