"""A service whose price follows the traffic, whose cap fits its arms, whom no slow body holds."""

import asyncio
import json
import math
import re
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from live_server import running
from redis_server import Redis
from typer.testing import CliRunner

from policy.bundle import Bundle
from policy.engine import DecisionEngine
from policy.service.build import build_service
from policy.session_state import SessionState
from uplift.errors import InputError

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)
STEP = 0.2


def decided(service, points, seconds, rate):
    """Decide at a rate, each point of a session of its own; return decisions."""
    fresh = [service._point(json.dumps(point | {"state": {}}).encode()) for point in points]
    begin, made = time.monotonic(), []
    while (elapsed := time.monotonic() - begin) < seconds:
        while len(made) < rate * elapsed:
            made.append(service._decided(fresh[len(made) % len(fresh)]))
        time.sleep(0.002)
    return made


def told(service, name):
    return float(re.search(rf"^{name} (\S+)", service._exposition().decode(), re.MULTILINE)[1])


def test_pacing_needs_a_rate(bundle):
    from policy.cli import app

    with pytest.raises(InputError, match="pacing needs a rate to meet; give --qps"):
        build_service(bundle, pace=True)
    answer = CliRunner().invoke(app, ["serve", str(bundle), "--pace"])
    assert isinstance(answer.exception, InputError)


@pytest.mark.parametrize("explore", [0.0, 0.05])
def test_the_price_comes_to_where_the_rate_is_spent(bundle, points, explore):
    """Demand is above the rate at the planned price; soon what is asked for is the rate."""
    traffic, rate, seconds = 500.0, 40.0, 4.0
    service = build_service(bundle, qps=rate, pace=True, pace_seconds=STEP, explore=explore)
    planned = service.engine.rule.price
    assert service.pacer.present in planned
    decided(service, points, 3.0, traffic)
    made = decided(service, points, seconds, traffic)
    spent = sum(d.arm > 0 for d in made) / seconds
    cut = sum(d.reason == "over budget" for d in made) / seconds
    print(
        f"price {planned[0]:.5f} to {service.pacer.present:.5f}: {spent:.1f} of {rate}, cut {cut}"
    )
    assert told(service, "uplift_pace_price") == service.pacer.present != planned[0]
    assert told(service, "uplift_pace_reports_total") > 10
    assert told(service, "uplift_pace_report_age_seconds") < 3 * STEP
    error = 4.5 * math.sqrt(rate / seconds)
    assert 0.9 * rate - error < spent < rate + error
    # at the planned price 150 a second are asked for: 110 of them are cut, and where all points may
    # explore, three quarters of all
    assert cut < (traffic / 2 if explore else error)
    service.close()


def test_a_reload_brings_the_new_plans_price(bundle, points, tmp_path):
    found = Bundle.load(bundle)
    dear = replace(found.plan, price=found.plan.price + 7.0)
    Bundle(found.model, dear).save(tmp_path / "dear")
    service = build_service(bundle, qps=40.0, pace=True, pace_seconds=STEP)
    decided(service, points, 2.0, 300.0)
    before = service.pacer.present
    asyncio.run(service._reloaded(b"{}"))  # the same plan: what was learned stays
    assert service.pacer.present == pytest.approx(before, rel=0.5)
    assert told(service, "uplift_pace_reports_total") > 0
    asyncio.run(service._reloaded(json.dumps({"bundle": str(tmp_path / "dear")}).encode()))
    assert service.pacer.present in dear.price
    (made,) = {d.price for d in decided(service, points, 0.01, 300.0)}
    assert made in dear.price
    service.close()


