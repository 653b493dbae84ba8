"""Places: cells of pages and positions that hold enough decision points."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.places import Places


def crowd(*points):
    """(page, position, count) each -> pages and positions of the decision points."""
    page, position, count = np.array(points).T
    return np.repeat(page, count), np.repeat(position, count)


def test_every_page_and_position_is_a_place_where_there_are_enough_points():
    page, position = crowd(*((p, x, 100) for p in range(3) for x in range(5, 55, 5)))
    places = Places.of(page, position)
    assert (places.pages, places.position.tolist()) == (3, [0, *range(10, 55, 5)])
    assert len(places) == 30
    assert places.index(np.array([0, 2, 9]), np.array([5, 49, 10])).tolist() == [0, 28, 21]


def test_pages_that_few_sessions_reach_are_one():
    page, position = crowd((0, 0, 2000), (1, 0, 1500), (2, 0, 900), (3, 0, 150))
    assert Places.of(page, position).pages == 3
    page, position = crowd((0, 0, 2000), (1, 0, 1500), (2, 0, 900))
    assert Places.of(page, position).pages == 2


def test_neighbouring_positions_share_a_place_until_it_holds_enough_on_each_page():
    page, position = crowd((0, 0, 900), (0, 1, 900), (0, 2, 900), (1, 0, 600), (1, 2, 600))
    assert Places.of(page, position).position.tolist() == [0, 1]
    page, position = crowd((0, 3, 900), (0, 4, 90), (0, 6, 20), (0, 7, 99))
    assert Places.of(page, position).position.tolist() == [0, 4]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=60))
def test_each_place_holds_enough_points_or_is_the_only_one(points):
    page, position = np.array(points).T
    places = Places.of(page, position, page_points=8, cell_points=3)
    index = places.index(page, position)
    assert index.min() >= 0
    assert index.max() < len(places)
    if len(places.position) > 1:
        assert np.bincount(index, minlength=len(places)).min() >= 3
    assert places.pages == 1 or (page >= places.pages - 1).sum() >= 8


def test_positions_never_seen_belong_to_the_bucket_before_them():
    places = Places(1, np.array([0, 10, 20]))
    asked = np.array([0, 3, 10, 15, 99])
    assert places.index(np.zeros(5, int), asked).tolist() == [0, 0, 1, 1, 2]


def test_round_trip():
    places = Places.from_dict({"pages": 2, "position": [0, 7]})
    assert (places.pages, places.position.tolist()) == (2, [0, 7])
    assert places.position.dtype == np.int64


def test_one_point_is_one_place():
    places = Places.of(np.array([4]), np.array([7]))
    assert (places.pages, places.position.tolist()) == (1, [0])
