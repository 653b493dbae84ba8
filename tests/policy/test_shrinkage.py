"""Gains moved towards their mean."""

import numpy as np
import pytest

from policy.shrinkage import Shrinkage, Shrunk
from uplift.errors import InputError


def test_gains_move_towards_the_mean_of_their_arm():
    gain = np.array([[0.0, 4.0], [2.0, 0.0]])
    shrinkage = Shrinkage.of(gain, 0.25)
    assert shrinkage.mean.tolist() == [1.0, 2.0]
    assert shrinkage(gain) == pytest.approx(np.array([[0.25, 3.5], [1.75, 0.5]]))
    assert shrinkage(np.array([[5.0, 6.0]])) == pytest.approx(np.array([[4.0, 5.0]]))


def test_a_source_of_gains_is_shrunk_alike():
    shrinkage = Shrinkage(0.5, np.array([1.0]))
    assert Shrunk(lambda log: np.array([[float(log)]]), shrinkage)(3) == pytest.approx(2.0)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_told(share):
    with pytest.raises(InputError, match=r"shrink is .*; expected a share in \[0, 1\)"):
        Shrinkage(share, np.zeros(1))


def test_round_trip():
    again = Shrinkage.from_dict({"share": 0.5, "mean": [1.0, 2.0]})
    assert (again.share, again.mean.tolist()) == (0.5, [1.0, 2.0])
