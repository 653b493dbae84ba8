"""The hard cap: whatever is asked and when, never more than rate * t + burst."""

from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.token_bucket import TokenBucket
from uplift.errors import InputError


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


asks = st.lists(
    st.tuples(st.floats(0, 3), st.sampled_from(["one", "many", "rate"]), st.floats(0, 5)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(asks, st.floats(0, 20), st.floats(5, 30), st.floats(0, 1e9))
def test_no_stretch_of_time_passes_the_cap(asks, rate, burst, start):
    clock = Clock(start)
    bucket = TokenBucket(rate, burst, clock)
    times, refilled, granted = [start], [0.0], [0.0]
    for wait, kind, amount in asks:
        clock.now += wait
        refilled.append(refilled[-1] + bucket.rate * (clock.now - times[-1]))
        times.append(clock.now)
        if kind == "rate":
            bucket.set_rate(4 * amount)
            granted.append(0.0)
        elif kind == "one":
            granted.append(amount if bucket.try_take(amount) else 0.0)
        else:
            granted.append(bucket.take_up_to(int(4 * amount)))
    spent = np.cumsum(granted)
    for first in range(1, len(times)):  # from the moment of one ask to that of a later one
        taken = spent[first:] - spent[first - 1]
        allowed = np.array(refilled[first:]) - refilled[first] + burst
        assert (taken <= allowed * (1 + 1e-9) + 1e-9).all()


def test_what_is_asked_at_the_rate_is_granted():
    clock = Clock()
    bucket = TokenBucket(8.0, 1.0, clock)
    for _ in range(1000):
        clock.now += 0.125
        assert bucket.try_take()
    assert not bucket.try_take()


def test_an_idle_bucket_saves_up_no_more_than_its_burst():
    clock = Clock()
    bucket = TokenBucket(100.0, 7.5, clock)
    clock.now = 1e6
    assert bucket.take_up_to(1000) == 7
    assert bucket.take_up_to(1000) == 0
    clock.now += 0.01
    assert bucket.take_up_to(1000) == 1  # half a token was left


def test_another_rate_counts_from_now_on():
    clock = Clock()
    bucket = TokenBucket(10.0, 100.0, clock)
    assert bucket.take_up_to(100) == 100
    clock.now = 1.0
    bucket.set_rate(0.0)
    clock.now = 50.0
    assert (bucket.take_up_to(100), bucket.rate) == (10, 0.0)


def test_threads_share_it():
    bucket = TokenBucket(0.0, 1000.0)
    taken = []
    threads = [
        Thread(target=lambda: taken.append(sum(bucket.try_take() for _ in range(2000))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 1000


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_told(rate):
    with pytest.raises(InputError, match=r"the rate is .* per second, expected a finite number"):
        TokenBucket(rate, 1)
    with pytest.raises(InputError, match="the rate is"):
        TokenBucket(1, 1).set_rate(rate)


@pytest.mark.parametrize("burst", [0, -1, float("nan"), float("inf")])
def test_a_burst_that_is_none_is_told(burst):
    with pytest.raises(InputError, match=r"the burst is .* expected a finite number above 0; give"):
        TokenBucket(1, burst)


@pytest.mark.parametrize("cost", [-1, 2.5, float("nan")])
def test_a_cost_that_never_fits_is_told(cost):
    with pytest.raises(InputError, match=r"a request costs .* expected 0 to the burst of 2; "):
        TokenBucket(1, 2).try_take(cost)


def test_a_negative_count_is_told():
    with pytest.raises(InputError, match="-1 requests to take, expected 0 or more"):
        TokenBucket(1, 2).take_up_to(-1)


@pytest.mark.parametrize("now", [4.0, float("nan")])
def test_a_clock_that_goes_back_is_told(now):
    clock = Clock(5.0)
    bucket = TokenBucket(1, 2, clock)
    clock.now = now
    with pytest.raises(InputError, match=r"clock went from 5.0 to .* monotone clock such as"):
        bucket.try_take()
    clock.now = 6.0
    assert bucket.try_take()
