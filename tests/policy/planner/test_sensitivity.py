import numpy as np
import pytest
from planner_problems import FEED_LIMITS, day_budget, feed

from policy.capacity import Capacity, Service
from policy.planner.curve import budget_curve
from policy.planner.sensitivity import LESS, MORE, sensitivity
from policy.planner.solve import solve
from policy.problem import Limits

GAP = 1e-4


def around(demand, capacity, limits):
    return sensitivity(demand, capacity, limits, solve(demand, capacity, limits, gap=GAP), gap=GAP)


@pytest.mark.parametrize("limits", [Limits(), FEED_LIMITS])
def test_more_budget_gains_more_and_ever_less_on_top(limits):
    found = around(feed(5_000), day_budget(5_000), limits)
    np.testing.assert_array_equal(found.scale, sorted((*LESS, 1.0, *MORE))[: found.scale.size])
    assert (np.diff(found.requests) > 0).all()
    assert (np.diff(found.marginal) < GAP * found.gain[1:]).all()
    # Concave, but for the gaps of the plans: below each tangent, above each chord.
    for k in range(found.scale.size):
        tangent = found.gain[k] + found.marginal[k] * (found.scale - found.scale[k])
        assert (found.gain <= tangent * (1 + GAP) + GAP * found.gain[k]).all()
    assert found.more(0.1) == pytest.approx(0.1 * found.marginal[found.scale == 1])


def test_a_total_alone_is_the_curve():
    demand, capacity = feed(5_000), Capacity(np.full(24, np.inf), 2_000.0)
    found, curve = around(demand, capacity, Limits()), budget_curve(demand, capacity)
    worth = curve.at(2_000 * found.scale)
    np.testing.assert_allclose(found.gain, worth, rtol=2 * GAP)
    slope = 2_000 * curve.marginal(2_000 * found.scale)
    np.testing.assert_allclose(found.marginal, slope, rtol=0.05)


def test_nothing_is_looked_for_beyond_all_demand():
    demand = feed(1_000)
    worth = float((demand.gain > 0).sum())
    found = around(demand, Capacity(np.full(24, np.inf), worth / 1.7), Limits())
    assert found.scale[-1] == 2
    assert found.requests[-1] == worth
    assert found.marginal[-1] == 0
    found = around(demand, Capacity(np.full(24, np.inf), 2 * worth), Limits())
    assert found.scale[-1] == 1
    assert found.more(1.0) == 0


def test_every_row_is_scaled():
    windows = np.array([4.0, np.inf])
    service = Service((1,), window=np.array([2.0, 1.0]), total=2.5)
    twice = Capacity(windows, 5.0, np.array([1.0, 0.0]), (service,)).scaled(2.0)
    np.testing.assert_array_equal(twice.window, [8, np.inf])
    np.testing.assert_array_equal(twice.least, [2, 0])
    np.testing.assert_array_equal(twice.services[0].window, [4, 2])
    assert (twice.total, twice.services[0].total) == (10, 5)
    free = Capacity(windows, services=(Service((1,)),)).scaled(0.5)
    assert (free.total, free.least, free.services[0].window) == (None, None, None)
