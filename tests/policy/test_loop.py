"""The whole loop on a small job: the report's stable names, and the same report again."""

import json
from dataclasses import replace

import numpy as np
import pytest

from offline_eval.policies import walk
from policy.budget import Budget
from policy.bundle import Bundle
from policy.job import Job, LogSource, Split
from policy.loop import assess_plan, plan_optimism, report_on, run_job
from policy.plan import plan_requests
from policy.problem import Limits
from policy.progress import Stages
from policy.report_parts import held_out_curves, judge_log, plan_part
from uplift.boosting import BoostParams
from uplift.errors import InputError
from uplift.learners import AutoLearner
from uplift.log import RequestLog
from uplift.model import UpliftModel

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
    assert set(report["model"]) >= {"learner", "rounds", "qini", "autoc", "uplift_at"}
    assert not set(report["model"]) & {"arms", "candidates", "multi_arm"}
    assert is_estimate(report["model"]["qini"])
    assert is_estimate(report["model"]["autoc"])
    assert set(report["model"]["auc"]) == {"overall", "none", "request"}
    assert all(is_estimate(e) for e in report["model"]["auc"].values())
    assert all(is_estimate(e) for e in report["model"]["uplift_at"].values())
    assert set(report["plan"]) >= {
        *("budget", "spend", "gain", "upper_bound", "gap", "prices", "limits"),
    }
    names = {"window", "price", "capacity", "spend", "rule_spend"}
    assert set(report["plan"]["prices"][0]) == names


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


def test_the_rule_is_held_against_hindsight(report):
    plan = report["plan"]
    assert 0.5 * plan["gain"] < plan["as_logged"] < plan["upper_bound"]
    assert is_estimate(plan["feedback"])
    assert plan["rule_spend"] == pytest.approx(sum(w["rule_spend"] for w in plan["prices"]))
    told = not plan["feedback"]["lower"] <= 1 <= plan["feedback"]["upper"]
    aim = sum(w["capacity"] for w in plan["prices"]) / (plan["feedback"]["value"] if told else 1)
    assert plan["rule_spend"] == pytest.approx(aim, rel=0.05)  # the feedback is a round older


@pytest.mark.parametrize("shrink", [0.0, 0.5])
def test_optimism_is_the_promise_beyond_the_off_policy_gain(
    feed_log, feed_model, feed_scores, shrink
):
    plan = plan_requests(feed_scores, Budget.share(0.05), shrink=shrink)
    assessment = assess_plan(feed_model, plan, feed_log)
    rule = plan.policy(feed_model)
    mean = feed_scores.uplift.mean()
    gain = (1 - shrink) * feed_scores.uplift + shrink * mean
    promised = (walk(rule, feed_log)[:, 1] * gain[:, 0]).mean()
    found = plan_optimism(feed_model, plan, feed_log, assessment, 0)
    assert found.lower < found.value < found.upper
    assert found.value == pytest.approx(promised - assessment.evaluations["plan"].gain.value)
    assert plan_part(plan).get("shrinkage", {}).get("share", 0.0) == shrink


def test_where_the_gain_is_not_known_the_optimism_is_not_either(report):
    assert ("optimism" in report["plan"]) == ("gain" in report["value"]["plan"])


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


def check_calibration(table, arms):
    assert set(table) == {"method", "arms"}
    assert list(table["arms"]) == arms
    for change in table["arms"].values():
        assert set(change) == {"before", "after"}
        for part in change.values():
            assert set(part) == {"bins", "slope", "intercept", "error"}
            assert all(is_estimate(part[key]) for key in ("slope", "intercept", "error"))
            assert all(set(b) == {"points", "share", "predicted", "effect"} for b in part["bins"])
        points = [[b["points"] for b in part["bins"]] for part in change.values()]
        assert points[0] == points[1]


def test_calibration_is_told_before_and_after(report):
    check_calibration(report["model"]["calibration"], ["request"])
    assert report["model"]["calibration"]["method"] == "isotonic"
    change = report["model"]["calibration"]["arms"]["request"]
    assert sum(b["points"] for b in change["before"]["bins"]) == report["log"]["split"]["test"]
    assert change["before"]["slope"] != change["after"]["slope"]


