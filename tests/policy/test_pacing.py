"""The pacer: a planned price, corrected by late reports and by what is counted at once."""

from dataclasses import dataclass, replace
from threading import Thread

import numpy as np
import pytest

from policy.budget import Budget
from policy.pacing import Pacer, _room
from policy.plan import plan_requests
from policy.token_bucket import TokenBucket
from uplift.errors import InputError

CAPACITY, POINTS, OWN = 2900.0, 20_000.0, 0.02
PRICE = 2.0  # that 14.5 % of exponential gains of mean 1.035 exceed
MEAN = -PRICE / np.log(CAPACITY / POINTS)


@dataclass(frozen=True)
class Change:
    """What changes suddenly after a third of an hour, and how late reports are."""

    delay: int = 10
    traffic: float = 1.0
    gain: float = 1.0
    power: float = 1.0
    refused: float = 0.0
    own: bool = True


def paced(change: Change, seconds: int = 3600, seed: int = 0) -> np.ndarray:
    """Let a pacer price an hour of traffic; return what its prices let through, per capacity."""
    rng = np.random.default_rng(seed)
    pacer = Pacer([PRICE], CAPACITY, window_seconds=np.inf)
    after = np.arange(seconds) >= seconds // 3
    points = rng.poisson(np.where(after, change.traffic, 1.0) * POINTS)
    shares = [shares_of(pacer.edges, 1.0, 1.0), shares_of(pacer.edges, change.gain, change.power)]
    bins = [rng.multinomial(n, shares[int(late)]) for n, late in zip(points, after, strict=True)]
    spend = np.zeros(seconds)
    for t in range(seconds):
        price = pacer.price(float(t))
        if t > change.delay:
            late = t - change.delay - 1
            pacer.observe(late, points[late], spend[late], bins[late][:-1])
        tail = np.cumsum(bins[t][:-1][::-1])[-2::-1]
        asked = float(np.interp(price, pacer.edges, tail))
        spend[t] = round(asked * (1 - after[t] * change.refused * asked / points[t]))
        if change.own:
            requests = rng.binomial(int(spend[t]), OWN)
            pacer.count(t + 0.5, requests + rng.binomial(points[t] - int(spend[t]), OWN), requests)
    return spend / CAPACITY


def shares_of(edges, gain, power):
    """Shares of the bins and, last, of what gains nothing; gains are Weibull, scaled by `gain`."""
    above = 0.999 * np.exp(-((edges / (gain * MEAN)) ** power))
    inner = above[:-1] - above[1:]
    return np.concatenate(([0.999 - above[0]], inner, above[-1:], [0.001]))


def used_and_over(load):
    return np.minimum(load, 1).mean(), np.maximum(load - 1, 0).mean()


SUDDEN = {
    "nothing": Change(),
    "step": Change(traffic=8.0),
    "drop": Change(traffic=0.25),
    "gains halved": Change(gain=0.5),
    "gains doubled": Change(gain=2.0),
    "gains' shape": Change(power=1.6),
    "limits": Change(refused=0.6),
}


@pytest.mark.parametrize(
    ("name", "delay"), [*((name, 60) for name in SUDDEN), ("nothing", 10), ("step", 10)]
)
def test_capacity_is_used_and_not_overrun(name, delay):
    """The aims of `benchmarks/pacing.py`, over its two hours."""
    used, over = used_and_over(paced(replace(SUDDEN[name], delay=delay), seconds=7200))
    assert used >= 0.97
    assert over <= 0.005


@pytest.mark.parametrize("name", SUDDEN)
def test_reports_a_minute_late_make_no_price_swing(name):
    load = paced(replace(SUDDEN[name], delay=60, own=False), seed=1)
    settled = load[1200 + 60 + 30 :]
    # noise of a second's count, and of a curve and a level that few counts tell at first
    noise = np.sqrt(2.5 / CAPACITY) + 0.01
    assert settled.mean() == pytest.approx(0.98, abs=0.015)
    assert settled.std() < 1.5 * noise
    assert np.abs(settled - settled.mean()).max() < 5 * noise


def test_the_hard_cap_holds_where_the_price_cannot():
    load = paced(Change(delay=60, traffic=8.0, own=False), seconds=1800, seed=2)
    assert used_and_over(load)[1] > 0.1  # eight times the traffic, unseen for a minute
    clock = [0.0]
    bucket = TokenBucket(CAPACITY, 0.1 * CAPACITY, lambda: clock[0])
    granted = []
    for clock[0] in np.arange(1, 18_000) / 10:
        granted.append(bucket.take_up_to(round(load[int(clock[0])] * CAPACITY / 10)))
    beyond = np.cumsum(np.array(granted) - CAPACITY / 10)
    assert (beyond - np.minimum.accumulate(beyond)).max() <= 0.1 * CAPACITY


def test_the_planned_price_stands_until_something_is_known():
    prices = np.linspace(1, 2, 24)
    pacer = Pacer(prices, 100.0)
    day = 20_000 * 86_400.0
    assert [pacer.price(day + 3600.0 * h) for h in range(24)] == prices.tolist()
    assert pacer.price(day + 86_400.0) == prices[0]


