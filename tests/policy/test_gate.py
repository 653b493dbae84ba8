"""The gate: what is published, what is held, and why."""

from dataclasses import replace

import numpy as np
import pytest

from offline_eval.assessment import Assessment
from offline_eval.costs import Spend
from offline_eval.diagnostics import Diagnostics
from offline_eval.evaluation import Evaluation
from policy.gate import GateRules, gate
from policy.job import Job
from policy.spend import PlanSpend, WindowSpend
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.plain import to_plain
from uplift.randomisation import Check

REQUESTS = Estimate(0.1, 0.09, 0.11)
WITHIN = PlanSpend(Spend(REQUESTS, 0.12, 0.001))
SOUND = Diagnostics(1000, 900.0, 0.001, 0.001, 0.0, 100, Estimate(1.0, 0.9, 1.1), (), "sound", ())


def evaluation(name: str, diagnostics: Diagnostics = SOUND) -> Evaluation:
    return Evaluation(name, {}, None, REQUESTS, None, diagnostics)


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
    spend = PlanSpend(Spend(REQUESTS, 0.12, 0.2))
    found = gate(assessed(), spend, [])
    assert found.verdict == "held"
    assert "with probability 20% (at most 10% is allowed)" in found.reasons[0]
    assert gate(assessed(), spend, [], GateRules(confidence=0.8)).reasons == ()


def test_a_window_shown_to_break_its_capacity_is_held() -> None:
    peak = WindowSpend(REQUESTS, 0.05, 0.9999, start=66_600.0)
    found = gate(assessed(), replace(WITHIN, windows=(peak,)), [])
    assert (found.verdict, found.window) == ("held", peak)
    assert "window from 18:30 UTC spends 0.1 requests" in found.reasons[0]
    assert found.to_dict()["window"]["start"] == 66_600.0


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


@pytest.mark.parametrize(
    "change", [{"margin": np.nan}, {"overspend": -1}, {"peak": -1}, {"confidence": 1.0}]
)
def test_impossible_rules_are_told(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="gate: margin is"):
        GateRules(**change)  # type: ignore[arg-type]


def test_rules_come_from_the_job_file() -> None:
    job = Job.from_dict({"gate": {"incumbent": "fixed", "margin": 0.001}})
    assert job.gate == GateRules("fixed", 0.001)
    with pytest.raises(InputError, match="gate"):
        Job.from_dict({"gate": {"margn": 1}})


def test_the_loop_says_it_in_report_and_evidence(feed_log) -> None:  # type: ignore[no-untyped-def]
    from policy.job import LogSource
    from policy.loop import run_job

    job = Job(log=LogSource(sessions=1500, rate=10), window_minutes=360, seed=4)
    bundle, report = run_job(replace(job, boosting=replace(job.boosting, max_rounds=10)))
    assert report["gate"]["verdict"] in ("published", "held")
    assert bundle.evidence["gate"] == report["gate"] == to_plain(report["gate"])
    assert [c["name"] for c in report["log"]["checks"]][-1] == "drift"
