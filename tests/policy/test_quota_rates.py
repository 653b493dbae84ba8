"""Rates by window of the day, and what they add up to."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.rates import Rates
from policy.token_bucket import TokenBucket
from uplift.errors import InputError

MIDNIGHT = 1_800_000_000 - 1_800_000_000 % 86_400


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=30),
    st.floats(0, 86_400),
    st.floats(0, 300_000),
)
def test_between_is_the_integral(by_window, start, seconds):
    """Second by second over up to four days, with the rate at the middle of each."""
    rates, begin = Rates(tuple(by_window)), MIDNIGHT + start
    edges = np.linspace(begin, begin + seconds, 20_001)
    middles = ((edges[1:] + edges[:-1]) / 2 % 86_400 / rates.seconds).astype(int)
    sums = np.array(by_window)[np.minimum(middles, len(by_window) - 1)].sum() * seconds / 20_000
    step = seconds / 20_000 * max(by_window)  # each edge of a window may fall into a step
    edges_met = 1 + seconds / rates.seconds
    found = rates.between(begin, begin + seconds)
    assert abs(found - sums) <= edges_met * step + 1e-6 * max(sums, 1.0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=30),
    st.lists(st.floats(0, 50_000), min_size=3, max_size=3),
)
def test_parts_add_up(by_window, waits):
    rates = Rates(tuple(by_window))
    a, b, c = (MIDNIGHT + total for total in np.cumsum(waits))
    assert rates.between(a, c) == pytest.approx(rates.between(a, b) + rates.between(b, c), abs=1e-3)
    assert rates.between(a, a) == 0


def test_windows_begin_at_midnight_utc():
    rates = Rates(tuple(map(float, range(24))))
    assert [rates.at(MIDNIGHT + 3600 * hour) for hour in range(24)] == list(rates.by_window)
    assert rates.at(MIDNIGHT + 3599.9) == 0.0
    assert rates.between(MIDNIGHT, MIDNIGHT + 86_400) == 3600 * sum(range(24))


def test_a_bucket_refills_by_window():
    now = [MIDNIGHT + 43_200.0 - 10]
    bucket = TokenBucket(Rates((0.0, 100.0)), clock=lambda: now[0])
    assert bucket.burst == 10.0
    assert bucket.take_up_to(100) == 10
    now[0] += 10
    assert bucket.take_up_to(100) == 0
    now[0] += 0.055
    assert (bucket.take_up_to(100), bucket.rate) == (5, 100.0)
    bucket.set_rate(1000.0)
    assert bucket.burst == 100.0


def test_rates_are_read():
    assert Rates.parse("2000") == Rates((2000.0,))
    assert Rates.parse("1, 2,3") == Rates((1.0, 2.0, 3.0))
    for text in ("many", "", "1,,2"):
        with pytest.raises(InputError, match="is no rate; expected requests per second: a number"):
            Rates.parse(text)
    for text in ("-1", "1,nan", "inf"):
        with pytest.raises(InputError, match="expected a finite number, 0 or more; give the"):
            Rates.parse(text)
    for rates in ((), (1.0,) * 1_441):
        with pytest.raises(InputError, match=r"rates; expected .* for 1 to 1,440 windows"):
            Rates(rates)


def test_the_rate_of_a_plan(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"budget": {"kind": "qps", "amount": 20_000}}))
    assert Rates.of_plan(path) == Rates((20_000.0,))
    path.write_text(json.dumps({"budget": {"kind": "share", "amount": 0.1}}))
    with pytest.raises(InputError, match="budget is given in 'share', not in requests per second"):
        Rates.of_plan(path)
