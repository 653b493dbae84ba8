"""One price for many instances, a real Redis that comes and goes, clocks that jump."""

import math
import multiprocessing
import shutil
import signal
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from redis_server import Redis

from policy.pacing import Pacer
from policy.rates import Rates
from policy.redis_steps import GRACE_STEPS, MOST_STEPS, RedisSteps
from policy.shared_pacing import SharedPacer, _common
from policy.step_counts import Grid, StepCounts
from uplift.errors import InputError

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="redis-server is not installed; scripts/redis.sh installs it where it may",
)
STEP, RATE = 0.2, 400.0
TRAFFIC = (2000.0, 800.0, 200.0)
"""Points a second of each instance; their gains are exponential with mean 1."""
PRICE = math.log(sum(TRAFFIC) / RATE)
"""That lets the rate through: ``traffic exp(-price) = rate``."""
ERROR = 4.5 / math.sqrt(RATE * 30 * STEP)
"""Of a price, by the requests in the curve's memory: ``d price = d requests / requests``."""
ROOM = -math.log(1 - 0.1)
"""By which the price may be higher: a tenth of the rate is left free for errors, at most."""

BUSY = {"TimeoutError", "late"}
"""Failures that a busy machine may cause, and steps of a clock that jumped."""


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path)
    server.start()
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.kill()


@contextmanager
def fleet(redis, count=3, planned=1.0, **options):
    """Yield pacers that share through Redis (each by its own, where there is none)."""
    url = None if redis is None else redis.url
    with ExitStack() as closed:
        told = {"url": url, "step_seconds": STEP} | options
        pacers = [SharedPacer([planned], RATE, math.inf, **told) for _ in range(count)]
        for one in pacers:
            closed.callback(one.close)
        yield pacers


class Drive:
    """Decisions of several instances, at their rates; what the price lets through is counted."""

    def __init__(self, pacers, traffic, seed=0, also=()):
        self.pacers, self.traffic, self.also = pacers, traffic, also
        self.draw = np.random.default_rng(seed).exponential
        self.slowest = 0.0

    def go(self, seconds, times=1.0):
        """Decide for some seconds; return each instance's mean price of the last half."""
        begin, made = time.monotonic(), [0] * len(self.pacers)
        prices = [[] for _ in self.pacers]
        while (elapsed := time.monotonic() - begin) < seconds:
            for k, pacer in enumerate(self.pacers):
                due = int(self.traffic[k] * times * elapsed) - made[k]
                made[k] += due
                before = time.monotonic()
                for gain in self.draw(1.0, due):
                    self.decide(pacer, gain)
                self.slowest = max(self.slowest, time.monotonic() - before)
                if elapsed > seconds / 2:
                    prices[k].append(pacer.price(0.0))
            time.sleep(0.002)
        return [float(np.mean(p)) for p in prices]

    def decide(self, pacer, gain):
        for one in (pacer, *self.also):
            one.decided(0.0, float(gain > one.price(0.0)), gain, 1.0)


def assert_near(prices, expected=PRICE):
    assert all(expected - ERROR < p < expected + ERROR + ROOM for p in prices), prices


@needs_redis
def test_instances_come_to_the_price_of_one_that_sees_all(redis):
    """Ten times the traffic or a tenth: one price, that of the process that all traffic reaches."""
    with fleet(redis) as pacers, fleet(None, 1) as (alone,):
        drive = Drive(pacers, TRAFFIC, also=[alone])
        drive.go(2.0)
        assert max(p.reports for p in pacers) > 0
        prices = drive.go(4.0)
        whole = alone.present
        print("prices", [f"{p:.4f}" for p in prices], "alone", f"{whole:.4f}", f"true {PRICE:.4f}")
        assert_near(prices)
        assert max(prices) - min(prices) < ERROR / 4
        assert abs(np.mean(prices) - whole) < ERROR
        assert all(set(p.failures) <= BUSY for p in pacers)
        with fleet(redis, 1) as (late,):  # knows what all know, at once
            time.sleep(2 * STEP)
            assert_near([late.present])


