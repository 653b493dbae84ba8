import numpy as np
import pytest

from policy.places import Places
from policy.served import Served

PLACES = Places(2, np.array([0, 10]))


def test_requests_and_sessions_by_hand():
    asked = np.array([1.0, 0.0, 0.5, 0.5, 0.0])
    place = PLACES.index(np.array([0, 0, 1, 1, 0]), np.array([3, 12, 0, 4, 1]))
    served = Served.of(asked, place, PLACES, np.array([0, 2, 4, 5]))
    np.testing.assert_array_equal(served.page, [0, 0, 1])
    np.testing.assert_array_equal(served.position, [0, 10, 0])
    np.testing.assert_array_equal(served.points, [2, 1, 2])
    np.testing.assert_allclose(served.requests, [1.0, 0.0, 1.0])
    assert served.sessions == pytest.approx((1.0 + 0.75 + 0.0) / 3)