def test_without_calibration_nothing_changes(feed_log):
    """But by rounding, and by what would leave 0 and 1."""
    boosting = BoostParams(max_rounds=5, n_threads=1)
    model = UpliftModel.fit(feed_log, "t", boosting, calibration="none")
    table = held_out_curves(model, feed_log)["calibration"]
    assert table["method"] == "none"
    before, after = table["arms"]["request"].values()
    assert after["error"]["value"] == pytest.approx(before["error"]["value"], rel=1e-6, abs=1e-9)


def test_the_candidates_of_auto_are_told():
    told = []

    class Told(Stages):
        def update(self, name, done, total):
            told.append((name, done, total))

    small = replace(JOB, log=replace(JOB.log, sessions=1500), learner="auto")
    bundle, report = run_job(
        replace(small, boosting=BoostParams(max_rounds=5, n_threads=1)), Told()
    )
    rows = report["model"]["candidates"]
    assert report["model"]["learner"] == "auto"
    assert len(rows) == 7 + 4 + 1
    assert [row["name"] for row in rows[:2]] == ["proportional", "s"]
    assert rows[-1]["name"] == "stack"
    for row in rows:
        assert all(is_estimate(row[k]) for k in ("r_gain", "dr_gain", "behind", "qini"))
        assert set(row) >= {"settings", "weight", "seconds"}
    assert any(row["weight"] > 0 for row in rows[:-1])
    kept = {row["name"] for row in rows[:-1] if row["weight"]}
    fits = {name.split(".")[0] for name in report["model"]["rounds"]}
    assert {name.split("-fold")[0] for name in fits} == kept
    assert isinstance(bundle.model.learner, AutoLearner)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert [step for step in told if step[0] == "fit"] == [("fit", i, 11) for i in range(1, 12)]


@pytest.fixture(scope="module")
def two_arms(feed_log):
    """The feed with its request told apart into a cheap and a dear one, by a coin."""
    coin = np.random.default_rng(0).integers(1, 3, len(feed_log))
    arm = np.where(feed_log.arm > 0, coin, 0)
    propensity = feed_log.propensity / np.where(arm > 0, 2, 1)
    schema = replace(feed_log.schema, arms=("none", "cheap", "dear"), arm_cost=(0.0, 1.0, 2.0))
    bare = feed_log.frame[[c for c in feed_log.frame if not c.startswith("true_")]]
    return RequestLog(bare.assign(arm=arm, propensity=propensity), schema)


def test_of_several_arms_each_is_told_and_what_budgets_buy(two_arms):
    boosting = BoostParams(max_rounds=5, n_threads=1)
    table = held_out_curves(UpliftModel.fit(two_arms, "t", boosting), two_arms)
    assert list(table["arms"]) == ["cheap", "dear"]
    for part in table["arms"].values():
        assert set(part) == {"qini", "autoc", "uplift_at", "curve"}
        assert is_estimate(part["qini"])
        assert is_estimate(part["autoc"])
    assert table["qini"] == table["arms"]["cheap"]["qini"]
    check_calibration(table["calibration"], ["cheap", "dear"])
    several = table["multi_arm"]
    assert set(several) == {"budget", "gain", "lower", "upper", "mean_gain"}
    assert len({len(several[k]) for k in ("budget", "gain", "lower", "upper")}) == 1
    assert several["budget"][0] == several["gain"][0] == 0
    assert is_estimate(several["mean_gain"])
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_estimated_propensities_are_doubted_in_the_report(feed_log):
    bare = feed_log.frame.drop(columns="propensity")
    log = RequestLog(bare, replace(feed_log.schema, propensity="estimate"))
    about = judge_log(log)
    assert {c["name"]: c["verdict"] for c in about["checks"]}["propensity"] == "doubtful"
    with pytest.raises(InputError, match="strict: Propensities may be estimated"):
        judge_log(log, strict=True)
