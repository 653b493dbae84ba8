"""The kernel's parts beside their twins on arrays, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from policy.kernel import Calibration, Forest, Rule, encode, encode_values, expit, on
from policy.places import Places
from policy.problem import Limits
from policy.reserve import ReserveTable
from policy.serving_rule import ServingRule
from uplift.calibration.maps import ArmMap
from uplift.learners.base import Prediction

real = st.floats(-1.0, 1.0, allow_subnormal=False)


@st.composite
def arm_maps(draw):
    x = sorted(set(draw(st.lists(real, min_size=1, max_size=6))))
    y = sorted(draw(st.lists(real, min_size=len(x), max_size=len(x))))
    return ArmMap(np.array(x), np.array(y), draw(st.floats(0, 2)), 100.0)


@given(st.data(), st.integers(1, 3), st.booleans())
def test_calibration_is_its_twin_to_the_bit(data, n_arms, binary):
    maps = [data.draw(arm_maps()) for _ in range(n_arms)]
    knots = [float(value) for arm in maps for value in arm.x]
    control = data.draw(st.floats(0, 1) if binary else real)
    uplift = [data.draw(real | st.sampled_from(knots)) for _ in range(n_arms)]
    calibration = Calibration(tuple((m.x.tobytes(), m.y.tobytes(), m.slope) for m in maps), binary)
    mapped = np.array([[m(np.array([u]))[0] for m, u in zip(maps, uplift, strict=True)]])
    objective = "binary:logistic" if binary else "reg:squarederror"
    outcome = Prediction.on(np.array([control]), mapped, objective).outcome[0]
    expected = outcome[1:] - outcome[0]
    np.testing.assert_array_equal(calibration.apply(control, uplift), expected)


@given(st.data())
def test_the_reserve_is_its_twin_to_the_bit(data):
    """At any price and place, with and without caps; the price is what a request is worth."""
    shape = [data.draw(st.integers(1, 3)) for _ in range(5)]
    levels, pages, buckets, on_session, on_page = shape
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    price = np.sort(rng.choice(100, levels, replace=False)) / 100.0
    starts = np.concatenate([[0], np.sort(rng.choice(np.arange(1, 50), buckets - 1, False))])
    value = rng.random((levels, pages * buckets, on_session, on_page))
    table = ReserveTable(price, Places(pages, starts.astype(np.int64)), value)
    limits = Limits(per_session=3, per_page=2)
    rule = ServingRule([0.1], [0.5], np.inf, [1.0], limits, table)
    paid, page, position = rng.random(), int(rng.integers(5)), int(rng.integers(50))
    requests, used = int(rng.integers(3)), int(rng.integers(2))
    place = int(table.places.index(np.array([page]), np.array([position]))[0])
    k = 0 if on_session == 1 else min(max(3 - requests, 1), on_session) - 1
    q = 0 if on_page == 1 else min(max(2 - used, 1), on_page) - 1
    expected = table.at_price(np.array([paid]))[0, place, k, q]
    told = rule.choose((9.0,), 0, paid, page, position, requests, used, 1 << 40)
    assert told == (1, 1.0, paid, expected, "worth it", False)


@given(st.floats(-2000, 2000))
def test_expit_is_the_batches(margin):
    assert expit(margin) == special.expit(margin)


ONE = (b"\0" * 8,) * 3
KNOT = (np.array([0.0]).tobytes(), np.array([0.0]).tobytes(), 1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Calibration((), True),
        lambda: Calibration((KNOT[:2],), True),
        lambda: Calibration(((KNOT[0], b"", 1.0),), True),
        lambda: Calibration(((np.array([1.0, 0.0]).tobytes(),) * 2 + (1.0,),), True),
        lambda: Calibration(((np.array([np.nan]).tobytes(), KNOT[1], 1.0),), True),
        lambda: Calibration((KNOT,), True).apply(0.0, (0.0, 0.0)),
        lambda: Calibration((KNOT,), True).apply(0.0, ()),
        lambda: Calibration((KNOT,), True).apply("a", (0.0,)),
        lambda: Calibration((KNOT,), True).apply(0.0),
        lambda: Rule(b"", b"", b"", (-1, -1, 0), None, None, 0.0),
        lambda: Rule(ONE[0] * 2, *ONE[1:], (-1, -1, 0), None, None, 0.0),
        lambda: Rule(*ONE, (-1, -1, 0), (0.5, b""), None, 0.0),
        lambda: Rule(*ONE, (-1, -1, 0), None, (*ONE, 2, 1, 1), 0.0),
        lambda: Rule(*ONE, (-1, -1, 0), None, None, 0.0).choose((0.0,), 1, None, 0, 0, 0, 0, 0),
        lambda: Rule(*ONE, (-1, -1, 0), None, None, 0.0).choose((0.0,), 0, None, -1, 0, 0, 0, 0),
        lambda: Rule(*ONE, (-1, -1, 0), None, None, 0.0).choose((), 0, None, 0, 0, 0, 0, 0),
        lambda: Rule(*ONE, (-1, -1, 0), None, None, 0.0).choose((0.0,), 0, "x", 0, 0, 0, 0, 0),
        lambda: Rule(*ONE, (-1, -1, 0), None, None, 0.0).choose((0.0,)),
        lambda: on(0.5, [0.1] * 129, True),
        lambda: encode_values((1.0,), (None, None), bytearray(8)),
        lambda: encode_values((1.0,), (None,), bytearray(3)),
        lambda: encode({}, (), (None,), bytearray(4)),
        lambda: Forest(b"", b"\0" * 4, b"", b"", b"", 0.0).margin(b"read only"),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises((ValueError, TypeError, BufferError)):
        make()


def test_values_are_encoded_as_a_dictionary_is():
    names, places = ("a", "b", "c"), (None, {"x": 0, True: 1}, None)
    for values in [(1, "x", None), (0.5, True, 3), (1.5, "unknown", -0.0)]:
        by_name, by_order = bytearray(12), bytearray(12)
        told = dict(zip(names, values, strict=True))
        assert encode(told, names, places, by_name) == -1
        assert encode_values(values, places, by_order) == -1
        assert by_name == by_order
    assert encode_values(("no number", "x", 1.0), places, bytearray(12)) == 0
    assert encode_values((1.0, [], 1.0), places, bytearray(12)) == 1
    assert encode_values((1.0, "x", 1e39), places, bytearray(12)) == 2
