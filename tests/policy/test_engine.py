"""The engine decides as batch scoring and planning do, to the bit, and says why."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from offline_eval.feed import simulate
from offline_eval.policies import Moment
from policy.budget import Budget
from policy.bundle import Bundle
from policy.engine import DecisionEngine, steady_clock
from policy.plan import plan_requests
from policy.problem import Limits
from policy.session_state import SessionState
from policy.token_bucket import TokenBucket
from uplift import AutoLearner, BoostParams
from uplift.errors import InputError
from uplift.learners import LEARNERS
from uplift.model import UpliftModel

SMALL = BoostParams(max_rounds=12, max_depth=3)
LIMITS = Limits(per_session=3, per_page=2, min_gap=10)
NOON = 12 * 3600.0


@pytest.fixture(scope="module")
def logs():
    return simulate(3_000, seed=3, rate=20.0).split(share=(0.6, 0.4), seed=0)


def records(log):
    names = dict.fromkeys([*log.features, "page", "position", "session_id"])
    return log.frame[list(names)].to_dict("records")


@pytest.fixture(scope="module")
def bundle(logs, tmp_path_factory):
    """A bundle whose plan has prices, reserves, ties and limits."""
    fit, plan_on = logs
    model = UpliftModel.fit(fit, "t", BoostParams(max_rounds=40))
    plan = plan_requests(model.score(plan_on), Budget.qps_share(0.1), LIMITS, shrink=0.2)
    folder = tmp_path_factory.mktemp("engine") / "bundle"
    Bundle(model, plan).save(folder)
    return folder


@pytest.fixture(scope="module")
def artefact(bundle):
    return Bundle.load(bundle)


def learner(name):
    if name == "auto":
        return AutoLearner(SMALL, members=("proportional", "s", "dr", "x"), n_settings=1)
    return LEARNERS[name](SMALL)


@pytest.mark.parametrize("name", sorted(LEARNERS))
@pytest.mark.parametrize("outcome", ["purchase_10", "gmv_10"])
def test_every_learner_has_the_same_uplift_as_in_a_batch(logs, tmp_path, name, outcome):
    fit, test = logs
    schema = replace(fit.schema, primary=outcome)
    fit, test = (type(log).unchecked(log.frame, schema) for log in (fit, test))
    model = UpliftModel.fit(fit, learner(name))
    test = test.take(np.arange(400))
    plan = plan_requests(model.score(test), Budget.share(0.1))
    Bundle(model, plan).save(tmp_path / "bundle")
    engine = DecisionEngine.load(tmp_path / "bundle")
    found = np.array([engine.uplift(record) for record in records(test)])
    np.testing.assert_array_equal(found, model.uplift(test))


def test_the_rule_is_the_plans(artefact, bundle, logs):
    """At every window, place and state, the same probabilities to the bit."""
    log = logs[1].take(np.arange(3_000))
    rule = artefact.plan.policy(artefact.model)
    prepared = rule.prepare(log)
    rng = np.random.default_rng(0)
    requests = rng.integers(0, 5, len(log))
    on_page = np.minimum(rng.integers(0, 4, len(log)), requests)
    since = rng.choice([0, 3, 9, 10, 40, 1 << 40], len(log))
    moment = Moment(log.page, log.slot, requests, on_page, since)
    expected = rule.probabilities(prepared, moment)
    stamps = log.frame["timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    now = [0.0]
    engine = DecisionEngine.load(bundle, clock=lambda: now[0], seed=0)
    reasons = Counter()
    for i, record in enumerate(records(log)):
        now[0] = stamps[i]
        state = SessionState(int(requests[i]), int(on_page[i]), int(since[i]))
        decision = engine.decide(record, state=state)
        assert decision.propensity == expected[i, decision.arm]
        reasons[decision.reason] += 1
    assert set(reasons) >= {"worth it", "below price", "session limit", "page limit", "too soon"}
    assert decision.plan_version == engine.plan_version


def test_the_engine_keeps_count_of_sessions(bundle, logs, tmp_path):
    """Led through a log it makes the requests of the rule led through it."""
    from offline_eval.policies import walk

    artefact = Bundle.load(bundle)
    log = logs[1].take(np.arange(2_000))
    free = replace(artefact.plan, tie_share=np.zeros(len(artefact.plan.price)))
    expected = walk(free.policy(artefact.model), log)
    stamps = log.frame["timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    now = [0.0]
    Bundle(artefact.model, free).save(tmp_path / "free")
    engine = DecisionEngine.load(tmp_path / "free", clock=lambda: now[0])
    arms, table = np.zeros(len(log), int), records(log)
    for i in log.session_order:
        now[0] = stamps[i]
        arms[i] = engine.decide(table[i]).arm
    np.testing.assert_array_equal(arms, expected.argmax(axis=1))
    assert arms.sum() > 10


def test_exploration_is_logged_with_its_propensities(bundle, logs):
    """Shares of arms and of reasons within 4.5 standard errors; weights average to 1."""
    engine = DecisionEngine.load(bundle, clock=lambda: NOON, explore=0.2, seed=1)
    record, n = records(logs[1])[5], 20_000
    decisions = [engine.decide(record, state=SessionState()) for _ in range(n)]
    chance = {d.arm: d.propensity for d in decisions}
    assert sum(chance.values()) == pytest.approx(1.0)
    assert min(chance.values()) >= 0.1
    share = np.mean([d.arm for d in decisions])
    assert abs(share - chance[1]) < 4.5 * np.sqrt(chance[1] * (1 - chance[1]) / n)
    explored = np.mean([d.reason == "explored" for d in decisions])
    assert abs(explored - 0.2) < 4.5 * np.sqrt(0.2 * 0.8 / n)
    refused = engine.decide(record, state=SessionState(3, 0))
    assert (refused.arm, refused.propensity, refused.reason) == (0, 1.0, "session limit")


def test_quota_caps_and_the_callers_clock_does_not_count(bundle, logs):
    now = [NOON]
    engine = DecisionEngine.load(
        bundle, clock=lambda: now[0], explore=0.9, seed=0, quota=TokenBucket(rate=1e-9, burst=2.0)
    )
    table = [r | {"timestamp": "2090-01-01"} for r in records(logs[1])[:50]]
    decisions = [engine.decide(r, state=SessionState()) for r in table]
    assert sum(d.arm for d in decisions) == 2
    over = [d for d in decisions if d.reason == "over budget"]
    assert over
    assert {(d.arm, d.propensity) for d in over} == {(0, 1.0)}


def test_propensities_are_true_where_the_quota_is_empty(bundle, logs):
    """Weights of each arm average to 1 within 4.5 standard errors, budget or none."""
    table, n = records(logs[1])[:200], 4_000
    for rate in (0.0, 1e9):
        quota = TokenBucket(rate=rate, burst=1.0)
        engine = DecisionEngine.load(bundle, clock=lambda: NOON, explore=0.5, seed=0, quota=quota)
        made = [engine.decide(table[k % 200], state=SessionState()) for k in range(n)]
        for arm in (0, 1) if rate else (0,):
            weight = np.array([(d.arm == arm) / d.propensity for d in made[1:]])
            assert abs(weight.mean() - 1) < 4.5 * weight.std() / np.sqrt(n) + 1e-9
        assert (sum(d.arm for d in made) > 100) == (rate > 0)


def test_limits_need_to_know_the_session(bundle, logs):
    engine = DecisionEngine.load(bundle, clock=lambda: NOON)
    record = {k: v for k, v in records(logs[1])[0].items() if k != "session_id"}
    with pytest.raises(InputError, match="give its session_id, or its state"):
        engine.decide(record)
    engine.decide(record, state=SessionState())
    engine.decide(record, session="one")


def test_threads_keep_the_limits_of_a_session(bundle, logs):
    """Eight threads decide at once in the same sessions: never more than two a page."""
    engine = DecisionEngine.load(bundle, clock=lambda: NOON, explore=0.99, seed=0)
    record = records(logs[1])[0] | {"page": 0}
    made = Counter()

    def decide(thread):
        for k in range(400):
            place = {"session_id": k // 8, "position": 5 * (k % 8) + thread % 4}
            if engine.decide(record | place).arm:
                made[k // 8] += 1

    threads = [threading.Thread(target=decide, args=(t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made
    assert max(made.values()) <= LIMITS.per_page


def test_the_default_clock_never_goes_back(monkeypatch):
    clock = steady_clock()
    before = clock()
    assert abs(before - time.time()) < 1
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock() >= before


def test_a_pacer_corrects_the_price(bundle, logs):
    class Dear:
        seen = 0.0

        def price(self, now):
            return 1e6

        def decided(self, now, requests, gain, cost):
            assert (requests, cost) == (0.0, 1.0) or gain <= 0
            self.seen += 1

    pacer = Dear()
    engine = DecisionEngine.load(bundle, clock=lambda: NOON, pacer=pacer)
    decisions = engine.decide_many(records(logs[1])[:30])
    assert {d.arm for d in decisions} == {0}
    assert {d.price for d in decisions} == {1e6}
    assert pacer.seen == 30


def test_threads_decide_alike(bundle, logs):
    engine = DecisionEngine.load(bundle, clock=lambda: NOON, seed=0)
    table = records(logs[1])[:300]
    alone = [engine.decide(r, state=SessionState()) for r in table]
    found = [None] * 4

    def decide(k):
        found[k] = [engine.decide(r, state=SessionState()) for r in table]

    threads = [threading.Thread(target=decide, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == alone for one in found)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"f_clicks_20": "many"}, "feature 'f_clicks_20' is 'many'; the model expects a number"),
        ({"f_clicks_20": 10**400}, "feature 'f_clicks_20' holds an infinite value"),
        ({"f_clicks_20": float("inf")}, "feature 'f_clicks_20' holds an infinite value"),
        ({"page": -1}, "page -1, position .*expected whole numbers from 0"),
        ({"position": 50}, "position 50; expected .* below 50"),
        ({"position": 2.5}, "position 2.5"),
    ],
)
def test_bad_features_are_told(bundle, logs, change, sentence):
    engine = DecisionEngine.load(bundle, clock=lambda: NOON)
    with pytest.raises(InputError, match=sentence):
        engine.decide(records(logs[1])[0] | change)


def test_what_is_missing_and_what_is_unusual(bundle, logs):
    engine = DecisionEngine.load(bundle, clock=lambda: NOON)
    record = records(logs[1])[0]
    with pytest.raises(InputError, match="feature 'f_clicks_20' is missing"):
        engine.decide({k: v for k, v in record.items() if k != "f_clicks_20"})
    unusual = {k: np.float64(v) if isinstance(v, float) else v for k, v in record.items()}
    assert engine.uplift(unusual) == engine.uplift(record)
    assert engine.uplift(record | {"f_clicks_20": None}) == engine.uplift(
        record | {"f_clicks_20": float("nan")}
    )
    for nothing in (None, 3, []):
        with pytest.raises(InputError, match="expected a mapping"):
            engine.decide(nothing)
    assert engine.decide(record | {"page": np.int64(1), "position": np.int16(3)})
    for bad in ({"explore": 1.0}, {"explore": -0.1}):
        with pytest.raises(InputError, match="expected a share"):
            DecisionEngine.load(bundle, **bad)
    for bad in ((-1, 0), (1, 2)):
        with pytest.raises(InputError, match="expected counts from 0 on"):
            SessionState(*bad)


def test_a_bundle_without_a_plan_is_told(artefact, tmp_path):
    replace(artefact, plan=None).save(tmp_path / "bundle")
    with pytest.raises(InputError, match="holds no plan"):
        DecisionEngine.load(tmp_path / "bundle")


def test_serving_is_light(bundle):
    """No training stack, under 150 MB, and loaded within half a second of a warm machine's time."""
    code = f"""
import sys, time
begin = time.perf_counter()
import policy
engine = policy.DecisionEngine.load({str(bundle)!r})
seconds = time.perf_counter() - begin
import json, re
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps([seconds, peak, sorted(sys.modules)]))
"""
    runs = []
    for _ in range(5):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    heavy = ("pandas", "xgboost", "sklearn", "scipy", "numba", "ortools", "causalml", "econml")
    assert not {*heavy, "matplotlib", "pyarrow"} & set(runs[0][2])
    assert max(peak for _, peak, _ in runs) < 150
    assert min(seconds for seconds, _, _ in runs) < 0.5


def test_the_bundle_may_not_be_changed(bundle, tmp_path):
    import shutil

    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    manifest = folder / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"per_page": 2', '"per_page": 3').replace("1.0", "2.0", 1))
    with pytest.raises(InputError, match="its digest differs"):
        DecisionEngine.load(folder)
    manifest.write_text(text)
    booster = folder / "model" / "outcome_0.ubj"
    data = bytearray(booster.read_bytes())
    data[len(data) // 2] ^= 1
    booster.write_bytes(bytes(data))
    with pytest.raises(InputError, match="sha256 differs"):
        DecisionEngine.load(folder)
    booster.unlink()
    booster.symlink_to(Path(bundle) / "model" / "outcome_0.ubj")
    with pytest.raises(InputError, match="lacks the file"):
        DecisionEngine.load(folder)
