"""Break-even prices against the rule itself: requested below, not above."""

import numpy as np
import pytest

from policy.break_even import BreakEven
from policy.places import Places
from policy.problem import Limits
from policy.reserve import ReserveTable
from policy.serving_rule import ServingRule


def table(draw, levels):
    """A reserve that falls with the price, by less than the price rises."""
    price = np.sort(draw.uniform(0.0, 2.0, levels))
    falls = np.diff(price)[:, None, None, None] * draw.uniform(0.0, 1.0, (levels - 1, 6, 3, 2))
    value = np.concatenate([falls, np.zeros((1, 6, 3, 2))])[::-1].cumsum(axis=0)[::-1]
    return ReserveTable(price, Places(2, np.array([0, 10, 30])), value)


@pytest.mark.parametrize("levels", [1, 2, 9])
@pytest.mark.parametrize("shrinkage", [None, (0.2, [0.5])])
def test_the_rule_requests_below_and_not_above(levels, shrinkage):
    draw, cost, limits = np.random.default_rng(levels), [1.5], Limits(per_session=3, per_page=2)
    reserve = table(draw, levels)
    rule = ServingRule([0.0], [0.0], float("inf"), cost, limits, reserve, shrinkage)
    for _ in range(500):
        gain, page, position = draw.uniform(-0.2, 4.0), *draw.integers(0, [4, 50])
        made = int(draw.integers(0, 3))
        where = int(page), int(position), made, min(made, 1)
        worth, spent = rule.break_even.price([gain], 1, *where)
        assert spent == 1.5
        for price in (0.99 * worth - 0.01, 1.01 * worth + 0.01):
            if price > 0:
                share = rule.choose((gain,), 0, price, *where, 1 << 40)[1]
                assert share == float(price < worth)


def test_of_several_arms_the_one_of_most_gain_where_none_is_best():
    even = BreakEven([1.0, 2.0], Limits())
    assert even.price([0.5, 0.8], 1, 0, 0, 0, 0) == (0.5, 1.0)
    assert even.price([0.5, 0.8], 2, 0, 0, 0, 0) == (0.4, 2.0)
    assert even.price([0.5, 0.8], 0, 0, 0, 0, 0) == (0.4, 2.0)
    assert even.price([-0.5, -0.8], 0, 0, 0, 0, 0) == (0.0, 1.0)
