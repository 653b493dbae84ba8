"""The jobs on Spark give what they give on one machine."""

import json
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from tables_alike import alike

from policy.batch.evaluate import evaluate_parts
from policy.batch.memory import LEAST
from policy.batch.parts import Parts
from policy.batch.plan import plan_parts
from policy.batch.score import BatchScorer
from policy.budget import Budget
from policy.bundle import Bundle
from policy.problem import Limits
from policy.spark.evaluate import evaluate_on_spark
from policy.spark.plan import plan_on_spark
from policy.spark.score import arrow_schema, map_batches, score_on_spark
from policy.spark.session import first_line, read_log, ship
from uplift.errors import InputError
from uplift.parquet import read_frame

LIMITS = Limits(per_session=3, per_page=2, min_gap=10)


def in_order(frame):
    return frame.sort_values(["session_id", "page", "position"]).reset_index(drop=True)


def test_scores_are_the_same_to_the_bit(spark, place, tmp_path):
    rows = score_on_spark(spark, place / "bundle", place / "log", tmp_path / "scores")
    found, expected = (
        in_order(read_frame(tmp_path / "scores")),
        in_order(read_frame(place / "scores")),
    )
    assert rows == len(expected)
    for name in expected:
        assert np.array_equal(found[name].to_numpy(), expected[name].to_numpy(), equal_nan=False)


def test_evaluation_is_the_same(spark, place, feed_log):
    found = evaluate_on_spark(spark, place / "bundle", place / "log", feed_log.schema)
    bundle, parts = Bundle.load(place / "bundle"), Parts.of(place / "log")
    alike(found, evaluate_parts(bundle, parts, feed_log.schema, memory=LEAST), rel=1e-12)


@pytest.mark.parametrize("limits", [LIMITS, Limits()])
def test_plan_is_the_same(spark, place, feed_log, limits):
    schema, budget = feed_log.schema, Budget.qps_share(0.1)
    found = plan_on_spark(spark, place / "scores", schema, budget, limits)
    expected = plan_parts(Parts.of(place / "scores"), schema, budget, limits, memory=4 << 30)
    np.testing.assert_allclose(found.price, expected.price, rtol=1e-9)
    np.testing.assert_allclose(found.capacity, expected.capacity, rtol=1e-12)
    np.testing.assert_allclose(found.spend, expected.spend, rtol=1e-9)
    for name in ("gain", "upper_bound", "rule_gain", "as_logged"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9)
    assert (found.iterations, found.reason) == (expected.iterations, expected.reason)


def test_commands_take_the_engine(spark, place, cli, tmp_path):
    options = ("--engine", "spark", "--json")
    bundle = ("--bundle", place / "bundle")
    out = tmp_path / "scores"
    code, told, err = cli("score", place / "log", *bundle, "--out", out, *options)
    assert (code, err) == (0, "")
    assert json.loads(told)["rows"] == len(read_frame(out))
    shutil.copytree(place / "bundle", tmp_path / "bundle")
    mine = ("--bundle", tmp_path / "bundle")
    code, told, err = cli("plan", out, *mine, "--share", 0.05, *options)
    assert (code, err) == (0, "")
    assert json.loads(told)["decision_points"] == len(read_frame(out))
    log = (place / "log", "--schema", place / "log.toml")
    code, told, err = cli("evaluate", *log, *mine, *options)
    assert (code, err) == (0, "")
    assert json.loads(told)["value"]["plan"]["verdict"] == "sound"


