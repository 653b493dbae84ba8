"""The service as its callers, its owner and its enemies meet it."""

import asyncio
import json
import re
import shutil
import signal
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import numpy as np
import pytest
from live_server import TOKEN, running
from redis_server import Redis

from policy.budget import Budget
from policy.bundle import Bundle
from policy.decision_log.archive import read_decisions
from policy.decision_log.writer import DecisionLog
from policy.engine import DecisionEngine
from policy.plan import plan_requests
from policy.service.build import build_service
from policy.service.openapi import document
from policy.service.server import token_of
from policy.session_state import SessionState
from uplift import BoostParams, RequestLog, UpliftModel
from uplift.errors import InputError
from uplift.parquet import read_frame


@pytest.fixture(scope="module")
def token_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("decisions")


@pytest.fixture(scope="module")
def server(bundle, token_file, folder):
    with running(bundle, "--log", folder, "--admin-token", token_file) as one:
        yield one


def test_decides_as_the_engine_does(server, bundle, points):
    engine = DecisionEngine.load(bundle)
    for point in points[:50]:
        fresh = {"requests": 0, "on_page": 0, "slots_since": 1 << 40}
        status, answer, _ = server.ask("POST", "/v1/decide", point | {"state": fresh})
        told = {**point["features"], "page": point["page"], "position": point["position"]}
        expected = engine.decide(told, state=SessionState())
        assert status == 200
        assert answer["uplift"] == list(expected.uplift)
        assert answer["reason"] == expected.reason
        assert answer["plan_version"] == expected.plan_version


def test_many_points_at_once(server, points):
    status, answer, _ = server.ask("POST", "/v1/decide_many", {"points": points[:100]})
    assert status == 200
    assert len(answer["decisions"]) == 100
    assert len({d["decision_id"] for d in answer["decisions"]}) == 100


