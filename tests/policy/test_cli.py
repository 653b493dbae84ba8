"""Every command once, on a small simulated log, as a person would go through them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from uplift.schema import LogSchema

SCRIPT = Path(sys.executable).with_name("request-uplift")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


def console(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    command = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def log(folder):
    """Write a log by the console script itself."""
    path = folder / "log.parquet"
    done = console(*("simulate", "--sessions", 2500, "--rate", 10, "--seed", 2, "--out", path))
    assert done.returncode == 0, done.stderr
    assert f"log: {path}" in done.stdout
    return path


@pytest.fixture(scope="module")
def artefact(folder, feed_model):
    """Write a bundle without a plan."""
    from policy.bundle import Bundle

    Bundle(feed_model).save(folder / "given")
    return folder / "given"


@pytest.fixture
def scores(cli, log, artefact, tmp_path):
    path = tmp_path / "scores.parquet"
    assert cli("score", log, "--bundle", artefact, "--out", path, "--json")[0] == 0
    return path


def planned(cli, scores, artefact, *options):
    return cli("plan", scores, "--bundle", artefact, *options, "--json")


def test_simulate_writes_a_log_beside_its_schema(log):
    frame = pd.read_parquet(log)
    assert {"session_id", "arm", "propensity", "purchase_10", "true_purchase_10_1"} <= set(frame)
    assert LogSchema.read(log.with_suffix(".toml")).primary == "purchase_10"
    assert sorted(p.name for p in log.parent.glob("log*")) == ["log.parquet", "log.toml"]


def test_simulate_is_the_same_again(cli, log, tmp_path):
    path = tmp_path / "again.parquet"
    code, out, _ = cli(
        *("simulate", "--sessions", 2500, "--rate", 10, "--seed", 2, "--out", path, "--json")
    )
    again = pd.read_parquet(path)
    assert (code, json.loads(out)["rows"]) == (0, len(again))
    pd.testing.assert_frame_equal(again, pd.read_parquet(log))


def test_schema_is_drafted_for_a_person_to_edit(cli, log, tmp_path):
    code, out, _ = cli("schema", log)
    assert code == 0
    (tmp_path / "draft.toml").write_text(out)
    draft = LogSchema.read(tmp_path / "draft.toml")
    assert draft.primary == "purchase_10"
    assert "gmv_10" in draft.outcomes
    assert {"f_*", "c_*"} <= set(draft.features)
    assert cli("check", log, "--schema", tmp_path / "draft.toml")[0] == 0


def test_check_judges_the_log(cli, log):
    code, out, _ = cli("check", log, "--schema", log.with_suffix(".toml"), "--strict", "--json")
    about = json.loads(out)
    assert code == 0
    assert {c["verdict"] for c in about["checks"]} == {"sound"}
    code, out, _ = cli("check", log, "--schema", log.with_suffix(".toml"))
    assert code == 0
    assert f"{about['rows']:,} decision points of {about['users']:,} users." in out


def test_fit_writes_a_bundle_and_shows_its_curves(cli, log, tmp_path):
    from policy.bundle import Bundle

    code, out, _ = cli(
        *("fit", log, "-S", log.with_suffix(".toml"), "--out", tmp_path / "b"),
        *("--learner", "logit", "--json"),
    )
    about = json.loads(out)
    assert (code, about["learner"]) == (0, "logit")
    assert {"value", "lower", "upper"} == set(about["qini"])
    assert Bundle.load(tmp_path / "b").plan is None


def test_scores_hold_keys_truth_outcomes_and_uplifts(log, scores):
    frame, source = pd.read_parquet(scores), pd.read_parquet(log)
    keys = ["session_id", "user_id", "timestamp", "page", "position", "arm", "propensity"]
    truth = [c for c in source if c.startswith("true_")]
    scored = ["outcome_none", "outcome_request", "uplift_request"]
    assert set(frame) == {*keys, *truth, *scored}
    pd.testing.assert_frame_equal(frame[keys + truth], source[keys + truth])
    difference = frame["outcome_request"] - frame["outcome_none"]
    assert (frame["uplift_request"] == difference).all()


def test_points_without_arms_and_outcomes_are_scored(cli, log, artefact, scores, tmp_path):
    source = pd.read_parquet(log)
    known = [c for c in source if not c.startswith(("true_", "purchase_1", "purchase_2", "gmv"))]
    source[known].drop(columns=["arm", "propensity"]).to_parquet(tmp_path / "points.parquet")
    out = tmp_path / "s.parquet"
    assert cli("score", tmp_path / "points.parquet", "--bundle", artefact, "--out", out)[0] == 0
    scored = pd.read_parquet(out)["uplift_request"]
    assert (scored == pd.read_parquet(scores)["uplift_request"]).all()


def test_plan_evaluate_and_the_report(cli, log, artefact, scores, tmp_path):
    decisions, report = tmp_path / "decisions.parquet", tmp_path / "report"
    options = ("--qps-share", 0.125, "--max-per-page", 2, "--min-gap", 10, "--out", decisions)
    code, out, _ = planned(cli, scores, artefact, *options)
    plan = json.loads(out)
    assert code == 0
    assert plan["budget"]["kind"] == "qps_share"
    assert plan["limits"] == {"per_page": 2, "min_gap": 10}
    assert pd.read_parquet(decisions)["arm"].sum() == plan["spend"]

    schema = log.with_suffix(".toml")
    code, out, _ = cli(
        *("evaluate", log, "--bundle", artefact, "--schema", schema, "--out", report, "--json")
    )
    # A log of so few purchases proves little.
    assert (code, json.loads(out)["gate"]["verdict"]) == (3, "held")
    assert json.loads(out)["plan"]["spend"] == plan["spend"]
    written = json.loads((report / "report.json").read_text())
    assert written["value"] == json.loads(out)["value"]
    assert (report / "report.html").read_text().lower().startswith("<!doctype html>")


def test_every_unit_of_a_budget_is_understood(cli, scores, artefact):
    for option, amount in (("--qps", 0.002), ("--requests", 100), ("--share", 0.01)):
        code, out, _ = planned(cli, scores, artefact, option, amount, "--window-minutes", 720)
        assert code == 0
        assert json.loads(out)["budget"]["amount"] == amount
        assert json.loads(out)["spend"] > 0


def test_run_does_it_all_from_a_job_file(cli, log, tmp_path):
    (tmp_path / "tiny.toml").write_text(
        f'learner = "t"\nwindow_minutes = 360\n[log]\npath = "{log}"\n'
        f'schema = "{log.with_suffix(".toml")}"\n[boosting]\nmax_rounds = 10\nn_threads = 1\n'
    )
    code, _, err = cli("run", tmp_path / "tiny.toml", "--out", tmp_path / "runs")
    result = tmp_path / "runs" / "tiny"
    report = json.loads((result / "report.json").read_text())
    assert code == 3, err  # a log of so few purchases proves nothing: the plan is held
    assert (report["gate"]["verdict"], report["model"]["learner"]) == ("held", "t")
    assert sorted(p.name for p in result.iterdir()) == ["held", "report.html", "report.json"]
    evidence = json.loads((result / "held" / "evidence.json").read_text())
    assert evidence["gate"]["reasons"] == report["gate"]["reasons"] != []


def test_a_held_plan_does_not_replace_the_one_in_service(cli, log, artefact, tmp_path):
    job = tmp_path / "tiny.toml"
    job.write_text(
        f'learner = "t"\nwindow_minutes = 360\n[log]\npath = "{log}"\n'
        f'schema = "{log.with_suffix(".toml")}"\n[boosting]\nmax_rounds = 10\nn_threads = 1\n'
    )
    live = tmp_path / "runs" / "tiny" / "bundle"
    shutil.copytree(artefact, live)
    before = {p.name: p.read_bytes() for p in live.rglob("*") if p.is_file()}
    assert cli("run", job, "--out", tmp_path / "runs")[0] == 3
    assert {p.name: p.read_bytes() for p in live.rglob("*") if p.is_file()} == before


def test_a_published_plan_replaces_the_one_in_service(cli, monkeypatch, artefact, tmp_path):
    """What the loop says is done: here it says that the plan is published."""
    from policy import loop
    from policy.bundle import Bundle

    run_job = loop.run_job

    def allowed(job, stages):
        bundle, report = run_job(job, stages)
        report["gate"] = report["gate"] | {"verdict": "published", "reasons": []}
        return bundle, report

    monkeypatch.setattr(loop, "run_job", allowed)
    job, live = tmp_path / "tiny.toml", tmp_path / "runs" / "tiny" / "bundle"
    job.write_text(
        'learner = "t"\nwindow_minutes = 360\n[log]\nsessions = 1500\nrate = 10\n'
        "[boosting]\nmax_rounds = 10\nn_threads = 1\n"
    )
    shutil.copytree(artefact, live)
    assert cli("run", job, "--out", tmp_path / "runs")[0] == 0
    assert Bundle.load(live).plan is not None
    assert not (live.parent / "held").exists()


def test_evaluate_judges_by_the_rules_of_a_job(cli, log, artefact, scores, tmp_path):
    planned(cli, scores, artefact, "--share", 0.05)
    job = tmp_path / "gate.toml"
    call = ("evaluate", log, "--bundle", artefact, "-S", log.with_suffix(".toml"), "--json")
    asked = {'incumbent = "fixed"': "fixed", f'bundle = "{artefact}"': "incumbent"}
    for rules, incumbent in asked.items():
        job.write_text(f"[gate]\nmargin = 0.5\n{rules}\n")
        code, out, err = cli(*call, "--job", job)
        assert code == 3, err
        found = json.loads(out)["gate"]
        assert (found["incumbent"], found["margin"]) == (incumbent, 0.5)
        assert any("0.5 is asked" in r or "not known" in r for r in found["reasons"])
    job.write_text('[gate]\nincumbent = "best"\n')
    code, _, err = cli(*call, "--job", job)
    assert code == 2
    assert "incumbent 'best' is unknown for this log" in err


@pytest.fixture(scope="module")
def without_propensity(folder, log):
    """The log as one that kept no propensities, and a schema that says to estimate them."""
    path = folder / "bare.parquet"
    pd.read_parquet(log).drop(columns="propensity").to_parquet(path)
    schema = replace(LogSchema.read(log.with_suffix(".toml")), propensity="estimate")
    schema.write(path.with_suffix(".toml"))
    return path


def test_check_estimates_propensities_that_were_not_logged(cli, log, without_propensity):
    path, schema = without_propensity, without_propensity.with_suffix(".toml")
    code, out, err = cli("check", path, "--schema", schema)
    assert code == 0, err
    assert "doubtful  propensity: Propensities may be estimated from the features" in out
    code, _, err = cli("check", path, "--schema", schema, "--strict")
    assert code == 2
    assert "strict: Propensities may be estimated" in err
    code, _, err = cli("check", path, "--schema", log.with_suffix(".toml"))
    assert code == 2
    assert "column 'propensity' is not in the log" in err


def test_run_works_without_logged_propensities(cli, without_propensity, tmp_path):
    (tmp_path / "bare.toml").write_text(
        f'learner = "t"\nwindow_minutes = 360\n[log]\npath = "{without_propensity}"\n'
        f'schema = "{without_propensity.with_suffix(".toml")}"\n'
        f"[boosting]\nmax_rounds = 10\nn_threads = 1\n"
    )
    code, _, err = cli("run", tmp_path / "bare.toml", "--out", tmp_path / "runs")
    assert code == 3, err
    report = json.loads((tmp_path / "runs" / "bare" / "report.json").read_text())
    assert any("may be estimated" in reason for reason in report["gate"]["reasons"])
    assert any("Propensities may be estimated" in warning for warning in report["warnings"])
    assert "Propensities may be estimated" in (tmp_path / "runs/bare/report.html").read_text()


def test_help_names_every_command():
    done = console("--help")
    assert done.returncode == 0
    for command in ("run", "simulate", "schema", "check", "fit", "score", "plan", "evaluate"):
        assert f" {command} " in done.stdout