@pytest.mark.slow
@needs_redis
def test_redis_killed_and_started_again(redis):
    """Without it own counts follow what the traffic does; with it all is as before."""
    with fleet(redis) as pacers:
        drive = Drive(pacers, TRAFFIC)
        drive.go(3.0)
        redis.kill()
        assert_near(drive.go(1.0))
        seen = [p.reports for p in pacers]
        doubled = drive.go(2.0, times=2.0)
        print("without Redis, traffic doubled:", doubled, "expected", PRICE + math.log(2))
        # of the smallest instance, whose count of a step has an error of 1 / sqrt(80)
        slack = ERROR + ROOM + 4.5 / math.sqrt(80)
        assert all(abs(p - PRICE - math.log(2)) < slack for p in doubled)
        assert [p.reports for p in pacers] == seen
        assert all(set(p.failures) <= BUSY | {"refused", "ConnectionError"} for p in pacers)
        redis.start()
        drive.go(2.0)
        assert_near(drive.go(2.0))
        assert all(p.reports > n for p, n in zip(pacers, seen, strict=True))
        assert all(p.age < 5 * STEP for p in pacers)


@pytest.mark.slow
@needs_redis
def test_a_slow_redis_makes_no_decision_wait(redis):
    with fleet(redis) as pacers:
        drive = Drive(pacers, TRAFFIC)
        drive.go(3.0)
        redis.process.send_signal(signal.SIGSTOP)
        drive.slowest = 0.0
        assert_near(drive.go(2.0))
        assert drive.slowest < 0.5
        assert all(p.failures["TimeoutError"] >= 2 for p in pacers)
        redis.process.send_signal(signal.SIGCONT)
        drive.go(2.0)
        assert_near(drive.go(1.0))
        assert all(p.age < 5 * STEP for p in pacers)
        assert not any(p.failures["unfit"] for p in pacers)


@pytest.mark.slow
@needs_redis
def test_the_planned_price_stands_again_once_reports_are_stale(redis):
    with fleet(redis, 1, stale_seconds=1.0) as pacers:
        drive = Drive(pacers, [sum(TRAFFIC)])
        drive.go(2.0)
        assert_near([pacers[0].present])
        redis.kill()
        drive.go(1.5)
        assert pacers[0].present == 1.0
        redis.start()
        drive.go(2.5)
        assert_near([pacers[0].present])


@pytest.mark.slow
@needs_redis
def test_an_instances_clock_may_jump_by_an_hour(redis):
    """It counts by Redis' clock again with the next answer; the others notice nothing."""
    jump = [0.0]
    clock = {"clock": lambda: time.monotonic() + jump[0]}
    with fleet(redis, 2) as pacers, fleet(redis, 1, **clock) as jumping:
        drive = Drive([*pacers, *jumping], TRAFFIC)
        drive.go(3.0)
        for hour in (3600.0, -3600.0):
            jump[0] += hour
            seen = jumping[0].reports
            drive.go(2.0)
            assert_near(drive.go(1.0))
            assert jumping[0].reports > seen
        assert all(set(p.failures) <= BUSY for p in (*pacers, *jumping))


@pytest.mark.slow
@needs_redis
@pytest.mark.parametrize("hour", [3600.0, -3600.0])
def test_redis_clock_may_jump_by_an_hour(redis, hour):
    from redis import Redis as Client

    jump, client = [0.0], Client.from_url(redis.url)

    class Moved:
        def eval(self, script, *told):
            moved = script.replace("now[2] / 1e6", f"now[2] / 1e6 + {jump[0]}")
            assert moved != script
            return client.eval(moved, *told)

        def close(self):
            pass

    with fleet(redis, connect=lambda url, timeout: Moved()) as pacers:
        drive = Drive(pacers, TRAFFIC)
        drive.go(3.0)
        jump[0] = hour
        seen = [p.reports for p in pacers]
        drive.go(2.0)
        assert_near(drive.go(1.0))
        assert all(p.reports > n for p, n in zip(pacers, seen, strict=True))
        assert all(set(p.failures) <= BUSY for p in pacers)
    client.close()


def instance(url, ready, seconds, seed):
    """One process with twice the traffic of all others."""
    with fleet(Url(url), 1) as pacers:
        ready.set()
        Drive(pacers, [2 * sum(TRAFFIC)], seed).go(seconds)


class Url:
    def __init__(self, url):
        self.url = url


@pytest.mark.slow
@needs_redis
def test_an_instance_killed_is_missed_within_a_few_steps(redis):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=instance, args=(redis.url, ready, 30.0, 1), daemon=True)
    with fleet(redis) as pacers:
        other.start()
        assert ready.wait(30)
        drive = Drive(pacers, TRAFFIC)
        drive.go(3.0)
        assert_near(drive.go(1.0), PRICE + math.log(3))
        other.kill()
        other.join()
        drive.go(2.0)
        assert_near(drive.go(1.0))


