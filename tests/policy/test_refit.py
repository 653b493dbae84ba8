"""A bundle and a new day make another bundle, or leave it as it is."""

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from offline_eval.report import render_report
from policy.budget import Budget
from policy.bundle import Bundle
from policy.engine import DecisionEngine
from policy.gate import GateRules
from policy.job import Job, LogSource, RefitRules, Split
from policy.loop import run_job, unseen
from policy.problem import Limits
from policy.progress import Stages
from policy.refit import refit_job
from policy.seen import SeenLog
from policy.source import read_source
from uplift.boosting import BoostParams
from uplift.errors import InputError
from uplift.log import RequestLog

JOB = Job(
    log=LogSource(sessions=4000, rate=30, days=2, day=date(2026, 1, 5)),
    learner="t",
    boosting=BoostParams(max_rounds=20, n_threads=1),
    budget=Budget.qps_share(0.125),
    limits=Limits(per_page=2, min_gap=10),
    window_minutes=360,
    seed=4,
)
NEXT = replace(JOB, log=replace(JOB.log, day=date(2026, 1, 6)))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the bundle of the first day."""
    path = tmp_path_factory.mktemp("live") / "bundle"
    run_job(JOB)[0].save(path)
    return path


@pytest.fixture(scope="module")
def made(live):
    before = content(live)
    bundle, report = refit_job(NEXT, live)
    assert content(live) == before
    return bundle, report


@pytest.fixture(scope="module")
def today() -> RequestLog:
    return read_source(NEXT.log, NEXT.seed, Stages())


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def given(log: RequestLog, folder: Path, **changes) -> Job:
    """Return the job on a log that was written to a file."""
    log.write(folder / "log.parquet")
    log.schema.write(folder / "log.toml")
    source = LogSource(path=folder / "log.parquet", schema=folder / "log.toml")
    return replace(NEXT, log=source, **changes)


def test_the_report_tells_from_which_bundle_and_how(made, live):
    about, manifest = made[1]["refit"], json.loads((live / "manifest.json").read_text())
    assert about["bundle"] == str(live)
    assert about["created"] == manifest["created"]
    assert about["plan_version"] == manifest["sha256"]["plan.json"][:12]
    assert [a["keep"] for a in about["attempts"]] == [0.5, 0.0, 1.0]
    assert about["keep"] == next(a["keep"] for a in about["attempts"] if a["chosen"])
    assert made[1]["model"]["rounds"] == next(a["rounds"] for a in about["attempts"] if a["chosen"])
    assert made[0].evidence["refit"] == about
    assert json.loads(json.dumps(made[1], allow_nan=False)) == made[1]


def test_the_drift_table_names_features_propensities_outcomes_and_effects(made, today):
    rows = made[1]["drift"]
    kinds = {kind: {r["name"] for r in rows if r["kind"] == kind} for kind in ("feature", "effect")}
    assert kinds["feature"] == set(today.features)
    assert kinds["effect"] == set(today.schema.outcomes)
    assert {r["name"] for r in rows if r["kind"] == "propensity"} == {"arm", "propensity"}
    assert {r["verdict"] for r in rows} == {"steady"}
    assert {"name": "changes", "verdict": "sound"}.items() <= made[1]["log"]["checks"][-2].items()


def test_the_page_shows_it(made, live):
    page = render_report(made[1])
    assert "Since the bundle before" in page
    assert f"Refitted from the bundle {live}" in page
    for row in made[1]["drift"]:
        assert f"<tr><td>{row['name']}</td>" in page
    moved = [made[1]["drift"][0] | {"verdict": "moved"}]
    assert "does not explain the changes of: " in render_report(made[1] | {"drift": moved})


def test_a_run_has_no_such_section(live):
    report = run_job(replace(JOB, log=replace(JOB.log, sessions=800, day=None)))[1]
    assert not {"refit", "drift"} & set(report)
    assert "Since the bundle before" not in render_report(report)


def test_the_incumbent_is_the_bundle_itself(made, live):
    assert made[1]["gate"]["incumbent"] == "incumbent"
    assert "incumbent" in made[1]["value"]
    rules = replace(NEXT, gate=GateRules("fixed"), refit=RefitRules((1.0,), margin=-0.5))
    gate = refit_job(rules, live)[1]["gate"]
    assert (gate["incumbent"], gate["margin"]) == ("incumbent", -0.5)


def test_who_judges_was_fitted_on_neither_day(made, live, today):
    judged_by = set(unseen(made[0], today).frame["user_id"])
    yesterday = read_source(JOB.log, JOB.seed, Stages())
    fitted = [log.split(share=(0.65, 0.35), seed=JOB.seed)[0] for log in (yesterday, today)]
    assert judged_by
    assert not any(judged_by & set(log.frame["user_id"]) for log in fitted)
    assert judged_by & set(yesterday.frame["user_id"])  # though they came on both


def test_the_logs_that_it_has_learned_from_are_remembered(made, live, today):
    old, new = (SeenLog.all_of(b.evidence) for b in (Bundle.load(live), made[0]))
    assert new[-1] == SeenLog.of(today)
    assert new[:-1] == (old if made[1]["refit"]["keep"] else ())


def test_a_day_counts_once(made, today, tmp_path):
    made[0].save(tmp_path / "bundle")
    before = content(tmp_path / "bundle")
    assert refit_job(NEXT, tmp_path / "bundle") is None
    some = today.take(np.arange(0, len(today), 2))
    with pytest.raises(InputError, match="has learned from one that lasts until"):
        refit_job(given(some, tmp_path), tmp_path / "bundle")
    assert content(tmp_path / "bundle") == before


def test_the_same_refit_again_is_the_same(made, live, tmp_path):
    made[0].save(tmp_path / "a")
    refit_job(NEXT, live)[0].save(tmp_path / "b")
    first, second = content(tmp_path / "a"), content(tmp_path / "b")
    assert first.keys() == second.keys()
    timed = {"manifest.json", "evidence.json"}  # of when, and of how many seconds
    assert {k for k in first if first[k] != second[k]} <= timed


def test_a_third_day_may_follow(made, tmp_path, today):
    """A day later, of other users: the same log under other identifiers and times."""
    frame = today.frame.assign(
        user_id=today.frame["user_id"] + 10**12,
        session_id=today.frame["session_id"] + 10**12,
        timestamp=today.frame["timestamp"] + np.timedelta64(2, "D"),
    )
    made[0].save(tmp_path / "bundle")
    job = given(RequestLog(frame, today.schema), tmp_path, refit=RefitRules((1.0,)))
    bundle, _ = refit_job(job, tmp_path / "bundle")
    assert len(bundle.evidence["logs"]) == 1 + len(made[0].evidence["logs"])


def test_the_engine_decides_by_it_to_the_bit(live, today, tmp_path):
    """Trees that were faded and joined are read as any others."""
    bundle = refit_job(replace(NEXT, refit=RefitRules((0.5,))), live)[0]
    bundle.save(tmp_path / "bundle")
    engine, some = DecisionEngine.load(tmp_path / "bundle"), today.take(np.arange(200))
    rows = some.frame[list(engine.features)].to_dict("records")
    found = np.array([engine.uplift(row) for row in rows])
    np.testing.assert_array_equal(found, Bundle.load(tmp_path / "bundle").model.uplift(some))


def test_the_planner_starts_from_the_old_prices(live, monkeypatch):
    """Where the windows are the same; elsewhere it finds its own."""
    from policy import loop

    starts, planned = [], loop.plan_requests

    def noted(*arguments, **options):
        starts.append(options["start"])
        return planned(*arguments, **options)

    monkeypatch.setattr(loop, "plan_requests", noted)
    for minutes in (360, 720):
        refit_job(replace(NEXT, refit=RefitRules((0.0,)), window_minutes=minutes), live)
    np.testing.assert_array_equal(starts[0].window, Bundle.load(live).plan.price)
    assert starts[1] is None


def bad_days(log: RequestLog):
    y, rng = log.outcome("purchase_10"), np.random.default_rng(0)
    eager = np.where(log.frame["f_clicks_20"] > 0, 1, 0)
    return {
        "purchase_10 is of another world": {"purchase_10": 1 - y},
        "Arms do not match": {"arm": np.where(rng.random(len(log)) < 0.3, 1, log.arm)},
        "arm": {"arm": np.where(rng.random(len(log)) < 0.5, eager, log.arm).astype(np.int8)},
    }


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["inverted", "forced", "leaked"])
def test_a_bad_day_is_held(live, today, tmp_path, kind):
    sentence, columns = list(bad_days(today).items())[kind]
    log = RequestLog(today.frame.assign(**columns), today.schema)
    before = content(live)
    rules = RefitRules((0.5,), margin=-10.0)  # whatever it gains
    report = refit_job(given(log, tmp_path, refit=rules), live)[1]
    assert report["gate"]["verdict"] == "held"
    assert any(sentence in reason for reason in report["gate"]["reasons"])
    assert content(live) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learner": "s"}, "has learner 't', the job 's'"),
        ({"seed": 5}, "by seed 4, the job takes 0.65 by seed 5"),
        ({"split": Split(0.4, 0.1, 0.5)}, "a share 0.65 of the users by seed 4, the job takes 0.5"),
    ],
)
def test_a_bundle_of_another_job_is_told_before_the_log_is_read(live, changes, sentence):
    nowhere = replace(NEXT.log, path=Path("nowhere"), dataset="hillstrom")
    with pytest.raises(InputError, match=sentence):
        refit_job(replace(NEXT, log=nowhere, **changes), live)


def test_a_larger_part_to_fit_on_is_in_order(live):
    """The users of a smaller share are among those of a larger one."""
    larger = replace(NEXT, split=Split(0.5, 0.2, 0.3), refit=RefitRules((0.0,)))
    assert refit_job(larger, live)[0].evidence["fitted"]["share"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("roles", "sentence"),
    [
        ({"arm_cost": (0.0, 2.0)}, r"has arm_cost \(0.0, 1.0\), the log \(0.0, 2.0\)"),
        ({"arms": ("none", "push")}, "has arms"),
        ({"primary": "purchase_20"}, "has primary 'purchase_10', the log 'purchase_20'"),
        ({"features": ("f_*", "c_*")}, r"differ in the features \['page', 'position'\]"),
    ],
)
def test_a_log_of_another_kind_is_told(live, today, tmp_path, roles, sentence):
    log = RequestLog(today.frame, replace(today.schema, **roles))
    with pytest.raises(InputError, match=sentence):
        refit_job(given(log, tmp_path), live)


def test_a_bundle_that_cannot_be_gone_on_from_is_told(live, tmp_path):
    bundle = Bundle.load(live)
    cases = {
        "holds no plan; `run` the job first": replace(bundle, plan=None),
        "does not tell which users": replace(bundle, evidence={}),
    }
    for sentence, broken in cases.items():
        broken.save(tmp_path / "broken")
        with pytest.raises(InputError, match=sentence):
            refit_job(NEXT, tmp_path / "broken")
    with pytest.raises(InputError, match="does not exist"):
        refit_job(NEXT, tmp_path / "nowhere")
    shutil.copytree(live, tmp_path / "damaged")
    (tmp_path / "damaged" / "plan.json").write_text("{}")
    with pytest.raises(InputError, match="sha256 differs"):
        refit_job(NEXT, tmp_path / "damaged")


def test_a_bundle_of_an_older_release_has_no_drift_table(live, tmp_path):
    bundle = Bundle.load(live)
    bare = {k: v for k, v in bundle.evidence.items() if k not in ("logs", "profile")}
    replace(bundle, evidence=bare).save(tmp_path / "old")
    found, report = refit_job(replace(NEXT, refit=RefitRules((1.0,))), tmp_path / "old")
    assert "drift" not in report
    assert [c["name"] for c in report["log"]["checks"]].count("changes") == 0
    assert len(found.evidence["logs"]) == 1


def test_a_day_without_rows_is_told(live):
    with pytest.raises(InputError, match="no rows of 2026-03-01; it goes from"):
        refit_job(replace(NEXT, log=replace(NEXT.log, day=date(2026, 3, 1))), live)


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "nightly.toml"
    path.write_text(
        'learner = "t"\nwindow_minutes = 360\nseed = 4\n[log]\nsessions = 4000\nrate = 30\n'
        "days = 2\n[boosting]\nmax_rounds = 20\nn_threads = 1\n[refit]\nkeep = [0.0]\n"
    )
    return path


def test_the_command_writes_where_the_bundle_was(cli, job_file, live, tmp_path, monkeypatch):
    """Published, in the place of the one that it went on from; held, beside the report."""
    from policy import refit

    elsewhere, out = tmp_path / "live" / "bundle", tmp_path / "runs"
    shutil.copytree(live, elsewhere)
    before, original = content(elsewhere), refit.refit_job
    call = ("refit", job_file, "--bundle", elsewhere, "--out", out, "--day", "2026-01-06")
    for verdict, code in (("held", 3), ("published", 0)):

        def judged(*arguments, verdict=verdict):
            bundle, report = original(*arguments)
            report["gate"] |= {"verdict": verdict}
            return bundle, report

        monkeypatch.setattr(refit, "refit_job", judged)
        assert cli(*call)[0] == code
        assert (content(elsewhere) == before) == (verdict == "held")
        assert (out / "nightly" / "held" / "manifest.json").is_file()
    monkeypatch.setattr(refit, "refit_job", original)
    after = content(elsewhere)
    code, told, _ = cli(*call, "--json")
    assert (code, content(elsewhere)) == (0, after)
    assert json.loads(told)["unchanged"] == "it has learned from this log already"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "does not exist; check the path"),
        (("--bundle", "nowhere"), "bundle 'nowhere' does not exist"),
        (("--day", "yesterday"), "does not match the format"),
    ],
)
def test_the_command_says_what_is_wrong(cli, job_file, tmp_path, options, sentence):
    code, _, err = cli("refit", job_file, "--out", tmp_path / "runs", *options)
    assert code == 2
    assert sentence in err
    assert not (tmp_path / "runs").exists()