def test_plan_model_health_and_page(server, bundle):
    engine = DecisionEngine.load(bundle)
    assert server.ask("GET", "/live")[:2] == (200, {"live": True})
    assert server.ask("GET", "/ready")[1]["plan_version"] == engine.plan_version
    assert server.ask("GET", "/v1/plan")[1]["price"] == engine.rule.price
    names = [f["name"] for f in server.ask("GET", "/v1/model")[1]["features"]]
    assert names == list(engine.features)
    status, page, headers = server.ask("GET", "/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "/v1/decide" in page
    assert server.ask("GET", "/openapi.json")[1] == json.loads(
        msgspec.json.encode(document(engine))
    )


def test_metrics_count(server, points):
    server.ask("POST", "/v1/decide", points[0])
    status, text, headers = server.ask("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert 'uplift_answers_total{path="/v1/decide",status="200"}' in text
    assert "uplift_decisions_total" in text
    assert 'uplift_log_lost{log="decisions"} 0.0' in text


def changed(point, **features):
    return point | {"features": point["features"] | features}


def asked(point, **features):
    """Return a point with the features that the page asks for, place left out, and others."""
    needed = {k: v for k, v in point["features"].items() if k not in ("page", "position")}
    return point | {"features": needed | features}


@pytest.mark.parametrize(
    ("status", "words", "body"),
    [
        (400, "no JSON", lambda p: b"{"),
        (400, "no JSON", lambda p: b""),
        (400, "no JSON", lambda p: b'{"features": {"f_clicks_20": NaN}}'),
        (422, "does not fit", lambda p: b"[]"),
        (422, "out of range", lambda p: b'{"features": {"f_clicks_20": 1e999}}'),
        (422, "unknown field `more`", lambda p: p | {"more": 1}),
        (422, r"unknown field `f_new` - at `\$.features`", lambda p: changed(p, f_new=1.0)),
        (422, "unknown field `f_new`", lambda p: asked(p, f_new=1.0)),
        (
            422,
            "missing required field `c_category` .*; /v1/model tells",
            lambda p: p | {"features": {}},
        ),
        (422, "Expected `bool .* `str` - at `.*f_clicks_20", lambda p: changed(p, f_clicks_20="x")),
        (422, "length <= 1000", lambda p: changed(p, c_category="x" * 2000)),
        (422, "Expected `bool", lambda p: changed(p, f_clicks_20=[1])),
        (422, "Expected `float` <= 3.4", lambda p: changed(p, f_clicks_20=1e39)),
        (422, "Expected `int` <= 49", lambda p: p | {"position": 50}),
        (422, "Expected `int` >= 0", lambda p: p | {"page": -1}),
        (422, "Expected `int` <= 32767", lambda p: p | {"page": 10**9}),
        (422, "Expected `int` >= 0", lambda p: p | {"state": {"requests": -1}}),
        (422, "expected counts from 0 on that fit", lambda p: p | {"state": {"on_page": 3}}),
        (422, "Expected `int` <= 9223372036854775807", lambda p: p | {"session_id": 1 << 63}),
        (413, "at most", lambda p: b" " * (2 << 20)),
    ],
)
def test_bad_bodies_get_a_problem_document(server, points, status, words, body):
    found, problem, headers = server.ask("POST", "/v1/decide", body(points[0]))
    assert found == status
    assert headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert re.search(words, problem["detail"])
    assert problem["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("no value may be named as one of", {"values": {"page": 1.0}}),
        ("length <= 100", {"values": {f"v_{n}": 1.0 for n in range(101)}}),
        ("Expected `int` >= -9223372036854775808", {"event_id": -(1 << 64)}),
        ("out of range", {"values": {"gmv": 10**400}}),
    ],
)
def test_events_that_no_log_could_hold_are_refused(server, words, changes):
    event = {"session_id": 1, "page": 0, "position": 0}
    status, problem, _ = server.ask("POST", "/v1/outcome", event | changes)
    assert status == 422
    assert words in problem["detail"]


def test_too_many_points_are_refused(server, bundle, points):
    many = json.dumps({"points": [points[0]] * 10_001}).encode()
    assert server.ask("POST", "/v1/decide_many", many)[0] == 413
    with pytest.raises(msgspec.ValidationError, match="length <= 10000"):
        build_service(bundle)._batch(many)
    assert server.ask("POST", "/v1/decide_many", {"points": []})[0] == 422


def test_paths_methods_and_ids(server, points):
    assert server.ask("GET", "/nothing")[0] == 404
    status, _, headers = server.ask("GET", "/v1/decide")
    assert (status, headers["allow"]) == (405, "POST")
    given = {"X-Request-Id": "abc-123"}
    assert server.ask("POST", "/v1/decide", points[0], given)[2]["x-request-id"] == "abc-123"
    hostile = {"X-Request-Id": "a" * 500}
    assert server.ask("GET", "/live", None, hostile)[2]["x-request-id"] != "a" * 500


def test_reload_is_atomic_and_for_the_owner(server, bundle, points, tmp_path):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert server.ask("POST", "/admin/reload", {})[0] == 401
    assert server.ask("POST", "/admin/reload", {}, {"Authorization": "Bearer no"})[0] == 401
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    (broken / "plan.json").write_text("{}")
    status, problem, _ = server.ask("POST", "/admin/reload", {"bundle": str(broken)}, bearer)
    assert status == 422
    assert "sha256 differs" in problem["detail"]
    assert server.ask("POST", "/v1/decide", points[0])[0] == 200
    status, problem, _ = server.ask("POST", "/admin/reload", {"bundle": "x" * 300}, bearer)
    assert (status, "cannot be looked at (File name too long)" in problem["detail"]) == (422, True)
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    status, answer, _ = server.ask("POST", "/admin/reload", {"bundle": str(other)}, bearer)
    assert status == 200
    assert answer["plan_version"] == server.ask("GET", "/ready")[1]["plan_version"]


def test_decisions_go_on_while_a_bundle_is_read(bundle, points):
    service, order = build_service(bundle), []
    engine, load = service.engine, service.load

    def slowly(path):
        time.sleep(0.3)
        return load(path)

    async def reload():
        await service._reloaded(b"{}")
        order.append("reloaded")

    async def decide():
        await asyncio.sleep(0.05)
        service._decided(service._point(json.dumps(points[0]).encode()))
        assert service.engine is engine
        order.append("decided")

    async def both():
        await asyncio.gather(reload(), decide())

    service.load = slowly
    asyncio.run(both())
    assert order == ["decided", "reloaded"]
    assert service.engine is not engine


def test_without_a_token_there_is_no_admin(bundle):
    with running(bundle) as server:
        assert server.ask("POST", "/admin/reload", {}, {"Authorization": "Bearer "})[0] == 404
        assert (
            server.ask("POST", "/v1/outcome", {"session_id": 1, "page": 0, "position": 0})[0] == 404
        )


def test_decisions_and_outcomes_become_a_log(bundle, points, feed_log, tmp_path, cli):
    with running(bundle, "--log", tmp_path / "log", "--explore", "0.5") as server:
        decided = [server.ask("POST", "/v1/decide", p)[1] for p in points[:200]]
        for point in points[:20]:
            event = {k: point[k] for k in ("session_id", "page", "position")}
            status, answer, _ = server.ask(
                "POST", "/v1/outcome", event | {"event_id": 1, "values": {"gmv": 2.5}}
            )
            assert (status, answer) == (202, {"accepted": True})
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15)
    frame = read_decisions(tmp_path / "log")
    assert frame["decision_id"].tolist() == [d["decision_id"] for d in decided]
    feed_log.schema.write(tmp_path / "log.toml")
    out, tomorrow = tmp_path / "samples", datetime.now() + timedelta(days=2)
    given = "--schema", tmp_path / "log.toml", "--now", f"{tomorrow:%Y-%m-%d}"
    code, _, error = cli("samples", tmp_path / "log", *given, "--out", out)
    assert (code, error) == (0, "")
    joined = read_frame(out)
    assert len(joined) == 200
    assert joined["purchase_10"].sum() >= 1


