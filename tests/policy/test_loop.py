"""The whole loop on a small job: the report's stable names, and the same report again."""

import json
from dataclasses import replace

import numpy as np
import pytest

from policy.budget import Budget
from policy.bundle import Bundle
from policy.job import Job, LogSource, Split
from policy.loop import report_on, run_job
from policy.problem import Limits
from policy.progress import Stages
from uplift.boosting import BoostParams
from uplift.errors import InputError

JOB = Job(
    log=LogSource(sessions=3000, rate=10),
    learner="t",
    boosting=BoostParams(max_rounds=20, n_threads=1),
    budget=Budget.qps_share(0.125),
    limits=Limits(per_page=2, min_gap=10),
    window_minutes=360,
    seed=4,
)
POLICIES = ["plan", "never", "always", "random", "fixed", "purchase_probability"]


@pytest.fixture(scope="module")
def run():
    return run_job(JOB)


@pytest.fixture(scope="module")
def report(run):
    return run[1]


def is_estimate(table):
    return set(table) == {"value", "lower", "upper"}


def test_report_has_its_stable_names(report):
    assert set(report) >= {
        *("log", "model", "plan", "value", "saving_at_equal_effect", "purchase_rates"),
        *("warnings", "versions", "seconds"),
    }
    assert set(report["log"]) >= {"rows", "users", "sessions", "arms", "checks", "effect"}
    assert all(set(c) == {"name", "verdict", "sentence"} for c in report["log"]["checks"])
    assert all(is_estimate(e) for e in report["log"]["effect"].values())
    assert set(report["model"]) >= {"learner", "qini", "uplift_at"}
    assert is_estimate(report["model"]["qini"])
    assert all(is_estimate(e) for e in report["model"]["uplift_at"].values())
    assert set(report["plan"]) >= {
        *("budget", "spend", "gain", "upper_bound", "gap", "prices", "limits"),
    }
    assert set(report["plan"]["prices"][0]) == {"window", "price", "capacity", "spend"}


def test_every_policy_has_a_value_by_each_estimator(report):
    assert list(report["value"]) == POLICIES
    for value in report["value"].values():
        assert set(value) >= {"requests", "n_effective", "verdict", "reasons", "true"}
        if value["verdict"] != "refused":
            assert all(is_estimate(value[name]) for name in ("dr", "snips", "ips"))
            assert "gain" in value or any("No gain" in r for r in value["reasons"])
    assert is_estimate(report["value"]["always"]["gain_per_request"])
    assert report["value"]["always"]["requests"]["value"] == 1.0
    assert report["value"]["never"]["requests"]["value"] == 0.0


def test_savings_and_rates(report):
    gains = {n: report["value"][n].get("gain") for n in ("fixed", "random")}
    sure = {f"against_{n}" for n, gain in gains.items() if gain and gain["lower"] > 0}
    assert set(report["saving_at_equal_effect"]) <= sure
    for saving in report["saving_at_equal_effect"].values():
        assert set(saving) >= {"against", "reference_requests", "of_extra", "of_all"}
    rows = report["purchase_rates"]
    assert [row.get("horizon") for row in rows] == [5, 10, 15, 20, None]
    for row in rows:
        assert all(is_estimate(row[k]) for k in ("none", "random", "model", "causal_gain"))