def test_bad_input_is_one_sentence(spark, place, cli, tmp_path, feed_log):
    options = ("--engine", "spark")
    bundle = ("--bundle", place / "bundle")

    def refused(words, *arguments):
        code, _, err = cli(*arguments, *options)
        assert code == 2
        assert words in err
        assert err.count("\n") == 1

    (tmp_path / "there").mkdir()
    refused("there already", "score", place / "log", *bundle, "--out", tmp_path / "there")
    refused("cannot be read", "score", tmp_path / "gone", *bundle, "--out", tmp_path / "new")
    few = feed_log.frame.drop(columns="f_dwell")
    few.to_parquet(tmp_path / "few.parquet")
    refused(
        "features ['f_dwell']",
        "score",
        tmp_path / "few.parquet",
        *bundle,
        "--out",
        tmp_path / "new",
    )
    infinite = feed_log.frame.assign(f_dwell=np.inf)
    infinite.to_parquet(tmp_path / "infinite.parquet")
    path = tmp_path / "infinite.parquet"
    refused("holds an infinite value", "score", path, *bundle, "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").glob("*.parquet"))
    refused("no column 'outcome_none'", "plan", place / "log", *bundle, "--share", 0.1)


def test_corrupt_parts_are_told_or_left_out(spark, place, tmp_path, feed_log):
    folder = tmp_path / "log"
    for k, rows in enumerate(np.array_split(np.arange(len(feed_log)), 4)):
        feed_log.take(rows).write(folder / f"part-{k}.parquet")
    bad = folder / "part-2.parquet"
    bad.write_bytes(bad.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"part-2\.parquet"):
        score_on_spark(spark, place / "bundle", folder, tmp_path / "all")
    rows = score_on_spark(spark, place / "bundle", folder, tmp_path / "rest", skip_corrupt=True)
    assert rows == len(feed_log) - len(np.array_split(np.arange(len(feed_log)), 4)[2])


def test_empty_parts_are_no_trouble(spark, place, tmp_path, feed_log):
    feed_log.write(tmp_path / "log" / "a.parquet")
    feed_log.take(np.arange(0)).write(tmp_path / "log" / "b.parquet")
    rows = score_on_spark(spark, place / "bundle", tmp_path / "log", tmp_path / "scores")
    assert rows == len(feed_log)


def test_a_bundle_is_shipped_once_and_read_once_by_a_process(spark, place):
    shared = ship(spark, place / "bundle")
    before = len(spark.sparkContext.listFiles)
    assert ship(spark, place / "bundle").bundle() is shared.bundle()
    assert len(spark.sparkContext.listFiles) == before
    rows = spark.sparkContext.parallelize(range(40), 8)
    found = set(rows.map(lambda _: (os.getpid(), id(shared.bundle()))).collect())
    assert len(found) == len({process for process, _ in found})


def test_a_worker_that_is_lost_costs_its_tasks_alone(spark, place, tmp_path):
    """The first process of each task dies after some of its rows are written."""
    shared, marks = ship(spark, place / "bundle"), tmp_path / "marks"
    marks.mkdir()

    def dying(batches):
        from pyspark import TaskContext

        mark = marks / str(TaskContext.get().partitionId())
        scorer = None
        for batch in batches:
            scorer = scorer or BatchScorer(shared.bundle().model, batch.schema)
            yield scorer(batch)
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    frame = read_log(spark, place / "log")
    schema = BatchScorer(shared.bundle().model, arrow_schema(frame)).schema
    map_batches(frame, dying, schema).write.parquet(str(tmp_path / "scores"))
    assert any(marks.iterdir())
    found, expected = (
        in_order(read_frame(tmp_path / "scores")),
        in_order(read_frame(place / "scores")),
    )
    pd.testing.assert_frame_equal(found[list(expected)], expected)


def test_what_spark_says_becomes_a_sentence():
    error = RuntimeError(
        "Job aborted\n  at org.apache...\nuplift.errors.InputError: f is no number.\n"
    )
    assert first_line(error) == "f is no number."
    assert first_line(RuntimeError("\n one\n two")) == "one"
    java = ": a.b.SparkException: [FAILED_READ_FILE] file x.parquet\nCaused by: a.BError: no"
    assert first_line(RuntimeError(java)).startswith("[FAILED_READ_FILE] file x.parquet; write")
