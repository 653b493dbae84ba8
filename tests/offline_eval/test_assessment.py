"""A plan beside its baselines: truth, frontiers, savings, warnings, plain names."""

import json
from dataclasses import replace

import numpy as np
import pytest
from eval_policies import Threshold, handmade

from offline_eval.assessment import Assessment, assess, baselines
from offline_eval.feed import simulate
from offline_eval.policies import Always
from uplift.log import RequestLog


@pytest.fixture(scope="module")
def log() -> RequestLog:
    return simulate(8000, seed=9, rate=10)


@pytest.fixture(scope="module")
def assessed(log: RequestLog) -> Assessment:
    return judged(log)


def judged(log: RequestLog, **options: object) -> Assessment:
    levels = (2.5, 1.5, 0.5, -1)
    return assess(
        log,
        Threshold("f_clicks_20", 1.5, name="plan"),
        rivals=[],
        families={"plan": [Threshold("f_clicks_20", level) for level in levels]},
        outcome=np.full((len(log), 2), 0.01),
        **options,
    )


def test_plan_stands_first_beside_its_baselines(assessed: Assessment) -> None:
    assert list(assessed.evaluations) == ["plan", "never", "always", "random", "fixed"]
    sure = [n for n in ("random", "fixed") if assessed.evaluations[n].gain.lower > 0]
    assert list(assessed.savings) == sure != []
    assert [curve.name for curve in assessed.frontiers] == ["plan"]


def test_truth_stands_beside_the_estimates(assessed: Assessment) -> None:
    for name, evaluation in assessed.evaluations.items():
        estimate = evaluation.value["dr"]
        error = (estimate.upper - estimate.lower) / (2 * 1.96)
        assert abs(estimate.value - assessed.truth[name]) < 4.5 * error
    assert assessed.truth["never"] < assessed.truth["plan"]


def test_advantage_is_paired_and_near_the_truth(log: RequestLog, assessed: Assessment) -> None:
    assert list(assessed.advantages) == ["never", "always", "random", "fixed"]
    for name, advantage in assessed.advantages.items():
        expected = assessed.truth["plan"] - assessed.truth[name]
        error = (advantage.upper - advantage.lower) / (2 * 1.96)
        assert abs(advantage.value - expected) < 4.5 * error
    assert assessed.advantages["never"] == assessed.evaluations["plan"].gain


def test_without_true_columns_there_is_no_truth(log: RequestLog) -> None:
    blind = log.frame.drop(columns="true_purchase_10_1")
    assessed = judged(RequestLog.unchecked(blind, log.schema))
    assert assessed.truth == {}
    assert "true" not in assessed.to_dict()["value"]["plan"]


def test_rates_are_those_of_the_plan(log: RequestLog, assessed: Assessment) -> None:
    row = next(r for r in assessed.rates if r.outcome == "purchase_10")
    picked = log.frame["f_clicks_20"].to_numpy() > 1.5
    true = log.outcome("true_purchase_10_1")[picked].mean()
    assert abs(row.model.value - true) < 4.5 / 1.96 * (row.model.upper - row.model.value)


def test_plain_names_hold_without_nan(assessed: Assessment) -> None:
    table = json.loads(json.dumps(assessed.to_dict(), allow_nan=False))
    assert list(table) == ["value", "saving_at_equal_effect", "purchase_rates", "frontier"]
    assert set(table["value"]["plan"]) == {
        *("dr", "snips", "ips", "gain", "requests", "gain_per_request"),
        *("true", "n_effective", "verdict", "reasons", "weights"),
    }
    assert "plan_advantage" in table["value"]["random"]
    assert "gain_per_request" not in table["value"]["never"]
    assert list(table["saving_at_equal_effect"]) == [f"against_{n}" for n in assessed.savings]
    assert set(table["value"]["plan"]["dr"]) == {"value", "lower", "upper"}


def test_refusals_become_warnings() -> None:
    n = 300
    log = handmade(arm=np.arange(n) % 50 == 0, propensity=np.full(n, 0.02), f_x=np.ones(n))
    log.frame["arm"] = log.frame["arm"].astype(np.int8)
    assessed = assess(log, Always(), rivals=[], families={}, outcome=np.zeros((n, 2)))
    assert assessed.warnings[0].startswith("always: Lack of overlap: the effective sample size")
    value = assessed.to_dict()["value"]["always"]
    assert value["verdict"] == "refused"
    assert not {"dr", "snips", "ips", "gain", "gain_per_request"} & set(value)


def test_progress_reaches_its_end(log: RequestLog) -> None:
    steps: list[tuple[int, int]] = []
    judged(log.take(np.arange(3000)), progress=lambda done, total: steps.append((done, total)))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1][0] == steps[-1][1]


def test_baselines_fit_the_log() -> None:
    flat = handmade(f_x=np.zeros(4))
    assert [p.name for p in baselines(flat.schema, 0.1, None)] == ["never", "always", "random"]
    schema = replace(flat.schema, arms=("none", "a", "b"), arm_cost=(0.0, 1.0, 1.0))
    several = RequestLog.unchecked(flat.frame, schema)
    names = [p.name for p in baselines(several.schema, 3.0, 25)]
    assert names == ["never", "always_a", "always_b", "random", "fixed"]
    assert baselines(several.schema, 3.0, None)[-1].share == 1.0


def test_a_refused_plan_has_no_numbers_at_all(log: RequestLog) -> None:
    arm = log.frame["arm"].to_numpy()
    frame = log.frame.assign(propensity=np.where(np.arange(len(log)) == 0, 1e-9, 1.0), arm=arm)
    refused = judged(RequestLog.unchecked(frame, log.schema))
    assert refused.evaluations["plan"].diagnostics.verdict == "refused"
    assert (refused.frontiers, refused.savings, refused.rates) == ([], {}, [])