def test_full_segments_become_parquet_beside_the_server(bundle, points, tmp_path):
    """The logs of a server that goes on deciding; a segment that cannot be archived stays."""
    with DecisionLog(tmp_path, segment_bytes=1) as log:
        assert log.wait(log.append({"decision_id": "of-an-earlier-process"}), 5)
    (tmp_path / "000000000001.parquet").mkdir()
    options = ("--log", tmp_path, "--segment-mb", "0.02", "--shadow", bundle)
    with running(bundle, *options) as server:
        ids, waited = ["of-an-earlier-process"], 0.0
        while len(list(tmp_path.glob("*.parquet"))) < 5 and waited < 60:
            told = server.ask("POST", "/v1/decide_many", {"points": points[:20]})[1]
            ids += [decision["decision_id"] for decision in told["decisions"]]
            event = {k: points[0][k] for k in ("session_id", "page", "position")}
            assert server.ask("POST", "/v1/outcome", event | {"values": {"gmv": 1.0}})[0] == 202
            time.sleep(0.2)
            waited += 0.2
        text = server.ask("GET", "/metrics")[1]
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15)
    assert "uplift_log_archive_failures_total 1.0" in text
    assert float(re.search(r"uplift_log_archived_total ([\d.]+)", text)[1]) >= 3
    assert 'uplift_log_damaged{log="events"} 0.0' in text
    (tmp_path / "000000000001.parquet").rmdir()
    assert sorted(read_decisions(tmp_path)["decision_id"]) == sorted(ids)
    assert len(read_decisions(tmp_path / "shadow")) == len(ids) - 1


def test_a_shadow_decides_and_does_not_act(bundle, points, tmp_path):
    with running(bundle, "--log", tmp_path, "--shadow", bundle) as server:
        decided = [server.ask("POST", "/v1/decide", p)[1] for p in points[:50]]
        text = server.ask("GET", "/metrics")[1]
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15)
    assert "uplift_shadow_differs_total 0.0" in text
    shadow = read_decisions(tmp_path / "shadow")
    np.testing.assert_array_equal(shadow["arm"], [d["arm"] for d in decided])
    assert not set(shadow["decision_id"]) & {d["decision_id"] for d in decided}


def test_a_shadow_that_cannot_decide_fails_no_decision(bundle, points, feed_log, tmp_path):
    """Its model wants features that the one in service does not."""
    schema = replace(feed_log.schema, features=("f_clicks_*",), categorical=())
    log = RequestLog.unchecked(feed_log.frame, schema)
    model = UpliftModel.fit(log, "t", BoostParams(max_rounds=5))
    plan = plan_requests(model.score(log), Budget.share(0.2))
    Bundle(model, plan).save(tmp_path / "small")
    service = build_service(tmp_path / "small", shadow=bundle)
    few = {name: points[0]["features"][name] for name in service.engine.features}
    body = json.dumps(points[0] | {"features": few}).encode()
    answer = service.answer(b"POST", b"/v1/decide", {}, body, "")
    assert answer.status == 200
    text = service.answer(b"GET", b"/metrics", {}, b"", "").body.decode()
    assert "uplift_shadow_failures_total 1.0" in text
    service.close()


