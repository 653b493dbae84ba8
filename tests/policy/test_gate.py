"""The gate: what is published, what is held, and why."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from offline_eval.assessment import Assessment
from offline_eval.costs import Spend
from offline_eval.diagnostics import Diagnostics
from offline_eval.evaluation import Evaluation
from policy.budget import Budget
from policy.gate import GateRules, budget_per_point, gate, plan_spend
from policy.job import Job
from policy.plan import plan_requests
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.plain import to_plain
from uplift.randomisation import Check

WITHIN = Spend(Estimate(0.1, 0.09, 0.11), 0.12, 0.001)
SOUND = Diagnostics(1000, 900.0, 0.001, 0.001, 0.0, 100, Estimate(1.0, 0.9, 1.1), "sound", ())


def evaluation(name: str, diagnostics: Diagnostics = SOUND) -> Evaluation:
    requests = Estimate(0.1, 0.09, 0.11)
    return Evaluation(name, {}, None, requests, None, diagnostics)


def assessed(
    lower: float | None = 0.01, plan: Diagnostics = SOUND, never: Diagnostics = SOUND
) -> Assessment:
    advantages = {} if lower is None else {"never": Estimate(lower + 0.01, lower, lower + 0.02)}
    both = {"plan": evaluation("plan", plan), "never": evaluation("never", never)}
    return Assessment(both, advantages, {}, [], {}, [])


def test_a_plan_that_shows_all_is_published() -> None:
    found = gate(assessed(), WITHIN, [Check("leak", "sound", "Fine.")])
    assert (found.verdict, found.reasons) == ("published", ())
    assert found.advantage == Estimate(0.02, 0.01, 0.03)
    assert found.to_dict()["over"] == 0.001


@pytest.mark.parametrize(
    ("lower", "margin", "verdict"),
    [
        (0.01, 0.0, "published"),
        (0.01, 0.01, "held"),
        (-1e-9, 0.0, "held"),
        (-0.01, -0.02, "published"),
    ],
)
def test_the_lower_bound_must_exceed_the_margin(lower: float, margin: float, verdict: str) -> None:
    found = gate(assessed(lower), WITHIN, [], GateRules(margin=margin))
    assert found.verdict == verdict
    assert all("may be as low as" in reason for reason in found.reasons)


def test_an_unknown_gain_is_held() -> None:
    found = gate(assessed(None), WITHIN, [])
    assert found.reasons == ("The gain over never is not known.",)
    assert "advantage" not in found.to_dict()


def test_a_spend_that_may_break_the_budget_is_held() -> None:
    found = gate(assessed(), replace(WITHIN, over=0.2), [])
    assert found.verdict == "held"
    assert "with probability 20% (at most 10% is allowed)" in found.reasons[0]
    assert gate(assessed(), replace(WITHIN, over=0.2), [], GateRules(confidence=0.8)).reasons == ()


def test_every_doubt_is_a_reason() -> None:
    doubt = replace(SOUND, verdict="doubtful", reasons=("Thin overlap.",))
    checks = [Check("leak", "doubtful", "A leak."), Check("drift", "refused", "A drift.")]
    found = gate(assessed(plan=doubt, never=doubt), WITHIN, checks)
    assert found.reasons == (
        "A leak.",
        "A drift.",
        "plan is doubtful: Thin overlap.",
        "never is doubtful: Thin overlap.",
    )


def test_an_unknown_incumbent_is_told() -> None:
    with pytest.raises(InputError, match=r"incumbent 'best' is not assessed; it has \['never'\]"):
        gate(assessed(), WITHIN, [], GateRules("best"))


@pytest.mark.parametrize("change", [{"margin": np.nan}, {"overspend": -1}, {"confidence": 1.0}])
def test_impossible_rules_are_told(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="gate: margin is"):
        GateRules(**change)  # type: ignore[arg-type]


def test_rules_come_from_the_job_file() -> None:
    job = Job.from_dict({"gate": {"incumbent": "fixed", "margin": 0.001}})
    assert job.gate == GateRules("fixed", 0.001)
    with pytest.raises(InputError, match="gate"):
        Job.from_dict({"gate": {"margn": 1}})


@pytest.mark.parametrize("unit", ["share", "requests", "qps_share"])
def test_the_budget_of_a_decision_point(feed_scores, unit: str) -> None:  # type: ignore[no-untyped-def]
    n = len(feed_scores.log)
    made = {
        "share": (Budget.share(0.05), 0.05),
        "requests": (Budget.requests(300), 300 / n),
        "qps_share": (Budget.qps_share(0.1), 0.1 * feed_scores.log.n_pages / n),
    }
    budget, expected = made[unit]
    assert budget_per_point(plan_requests(feed_scores, budget)) == pytest.approx(expected)


def test_spend_on_a_log_against_the_budget(feed_log) -> None:  # type: ignore[no-untyped-def]
    plan = cast("object", SimpleNamespace(budget=Budget.share(0.05), capacity=np.full(1, np.inf)))
    pi = np.tile([0.945, 0.055], (len(feed_log), 1))
    within = plan_spend(plan, feed_log, pi, 0.2)  # type: ignore[arg-type]
    assert (within.budget, within.over) == (pytest.approx(0.06), 0.0)
    assert plan_spend(plan, feed_log, pi, 0.0).over == 1.0  # type: ignore[arg-type]


def test_the_loop_says_it_in_report_and_evidence(feed_log) -> None:  # type: ignore[no-untyped-def]
    from policy.job import LogSource
    from policy.loop import run_job

    job = Job(log=LogSource(sessions=1500, rate=10), window_minutes=360, seed=4)
    bundle, report = run_job(replace(job, boosting=replace(job.boosting, max_rounds=10)))
    assert report["gate"]["verdict"] in ("published", "held")
    assert bundle.evidence["gate"] == report["gate"] == to_plain(report["gate"])
    assert [c["name"] for c in report["log"]["checks"]][-1] == "drift"