def test_break_evens_are_the_curve_of_demand(bundle, points):
    """What a pacer is told at one price says for each price what the rule requests."""

    class Seen:
        at, told = math.inf, ()

        def price(self, now):
            return self.at

        def decided(self, now, requests, worth, cost):
            self.told += ((requests, worth, cost),)

    pacer = Seen()
    engine = DecisionEngine.load(bundle, pacer=pacer, clock=lambda: 43_200.0)
    worths = []
    for price in (math.inf, 0.0, *np.random.default_rng(0).uniform(0.001, 0.003, 20)):
        pacer.at, pacer.told = price, ()
        for point in points:
            place = {name: point[name] for name in ("page", "position")}
            engine.decide(point["features"] | place, state=SessionState())
        requests, worth, cost = np.array(pacer.told).T
        apart = (requests == 0) | (requests == 1)  # no tie
        np.testing.assert_array_equal(requests[apart], (worth > price)[apart])
        assert (cost == 1.0).all()
        worths.append(worth)
    np.testing.assert_array_equal(np.ptp(np.array(worths), axis=0), 0.0)  # the same at each price
    assert len(np.unique(worths[0])) > 100
    engine.decide(points[0]["features"], state=SessionState(requests=2, on_page=2, slots_since=99))
    assert pacer.told[-1][:2] == (0.0, 0.0)  # what limits refuse no price lets through


@pytest.fixture(scope="module")
def dear(bundle, tmp_path_factory):
    """A bundle whose arm costs two requests."""
    found = Bundle.load(bundle)
    schema = replace(found.model.schema, arm_cost=(0.0, 2.0))
    folder = tmp_path_factory.mktemp("dear") / "bundle"
    Bundle(replace(found.model, schema=schema), found.plan).save(folder)
    return folder


def test_a_cap_below_the_dearest_arm_still_lets_it_through(dear, points):
    """At 5 a second and a cost of 2 the burst of a tenth of a second would fit no request."""
    with running(dear, "--qps", "5", "--explore", "0.9", "--pace") as server:
        answers = [server.ask("POST", "/v1/decide", p | {"state": {}}) for p in points[:60]]
    assert {status for status, _, _ in answers} == {200}
    reasons = [answer["reason"] for _, answer, _ in answers]
    assert sum(answer["arm"] for _, answer, _ in answers) >= 1
    assert "over budget" in reasons


@needs_redis
def test_a_shared_cap_below_the_dearest_arm_lets_it_through_in_time(dear, points, tmp_path):
    redis = Redis(tmp_path)
    redis.start()
    services = [
        build_service(dear, qps=5.0, redis=redis.url, instances=2, explore=0.9) for _ in range(2)
    ]
    spent = 0.0
    for _ in range(3):
        for service in services:
            spent += 2.0 * sum(d.arm for d in decided(service, points, 0.5, 200.0))
    assert 2 * 2.0 <= spent <= 5.0 * 3.5 + 2.0  # each holds a request while the other decides
    for service in services:
        service.close()
    redis.kill()


@needs_redis
def test_paced_services_tell_of_themselves(bundle, points, tmp_path):
    redis = Redis(tmp_path)
    redis.start()
    options = ("--qps", "100000", "--redis", redis.url, "--instances", "2")
    with (
        running(bundle, *options, "--pace", "--pace-seconds", STEP) as one,
        running(bundle, *options, "--pace", "--pace-seconds", STEP) as two,
    ):
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert one.ask("POST", "/v1/decide", points[0] | {"state": {}})[0] == 200
        texts = [server.ask("GET", "/metrics")[1] for server in (one, two)]
        prices = [float(re.search(r"\nuplift_pace_price (\S+)", text)[1]) for text in texts]
        assert prices == [0.0, 0.0]  # all fits the rate: known to the one that decides nothing too
        assert all(
            float(re.search(r"\nuplift_pace_report_age_seconds (\S+)", t)[1]) < 1 for t in texts
        )
        redis.kill()
        time.sleep(3 * STEP)
        assert one.ask("POST", "/v1/decide", points[0] | {"state": {}})[0] == 200
        text = one.ask("GET", "/metrics")[1]
        assert 'uplift_pace_failures_total{reason="refused"}' in text


def test_a_body_that_drips_is_refused_as_a_whole(bundle):
    """A byte every half a second keeps no connection for longer than a body may take."""
    with running(bundle) as server, server.connected() as (connection, _):
        begin = time.monotonic()
        connection.sendall(b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        connection.settimeout(0.5)
        status = b""
        while not status and time.monotonic() < begin + 20:
            connection.sendall(b" ")
            try:
                status = connection.recv(1 << 12)
            except TimeoutError:
                continue
    assert status.startswith(b"HTTP/1.1 408")
    assert b"did not come within 5 s" in status
    assert 4.5 < time.monotonic() - begin < 7.5
