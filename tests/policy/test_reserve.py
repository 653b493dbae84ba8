"""The table of what a request is worth later in the session."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.places import Places
from policy.reserve import ReserveTable, left
from uplift.plain import to_plain

PLACES = Places(2, np.array([0, 10]))


def table(prices=(0.0, 1.0, 3.0)):
    value = np.arange(len(prices) * 4 * 3 * 2, dtype=float).reshape(len(prices), 4, 3, 2)
    return ReserveTable(np.array(prices), PLACES, -value)


def test_known_prices_have_their_own_reserve():
    known = table()
    assert (known.at_price(known.price) == known.value).all()


@given(st.floats(0, 1))
def test_between_two_prices_it_is_linear(share):
    known = table()
    between = known.at_price(np.array([1.0 + 2 * share]))[0]
    assert between == pytest.approx((1 - share) * known.value[1] + share * known.value[2])


def test_beyond_the_last_price_it_stays():
    known = table()
    assert (known.at_price(np.array([7.0]))[0] == known.value[-1]).all()


def test_one_price_is_good_for_all():
    known = table((0.0,))
    assert (known.at_price(np.array([0.0, 5.0])) == known.value[[0, 0]]).all()


@pytest.mark.parametrize(
    ("cap", "made", "size", "index"),
    [
        (None, [0, 5], 1, [0, 0]),
        (3, [0, 1, 2, 3, 4], 3, [2, 1, 0, 0, 0]),
        (9, [0, 6, 7, 8], 3, [2, 2, 1, 0]),
        (9, [0, 8], 1, [0, 0]),
    ],
)
def test_what_a_cap_leaves(cap, made, size, index):
    assert left(cap, np.array(made), size).tolist() == index


def test_json_round_trip():
    known = table()
    again = ReserveTable.from_dict(json.loads(json.dumps(to_plain(known), allow_nan=False)))
    assert (again.value == known.value).all()
    assert (again.price == known.price).all()
    assert again.places.index(np.array([1]), np.array([12])).tolist() == [3]