def now_of(client):
    seconds, micros = client.time()
    return seconds + micros / 1e6


@needs_redis
def test_a_lost_answer_is_not_counted_twice(redis):
    """Every other answer is lost; the totals in Redis are what was decided, to the point."""
    from redis import Redis as Client
    from redis.exceptions import TimeoutError as Lost

    client, calls = Client.from_url(redis.url), [0]

    class Losing:
        def eval(self, *told):
            calls[0] += 1
            answer = client.eval(*told)
            if calls[0] % 2:
                raise Lost("Timeout reading from socket")
            return answer

        def close(self):
            pass

    reader = RedisSteps(redis.url, "request-uplift:pace", "reader", STEP)
    read, totals = -1, []
    with fleet(redis, 1, connect=lambda url, timeout: Losing()) as pacers:
        drive = Drive(pacers, [1000.0])
        rounds = 20
        time.sleep(6 * STEP)  # until reports begin
        counted = []
        for _ in range(rounds):
            drive.go(STEP)
            counted += pacers[0]._waiting  # kept until an answer came
            totals += reader.exchange([], read).reports
            read = max((t.step for t in totals), default=read)
        time.sleep((GRACE_STEPS + 2) * STEP)
        totals += reader.exchange([], read).reports
        assert pacers[0].failures["TimeoutError"] >= rounds / 2 - 2
        assert pacers[0].reports >= rounds / 2
    told = {c.step: (c.points, c.requests, c.gains) for c in counted}
    both = [t for t in totals if t.step in told]
    assert len(both) >= rounds / 2 - 2
    for total in both:
        assert (total.points, total.requests, total.gains) == told[total.step]
    reader.close()
    client.close()


@pytest.fixture
def steps(redis):
    """Two instances of a fleet that has been there for a while, and a step that is over."""
    from redis import Redis as Client

    first, second = (RedisSteps(redis.url, "k", name, 1.0) for name in ("first", "second"))
    client = Client.from_url(redis.url)
    now = first.exchange([], -1).now
    client.hset("{k:1}", "since", now - 60)
    yield first, second, client, int(now) - 1
    for one in (first, second, client):
        one.close()


@needs_redis
def test_totals_add_once_and_are_read_when_they_are_closed(steps):
    first, second, client, step = steps
    for _ in range(2):
        first.exchange([StepCounts(step, 10, 20.0, 2.0, {-3: 1.0, 4: 2.0})], -1)
    answer = second.exchange([StepCounts(step, 5, 5.0, 1.5, {4: 0.5})], -1)
    assert answer.reports == []
    old, future = StepCounts(step - GRACE_STEPS - 1, 7), StepCounts(step + 3600, 7)
    assert second.exchange([old, future], -1).late == 2
    closed = step + 1 + GRACE_STEPS
    time.sleep(max(0.0, closed - now_of(client)) + 0.01)
    (total,) = first.exchange([], -1).reports
    assert (total.step, total.points, total.paid, total.requests) == (step, 15, 25.0, 3.5)
    assert total.gains == {-3: 1.0, 4: 2.5}
    assert first.exchange([], step).reports == []
    assert second.exchange([StepCounts(step, 99)], step - 1).late == 1
    kept = [key for key in client.keys("*") if key.count(b":") == 3]
    assert all(0 < client.ttl(key) <= MOST_STEPS + GRACE_STEPS + 2 for key in kept)
    assert len(kept) == 1


@needs_redis
def test_a_step_of_which_redis_lost_some_is_not_told(steps):
    """It came back empty between what two instances told: half a total is none."""
    first, second, client, step = steps
    first.exchange([StepCounts(step, 10)], -1)
    client.flushall()
    second.exchange([StepCounts(step, 5)], -1)
    time.sleep(max(0.0, step + 1 + GRACE_STEPS - now_of(client)) + 0.01)
    assert first.exchange([], -1).reports == []