def told(pacer, seconds, start=0.0, points=1000, gain=None):
    """Report some seconds of exponential gains, one late, and return the last price."""
    gain = np.random.default_rng(5).exponential(1.0, points) if gain is None else gain
    counts, before = pacer.histogram(gain), np.inf
    for t in start + np.arange(seconds):
        price = pacer.price(t)
        if t > start:
            pacer.observe(t - 1, len(gain), float((gain > before).sum()), counts)
        before = price
    return pacer.price(start + seconds)


def test_reports_correct_the_price_and_their_absence_the_trust_in_them():
    pacer = Pacer([5.0], 100.0, window_seconds=np.inf, stale_seconds=30)
    price = told(pacer, 60)
    assert price == pytest.approx(-np.log(0.1), rel=0.1)
    assert pacer.price(88.5) == pytest.approx(price, rel=0.01)
    assert pacer.price(92.0) == 5.0


def test_windows_have_their_own_capacity():
    capacity = np.full(24, 100.0)
    capacity[1], capacity[2] = 0.0, 5000.0
    pacer = Pacer(np.full(24, 2.0), capacity)
    assert told(pacer, 100, start=3500.0) == np.inf  # a window with no capacity
    assert (pacer.capacity(3599.0), pacer.capacity(3600.0)) == (100.0, 0.0)
    assert told(Pacer(np.full(24, 2.0), capacity), 20, start=7200.0) == 0.0  # room for all


def test_longer_steps_pace_the_same_rate():
    pacer = Pacer([2.0], 100.0, window_seconds=np.inf, step_seconds=5.0)
    gain, before = np.random.default_rng(6).exponential(1.0, 5000), np.inf
    for step in range(60):
        price = pacer.price(5.0 * step)
        assert pacer.price(5.0 * step + 4.99) == price
        if step:
            pacer.observe(5.0 * step - 5, 5000, float((gain > before).sum()), pacer.histogram(gain))
        before = price
    assert (gain > price).sum() / 5 == pytest.approx(100, rel=0.08)


def test_a_process_that_was_idle_goes_on():
    pacer = Pacer([2.0], 100.0, window_seconds=np.inf)
    told(pacer, 60)
    pacer.price(100.0)
    pacer.observe(80.0, 1000, 100, pacer.histogram(np.ones(1000)))
    assert np.isfinite(pacer.price(101.0))
    assert pacer.price(5000.0) == 2.0  # anew


def test_histograms_count_gain_per_cost_by_cost_and_add():
    pacer = Pacer([1.0], 1.0, window_seconds=np.inf)
    gain = np.array([-1.0, 0.0, 0.5, 3.0, 1e9])
    counts = pacer.histogram(gain, cost=2.0)
    assert counts.sum() == 6.0
    assert counts[0] == 0.0
    assert counts[-1] == 2.0
    assert counts[np.searchsorted(pacer.edges, 1.5)] == 2.0
    parts = pacer.histogram(gain[:3], 2.0) + pacer.histogram(gain[3:], 2.0)
    assert counts.tolist() == parts.tolist()


def test_the_room_leaves_the_expected_excess():
    noise = np.random.default_rng(7).normal(size=400_000)
    for error in (0.01, 0.02, 0.06):
        excess = np.maximum(error * noise - _room(error, 0.003), 0)
        assert excess.mean() == pytest.approx(0.003, abs=4 * excess.std() / np.sqrt(len(noise)))
    assert _room(0.005, 0.003) == 0.0
    assert _room(50.0, 0.003) == 0.1


def test_a_plan_paces_its_own_budget(feed_scores):
    plan = plan_requests(feed_scores, Budget.qps(0.01), window_seconds=21_600.0)
    pacer = Pacer.of(plan, step_seconds=2.0)
    noon = 12 * 3600.0
    assert pacer.price(noon) == plan.price[2]
    assert pacer.capacity(noon) == 0.01
    share = plan_requests(feed_scores, Budget.share(0.1), window_seconds=21_600.0)
    assert Pacer.of(share, capacity=[1, 2, 3, 4]).capacity(noon) == 3.0
    with pytest.raises(InputError, match=r"budget is in share, which tells no rate .* give capac"):
        Pacer.of(share)


def test_a_plan_with_room_for_all_has_edges_too():
    pacer = Pacer(np.zeros(24), 100.0)
    assert pacer.price(0.0) == 0.0
    assert told(pacer, 30, start=1.0) == pytest.approx(-np.log(0.1), rel=0.1)


def test_threads_share_it():
    pacer = Pacer([2.0], 100.0, window_seconds=np.inf)
    pacer.price(0.0)
    failures = []

    def work():
        try:
            for t in np.linspace(0, 0.999, 2000):
                pacer.price(t)
                pacer.count(t, 2, 1)
        except InputError as error:  # pragma: no cover
            failures.append(error)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = pacer._forecast._steps[0]
    assert (failures, counted.points, counted.requests) == ([], 16_000, 8_000)


