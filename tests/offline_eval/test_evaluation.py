"""Estimated value, gain and requests against the truth of the simulated feed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from eval_policies import Threshold, handmade

from offline_eval.evaluation import evaluate, gain_rows
from offline_eval.feed import simulate
from offline_eval.policies import Always, Fixed, Never, Policy, Random, draw_arms, walk
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.schema import LogSchema

#: Half widths of a 95 % interval that 4.5 standard errors make.
TOLERANCE = 4.5 / 1.96
POLICIES = [
    Never(),
    Always(),
    Random(0.3),
    Fixed(position=25),
    Threshold("f_clicks_20", 1.5, name="score"),
    Threshold("f_clicks_20", 0.5, per_page=1, min_gap=15, name="limited score"),
]


@pytest.fixture(scope="module")
def log() -> RequestLog:
    return simulate(12_000, seed=5, rate=10)


@pytest.fixture(scope="module")
def rough(log: RequestLog) -> np.ndarray:
    """Return an outcome model that is far from right."""
    likely = 0.004 * (1 + log.frame["f_clicks_20"].to_numpy(dtype=np.float64))
    return np.stack([likely, 2 * likely], axis=1)


def truth(log: RequestLog) -> np.ndarray:
    return log.frame[["true_purchase_10_0", "true_purchase_10_1"]].to_numpy(dtype=np.float64)


def assert_near(estimate: Estimate, expected: float) -> None:
    half = estimate.upper - estimate.value
    assert 0 < half < np.inf
    assert abs(estimate.value - expected) < TOLERANCE * half


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_estimates_lie_near_the_truth(log: RequestLog, rough: np.ndarray, policy: Policy) -> None:
    pi = walk(policy, log)
    expected = np.einsum("na,na->n", pi, truth(log))
    for outcome in (None, rough):
        result = evaluate(log, policy, outcome=outcome)
        assert set(result.value) == (
            {"snips", "ips"} if outcome is None else {"dr", "snips", "ips"}
        )
        for estimate in result.value.values():
            assert_near(estimate, expected.mean())
        assert result.requests.value == pytest.approx(pi[:, 1].mean())
        assert result.diagnostics.verdict == "sound"
        if policy.name != "never":
            assert result.gain is not None
            assert result.gain_per_request is not None
            gained = (expected - truth(log)[:, 0]).mean()
            assert_near(result.gain, gained)
            assert_near(result.gain_per_request, gained / pi[:, 1].mean())


def test_never_gains_exactly_nothing(log: RequestLog, rough: np.ndarray) -> None:
    for outcome in (None, rough):
        result = evaluate(log, Never(), outcome=outcome)
        assert result.gain == Estimate(0.0, 0.0, 0.0)
        assert result.requests == Estimate(0.0, 0.0, 0.0)
        assert result.gain_per_request is None


def test_gain_is_the_difference_of_two_dr_values(log: RequestLog, rough: np.ndarray) -> None:
    values = [evaluate(log, p, outcome=rough).value["dr"].value for p in (Always(), Never())]
    gain = gain_rows(log, walk(Always(), log), rough).mean()
    assert gain == pytest.approx(values[0] - values[1])


def test_estimators_are_those_asked_for(log: RequestLog) -> None:
    assert list(evaluate(log, Always(), estimators=["ips"]).value) == ["ips"]


def test_known_probabilities_are_taken_as_they_are(log: RequestLog) -> None:
    pi = walk(Random(0.5), log)
    result = evaluate(log, Never(), probabilities=pi)
    assert result.requests.value == pytest.approx(0.5)
    assert result.policy == "never"


def test_cost_of_the_arms_counts_as_requests(log: RequestLog) -> None:
    dear = RequestLog.unchecked(log.frame, replace(log.schema, arm_cost=(0.0, 2.5)))
    cheap, costly = (evaluate(each, Random(0.2)) for each in (log, dear))
    assert costly.requests.value == pytest.approx(2.5 * 0.2)
    assert cheap.gain_per_request is not None
    assert costly.gain_per_request is not None
    assert costly.gain_per_request.value == pytest.approx(cheap.gain_per_request.value / 2.5)


def test_several_arms_of_different_cost() -> None:
    rng, n = np.random.default_rng(3), 30_000
    kind, mean = rng.integers(0, 2, n), np.array([[1.0, 2.0, 0.5], [2.0, 2.5, 4.0]])
    logged = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])[kind]
    arm = draw_arms(logged, rng.random(n))
    log = handmade(
        arm=arm,
        propensity=logged[np.arange(n), arm],
        y=mean[kind, arm] + rng.normal(0, 1, n),
        user_id=rng.integers(0, 5000, n),
    )
    schema = replace(log.schema, arms=("none", "a", "b"), arm_cost=(0.0, 1.0, 3.0))
    log = RequestLog.unchecked(log.frame, schema)
    pi = np.array([[0.2, 0.8, 0.0], [0.0, 0.1, 0.9]])[kind]
    expected = np.einsum("na,na->n", pi, mean[kind])
    gained = (expected - mean[kind, 0]).mean()
    for outcome in (None, mean[kind], mean[1 - kind]):
        result = evaluate(log, Never(), outcome=outcome, probabilities=pi)
        for estimate in result.value.values():
            assert_near(estimate, expected.mean())
        assert result.gain is not None
        assert_near(result.gain, gained)
        assert result.requests.value == pytest.approx((pi @ [0, 1, 3]).mean())


def test_a_refused_policy_carries_no_value() -> None:
    log = handmade(y=np.ones(200), arm=np.zeros(200, int))
    result = evaluate(log, Always(), outcome=np.ones((200, 2)))
    assert result.diagnostics.verdict == "refused"
    assert (result.value, result.gain, result.gain_per_request) == ({}, None, None)
    assert result.requests.value == 1.0


def test_bad_calls_are_told(log: RequestLog) -> None:
    n = len(log)
    with pytest.raises(InputError, match=r"estimator 'magic' is unknown; choose among \['dr'"):
        evaluate(log, Never(), estimators=["magic"])
    with pytest.raises(InputError, match="dr needs an outcome model"):
        evaluate(log, Never(), estimators=["dr"])
    with pytest.raises(InputError, match="probabilities has shape"):
        evaluate(log, Never(), probabilities=np.ones((n, 3)) / 3)
    with pytest.raises(InputError, match="probabilities has shape"):
        evaluate(log, Never(), probabilities=np.ones((n - 1, 2)) / 2)
    with pytest.raises(InputError, match="do not sum to 1"):
        evaluate(log, Never(), probabilities=np.ones((n, 2)))
    with pytest.raises(InputError, match="outcome has shape"):
        evaluate(log, Always(), outcome=np.zeros((n, 3)))
    with pytest.raises(InputError, match="outcome has shape"):
        gain_rows(log, walk(Always(), log), np.zeros(n))


def test_gain_is_absent_where_the_log_cannot_answer_for_never():
    n = 4000
    arm = np.ones(n, np.int8)
    arm[:2] = 0
    frame = pd.DataFrame({"arm": arm, "propensity": np.where(arm == 0, 0.0005, 0.9995)})
    frame["y"], frame["f_x"] = 0.5, 0.0
    schema = LogSchema(("none", "request"), (0.0, 1.0), ("y",), "y", ("f_x",))
    result = evaluate(RequestLog(frame, schema), Always())
    assert result.value["snips"].value == pytest.approx(0.5)
    assert (result.gain, result.gain_per_request) == (None, None)
    assert result.diagnostics.verdict == "doubtful"
    assert "2 effective rows were logged without" in result.diagnostics.reasons[0]