def test_report_is_json_without_nan(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_rows_and_users_are_counted(report):
    about = report["log"]
    assert sum(arm["rows"] for arm in about["arms"]) == about["rows"]
    assert about["users"] <= about["sessions"] <= 3000
    assert [c["name"] for c in about["checks"]][:2] == ["sample_ratio", "sample_ratio_by_page"]
    assert {c["verdict"] for c in about["checks"]} == {"sound"}


def test_plan_keeps_its_budget(report):
    plan = report["plan"]
    assert 0 < plan["spend"] <= sum(w["capacity"] for w in plan["prices"]) + 1e-9
    assert all(w["spend"] <= w["capacity"] + 1e-9 for w in plan["prices"])
    assert plan["gain"] <= plan["upper_bound"]


def test_rivals_spend_about_as_much_as_the_plan(report):
    spent = report["value"]["plan"]["requests"]["value"]
    assert report["value"]["random"]["requests"]["value"] == pytest.approx(spent)
    greedy = report["value"]["purchase_probability"]["requests"]["value"]
    assert greedy == pytest.approx(spent, rel=0.5)


def test_same_seed_same_report(report):
    again = run_job(JOB)[1]
    for table in (again, report):
        assert set(table["seconds"]) >= {"simulate", "fit", "plan", "evaluate"}
    timeless = [{**t, "seconds": 0, "versions": 0} for t in (again, report)]
    assert json.dumps(timeless[0]) == json.dumps(timeless[1])


def test_bundle_of_the_loop_reports_anew(run, tmp_path, feed_log):
    bundle, report = run
    assert bundle.evidence["value"] == report["value"]
    bundle.save(tmp_path / "bundle")
    fresh = [report_on(b, feed_log, seed=1) for b in (bundle, Bundle.load(tmp_path / "bundle"))]
    assert json.dumps(fresh[0]["value"]) == json.dumps(fresh[1]["value"])
    assert list(fresh[0]["value"]) == POLICIES


def test_a_bundle_without_a_plan_has_nothing_to_report(feed_model, feed_log):
    with pytest.raises(InputError, match="the bundle holds no plan yet; make one with"):
        report_on(Bundle(feed_model), feed_log)


def test_strict_stops_at_a_doubtful_log(feed_log):
    from policy.loop import judge_log
    from uplift.log import RequestLog

    frame = feed_log.frame.assign(propensity=np.where(feed_log.arm == 1, 0.5, 0.5))
    log = RequestLog(frame, feed_log.schema)
    checks = judge_log(log)["checks"]
    assert checks[0]["verdict"] == "doubtful"
    with pytest.raises(InputError, match="strict: Arms do not match the logged propensities"):
        judge_log(log, strict=True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split": Split(0.5, 0.5, 0.5)}, "split: shares are"),
        ({"split": Split(0.9, -0.1, 0.2)}, "split: shares are"),
        ({"learner": "oracle"}, "learner 'oracle' is unknown; choose among"),
        ({"window_minutes": 0}, "a window of 0 seconds"),
        ({"log": LogSource(sessions=0)}, "n_sessions is 0"),
        ({"log": LogSource(path="x", dataset="cifar")}, "dataset 'cifar' is unknown; choose among"),
    ],
)
def test_a_job_that_cannot_be_done_is_told(changes, sentence):
    small = replace(JOB, log=replace(JOB.log, sessions=300))
    with pytest.raises(InputError, match=sentence):
        run_job(replace(small, **changes))


def test_stages_are_told(feed_model, feed_log):
    class Told(Stages):
        told: list[str] = []  # noqa: RUF012

        def begin(self, name):
            self.told.append(name)

    stages = Told()
    run_job(replace(JOB, log=replace(JOB.log, sessions=1200), learner="s"), stages)
    assert stages.told == ["simulate", "check", "fit", "curves", "plan", "evaluate"]
    assert list(stages.seconds) == stages.told


def test_users_that_were_fitted_on_are_left_out_of_an_evaluation(feed_log, feed_model):
    from policy.bundle import Bundle
    from policy.loop import unseen

    fitted, held_out = feed_log.split(share=0.7, seed=3)
    bundle = Bundle(feed_model, evidence={"fitted": {"share": 0.7, "seed": 3}})
    users = set(unseen(bundle, feed_log).frame["user_id"])
    assert users == set(held_out.frame["user_id"])
    assert not users & set(fitted.frame["user_id"])
    assert unseen(Bundle(feed_model), feed_log) is feed_log


def test_a_bundle_of_the_loop_remembers_whom_it_saw(run):
    assert run[0].evidence["fitted"] == {"share": JOB.split.fit + JOB.split.plan, "seed": JOB.seed}