def test_a_thread_that_was_overtaken_gets_the_price_of_now():
    pacer = Pacer([2.0], 100.0, window_seconds=np.inf)
    pacer.price(10.0)
    assert pacer.price(9.99) == 2.0
    with pytest.raises(InputError, match=r"time went back from 10.0 to 8.5, expected it to go on;"):
        pacer.price(8.5)


NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"price": [NAN] * 24}, "price holds nan at 0, expected finite numbers, 0 or more; "),
        ({"price": [1.0] * 23 + [-1.0]}, "price holds -1.0 at 23"),
        ({"price": np.ones((2, 12))}, r"price has shape \(2, 12\), expected \(windows,\); give"),
        ({"price": []}, r"price has shape \(0,\)"),
        ({"price": np.ones(23)}, "23 windows of 3600.0 seconds, expected as many as make up a day"),
        ({"window_seconds": NAN}, "24 windows of nan seconds"),
        ({"window_seconds": -3600.0}, "24 windows of -3600.0 seconds"),
        ({"capacity": -1.0}, "capacity holds -1.0 at 0"),
        ({"capacity": np.full(24, np.inf)}, "capacity holds inf at 0"),
        ({"capacity": np.ones(23)}, r"capacity has shape \(23,\), expected \(24,\)"),
        ({"step_seconds": 0.0}, "step_seconds is 0.0, expected a finite number above 0"),
        ({"over_utilisation": NAN}, "over_utilisation is nan"),
        ({"stale_seconds": np.inf}, "stale_seconds is inf"),
        ({"edges": [1.0, 1.0]}, "edges do not rise from above 0, expected two or more prices"),
        ({"edges": [0.0, 1.0]}, "edges do not rise from above 0"),
        ({"edges": [1.0]}, "edges do not rise from above 0"),
    ],
)
def test_what_makes_no_pacer_is_told(change, sentence):
    with pytest.raises(InputError, match=sentence):
        Pacer(**{"price": np.ones(24), "capacity": 100.0, **change})


@pytest.mark.parametrize("now", [NAN, -1.0, np.inf])
def test_a_time_that_is_none_is_told(now):
    pacer = Pacer([1.0], 100.0, window_seconds=np.inf)
    for ask in (pacer.price, pacer.capacity, lambda t: pacer.count(t, 1, 1)):
        with pytest.raises(InputError, match=r"the time is .* expected seconds, finite and 0 or"):
            ask(now)


@pytest.mark.parametrize(("points", "requests"), [(-1, 0), (1, -1), (NAN, 1), (1, np.inf)])
def test_counts_that_are_none_are_told(points, requests):
    pacer = Pacer([1.0], 100.0, window_seconds=np.inf)
    pacer.price(5.0)
    with pytest.raises(InputError, match=r"(points|requests) is .*, expected a finite number, 0"):
        pacer.count(5.0, points, requests)
    with pytest.raises(InputError, match=r"(points|spend) is .*, expected a finite number, 0"):
        pacer.observe(4.0, points, requests, np.zeros(len(pacer.edges) + 1))


def test_reports_that_do_not_fit_are_told():
    pacer = Pacer([1.0], 100.0, window_seconds=np.inf)
    pacer.price(5.0)
    empty = np.zeros(len(pacer.edges) + 1)
    pacer.observe(3.0, 0, 0, empty)
    for time in (3.5, 2.0, 5.0, 9.0):  # told before, before that, not over, to come
        with pytest.raises(InputError, match=r"a report of step \d, expected one after 3 .* befo"):
            pacer.observe(time, 0, 0, empty)
    with pytest.raises(InputError, match="the histogram has shape"):
        pacer.observe(4.0, 0, 0, empty[1:])
    with pytest.raises(InputError, match=r"the histogram holds -1.0 at 2"):
        pacer.observe(4.0, 0, 0, empty - (np.arange(len(empty)) == 2))
    with pytest.raises(InputError, match="Some gains are NaN, expected numbers"):
        pacer.histogram([1.0, NAN])


def test_a_report_is_read_at_the_price_that_the_fleet_had():
    """A pacer that begins late has another price than the others: what they spent is at theirs."""
    gain = np.random.default_rng(5).exponential(1.0, 4000)
    prices = []
    for told in (None, 2.0):
        pacer = Pacer([0.5], 400.0, window_seconds=np.inf)
        for t in range(4):
            pacer.price(float(t))
            if t:
                spend = float((gain > 2.0).sum())
                pacer.observe(t - 1.0, 4000, spend, pacer.histogram(gain), told)
        prices.append(pacer.price(4.0))
    expected = -np.log(400 / 4000)
    slack = 4.5 / np.sqrt(3 * 4000 * 0.1) - np.log(1 - 0.1)  # counts of the curve; room for errors
    assert abs(prices[1] - expected) < slack
    assert abs(prices[0] - expected) > slack  # as if most requests had been refused
    with pytest.raises(InputError, match="price is -1"):
        pacer.observe(3.0, 1.0, 1.0, pacer.histogram(gain), -1.0)
