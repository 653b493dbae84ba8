"""Plans of parts: the certificate of all sessions, and the rule of the sample."""

import json

import numpy as np
import pytest

from policy.batch.demand import Counts
from policy.batch.memory import LEAST
from policy.batch.parts import Parts
from policy.batch.plan import plan_parts
from policy.batch.score import score_parts
from policy.budget import Budget
from policy.bundle import Bundle
from policy.plan import plan_requests
from policy.problem import Limits
from uplift.errors import InputError
from uplift.scores import Scores

LIMITS = Limits(per_session=3, per_page=2, min_gap=10)
BUDGETS = [Budget.share(0.05), Budget.qps_share(0.1), Budget.requests(900)]


@pytest.fixture(scope="module")
def scores(tmp_path_factory, feed_log, feed_model):
    """Scores in five parts whose rows are in no order."""
    folder = tmp_path_factory.mktemp("plan")
    for k, rows in enumerate(
        np.array_split(np.random.default_rng(0).permutation(len(feed_log)), 5)
    ):
        feed_log.take(rows).write(folder / "log" / f"part-{k}.parquet")
    parts = Parts.of(folder / "log")
    score_parts(feed_model, parts, folder / "scores", digest="m", memory=LEAST)
    return folder / "scores"


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("limits", [LIMITS, Limits()])
def test_parts_are_planned_as_the_whole(scores, feed_log, budget, limits, monkeypatch):
    monkeypatch.setattr("policy.batch.plan.bucket_count", lambda *_: 3)
    schema = feed_log.schema
    found = plan_parts(Parts.of(scores), schema, budget, limits, memory=LEAST)
    whole = plan_requests(Scores.read(scores, schema), budget, limits)
    np.testing.assert_allclose(found.capacity, whole.capacity)
    np.testing.assert_allclose(found.price, whole.price)  # the sample is everything
    assert found.rule_gain == pytest.approx(whole.rule_gain)
    assert found.decision_points == whole.decision_points == len(feed_log)
    for plan in (found, whole):
        assert plan.gain <= min(found.upper_bound, whole.upper_bound) * (1 + 1e-9)
    assert found.gap <= max(1e-4, 2 * whole.gap)
    assert (found.spend <= found.capacity * (1 + 1e-9)).all()


def test_the_rule_of_a_sample_spends_about_the_budget(scores, feed_log, monkeypatch):
    monkeypatch.setattr("policy.batch.plan._SAMPLE_POINTS", len(feed_log) // 2)
    budget = Budget.share(0.05)
    found = plan_parts(Parts.of(scores), feed_log.schema, budget, LIMITS, memory=LEAST)
    whole = plan_requests(Scores.read(scores, feed_log.schema), budget, LIMITS)
    assert found.gain == pytest.approx(whole.gain, rel=2e-3)
    # A session's requests vary about as their number: four standard errors of half the sessions.
    error = np.sqrt(2 / whole.rule_spend.sum()) * 2
    assert found.rule_spend.sum() == pytest.approx(whole.rule_spend.sum(), rel=4 * error)
    assert found.price[0] == pytest.approx(whole.price[0], rel=0.2)


def test_a_log_without_sessions_or_times(feed_log, feed_model, tmp_path):
    bare = feed_log.frame.drop(columns=["session_id", "timestamp"])
    bare.to_parquet(tmp_path / "bare.parquet")
    parts = Parts.of(tmp_path / "bare.parquet")
    score_parts(feed_model, parts, tmp_path / "scores.parquet", digest="m", memory=LEAST)
    found = plan_parts(
        Parts.of(tmp_path / "scores.parquet"), feed_log.schema, Budget.share(0.05), memory=LEAST
    )
    assert len(found.price) == 1
    assert found.spend.sum() == int(0.05 * len(bare))


def test_what_cannot_be_planned_is_told(scores, feed_log, tmp_path):
    feed_log.write(tmp_path / "log.parquet")
    parts = Parts.of(tmp_path / "log.parquet")
    with pytest.raises(InputError, match="the scores have no column 'outcome_none'"):
        plan_parts(parts, feed_log.schema, BUDGETS[0], memory=LEAST)
    Scores.read(scores, feed_log.schema).log.take(np.arange(0)).write(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="holds no rows"):
        plan_parts(Parts.of(tmp_path / "none.parquet"), feed_log.schema, BUDGETS[0], memory=LEAST)


def test_counts_add():
    a, b = Counts(3, 2, 10, 20), Counts(4, 1, 5, 15)
    assert a + b == Counts(7, 3, 5, 20)
    assert Counts(1, 1, None, None) + Counts(1, 1, None, None) == Counts(2, 2, None, None)


def test_commands_work_beyond_their_memory(
    cli, scores, feed_log, feed_model, tmp_path, monkeypatch
):
    """A log of 0.1 GiB of cells against the least memory: both commands stream."""
    monkeypatch.setattr("policy.batch.memory._COPIES", 1000)
    Bundle(feed_model).save(tmp_path / "bundle")
    feed_log.write(tmp_path / "log.parquet")
    feed_log.schema.write(tmp_path / "log.toml")
    options = ("--bundle", tmp_path / "bundle", "--memory", "512MiB", "--json")
    limits = ("--max-per-page", 2, "--min-gap", 10)
    code, out, err = cli("plan", scores, "--share", 0.05, *limits, *options)
    assert (code, err) == (0, "")
    assert json.loads(out)["decision_points"] == len(feed_log)
    log = (tmp_path / "log.parquet", "--schema", tmp_path / "log.toml")
    code, out, err = cli("evaluate", *log, "--out", tmp_path / "report", *options)
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads((tmp_path / "report/report.json").read_text())
    assert json.loads(out)["value"]["plan"]["verdict"] == "sound"
    code, out, err = cli("evaluate", *log, *options[:-1])
    assert code == 0
    assert "plan" in out
    decisions = tmp_path / "decisions.parquet"
    code, _, err = cli("plan", scores, "--share", 0.05, "--out", decisions, *options)
    assert code == 2
    assert "rows are not planned as a whole in 0.5 GiB" in err