def test_a_quota_caps_what_is_decided(bundle, points):
    with running(bundle, "--qps", "0.001", "--explore", "0.9") as server:
        decided = [server.ask("POST", "/v1/decide", p)[1] for p in points[:100]]
    assert sum(d["arm"] for d in decided) == 1
    assert "over budget" in {d["reason"] for d in decided}


def test_the_rate_may_be_the_plans_and_changes_with_it(bundle, points, feed_log, tmp_path):
    found = Bundle.load(bundle)
    bundles = {}
    for rate in (0.001, 50_000.0):
        bundles[rate] = tmp_path / str(rate)
        plan = replace(found.plan, budget=Budget.qps(rate))
        Bundle(found.model, plan).save(bundles[rate])
    service = build_service(bundles[0.001], qps="plan", explore=0.9)
    fresh = [service._point(json.dumps(p | {"state": {}}).encode()) for p in points[:200]]
    assert sum(service._decided(point).arm for point in fresh) == 1
    with pytest.raises(InputError, match="budget is given in 'share'"):
        service.load(bundle)
    asyncio.run(service._reloaded(json.dumps({"bundle": str(bundles[50_000.0])}).encode()))
    time.sleep(0.01)
    assert sum(service._decided(point).arm for point in fresh) > 20
    service.close()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_shared_quota_tells_of_itself(bundle, points, tmp_path):
    redis = Redis(tmp_path)
    redis.start()
    options = ("--qps", "1000,1000", "--redis", redis.url, "--instances", "2")
    with running(bundle, *options, "--explore", "0.5") as server:
        time.sleep(0.5)
        decided = [server.ask("POST", "/v1/decide", p)[1] for p in points[:50]]
        assert sum(d["arm"] for d in decided) > 0
        text = server.ask("GET", "/metrics")[1]
        assert "uplift_quota_rate 1000.0" in text
        assert "uplift_quota_alone 0.0" in text
        assert float(re.search(r"uplift_quota_leases_total ([\d.]+)", text)[1]) > 2
        redis.kill()
        time.sleep(0.5)
        text = server.ask("GET", "/metrics")[1]
        assert "uplift_quota_alone 1.0" in text
        assert 'uplift_quota_failures_total{reason="refused"}' in text


def test_all_that_is_held_is_closed(bundle, points, tmp_path):
    """The shadow's log too: what it decided last is in the file once `close` returns."""
    service = build_service(bundle, log=tmp_path, shadow=bundle, qps=10.0)
    point = service._point(json.dumps(points[0]).encode())
    for _ in range(500):
        service._decided(point)
    service.close()
    for folder in (tmp_path, tmp_path / "shadow"):
        assert len(read_decisions(folder)) == 500
    assert not service.logs["decisions"].append({})


def test_sigterm_loses_no_answer(bundle, points, tmp_path):
    """Every decision that was taken and logged reached its caller; the process ends well."""
    with running(bundle, "--log", tmp_path) as server:
        answered, failures = [], []

        def call():
            for point in points * 20:
                try:
                    status, answer, _ = server.ask("POST", "/v1/decide", point)
                except ConnectionError as error:  # refused, or reset before it was accepted
                    failures.append(error)
                    return
                assert status == 200
                answered.append(answer["decision_id"])

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert server.process.wait(15) in (0, -signal.SIGTERM)
    assert len(answered) > 20
    assert len(failures) == len(threads)
    assert set(answered) == set(read_decisions(tmp_path)["decision_id"])


def test_bad_starts_are_told(bundle, tmp_path, cli, server):
    assert "another port" in cli("serve", bundle, "--port", server.port)[2]
    assert "does not exist" in cli("serve", tmp_path / "none")[2]
    with pytest.raises(InputError, match="needs a rate"):
        build_service(bundle, redis="redis://127.0.0.1:1/0")
    (tmp_path / "short").write_text("short")
    with pytest.raises(InputError, match="shorter than 16"):
        token_of(tmp_path / "short")
    with pytest.raises(InputError, match="cannot be read"):
        token_of(tmp_path / "none")
    assert token_of(None) is None