@pytest.mark.slow
@needs_redis
@pytest.mark.parametrize(
    "fields", [{"points": "many"}, {"points": "-5"}, {"points": "nan"}, {"seven": "7"}]
)
def test_what_no_instance_told_is_no_report(redis, fields):
    from redis import Redis as Client

    client = Client.from_url(redis.url)
    with fleet(redis, 1) as (pacer,):
        time.sleep(8 * STEP)
        since = client.hget(f"{{request-uplift:pace:{STEP:g}}}", "since").decode()
        name = f"{{request-uplift:pace:{STEP:g}}}:{since}:"
        for step in range(int(now_of(client) / STEP) + 1, int(now_of(client) / STEP) + 4):
            client.hset(f"{name}{step}", mapping=fields)
        time.sleep((GRACE_STEPS + 5) * STEP)
        assert set(pacer.failures) & {"unfit", "ResponseError", "ERR"}
        assert 0 <= pacer.present < math.inf
        assert pacer.age < 5 * STEP
    client.close()


def replies(answer):
    """Return a client that takes a second for an answer of no use."""

    class Client:
        def eval(self, *told):
            time.sleep(0.3)
            if isinstance(answer, Exception):
                raise answer
            return answer

        def close(self):
            pass

    return lambda url, timeout: Client()


@pytest.mark.parametrize("answer", [None, b"OK", [1.0], OSError(113, "No route to host")])
def test_what_is_no_answer_is_counted_and_nothing_waits_for_it(answer):
    with fleet(Url("redis://x"), 1, connect=replies(answer)) as (pacer,):
        begin = time.monotonic()
        for _ in range(1000):
            pacer.decided(0.0, 1.0, 2.0, 1.0)
        assert time.monotonic() - begin < 0.2
        time.sleep(0.5)
        assert set(pacer.failures) == {"OSError" if isinstance(answer, OSError) else "unfit"}
        assert pacer.present == 1.0
        assert pacer.age == math.inf


def test_another_plan_is_followed_from_now_on():
    with fleet(None, 1) as pacers:
        drive = Drive(pacers, [sum(TRAFFIC)])
        drive.go(2.0)
        assert_near([pacers[0].present])
        pacers[0].follow([1.0], RATE, math.inf)  # the same one
        assert_near([pacers[0].present])
        pacers[0].follow([7.0], 2 * RATE, math.inf)
        assert pacers[0].present == 7.0
        with pytest.raises(InputError, match="price holds -1"):
            pacers[0].follow([-1.0], RATE, math.inf)
        drive.go(2.0)
        assert_near([pacers[0].present], PRICE - math.log(2))


def test_a_closed_window_lets_nothing_through_and_zero_is_no_price():
    with fleet(None, 1) as (pacer,):
        pacer.follow([1.0], 0.0, math.inf)
        assert pacer.present == math.inf


def test_windows_of_prices_and_rates_are_cut_alike():
    for prices, window, rates in (
        (24, 3600.0, 1),
        (24, 3600.0, 7),
        (1, math.inf, 5),
        (18, 5000.0, 2),
        (96, 900.0, 1440),
        (7, 86400 / 7, 96),
    ):
        price, by_window = np.arange(1.0, prices + 1), Rates(tuple(np.arange(1.0, rates + 1)))
        fine, capacity, seconds = _common(price, window, by_window)
        pacer = Pacer(fine, capacity, window_seconds=seconds)
        for moment in np.random.default_rng(0).uniform(0, 86_400, 200):
            if min(moment % 60, 60 - moment % 60) < 1:
                continue
            at = int(moment // 60) * 60 + 30.5 if len(fine) == 1440 else moment
            assert pacer.capacity(at) == by_window.at(at)
            begin = pacer._window(int(at))
            assert fine[begin] == price[0 if prices == 1 else int(at // window)]


def test_bins_are_those_of_every_process():
    """What one counts in its grid, another reads in its own; beyond it, in the outermost bins."""
    one, other = Grid([1.0]), Grid([1.0, 3.0])
    gains = np.random.default_rng(0).lognormal(0.0, 1.0, 1000)
    with fleet(None, 1) as (pacer,):
        for gain in gains:
            pacer.decided(0.0, 0.0, float(gain), 1.0)
        with pacer._lock:
            counted = [*pacer._waiting, pacer._own]
    total = sum(one.histogram(c.gains) for c in counted)
    whole = Pacer([1.0], 1.0, window_seconds=math.inf, edges=one.edges)
    np.testing.assert_array_equal(total, whole.histogram(gains))
    told = sum(other.histogram(c.gains) for c in counted)
    assert total.sum() == told.sum()
    shift = one.low - other.low
    np.testing.assert_array_equal(total[1:-1], told[1 + shift : len(total) - 1 + shift])
