"""Evaluation of parts says what evaluation in memory says."""

import numpy as np
import pytest

from offline_eval.assessment import assess
from policy.batch.evaluate import evaluate_parts
from policy.batch.memory import LEAST
from policy.batch.parts import Parts
from policy.budget import Budget
from policy.bundle import Bundle
from policy.plan import plan_requests
from policy.problem import Limits
from uplift.errors import InputError


@pytest.fixture(scope="module")
def bundle(feed_model, feed_scores):
    plan = plan_requests(feed_scores, Budget.share(0.05), Limits(per_page=2, min_gap=10))
    return Bundle(feed_model, plan)


@pytest.fixture
def folder(tmp_path, feed_log):
    for k, rows in enumerate(
        np.array_split(np.random.default_rng(0).permutation(len(feed_log)), 5)
    ):
        feed_log.take(rows).write(tmp_path / "log" / f"part-{k}.parquet")
    return tmp_path / "log"


@pytest.fixture(scope="module")
def whole(bundle, feed_log):
    outcome = bundle.model.predict_outcome(feed_log)
    found = assess(
        feed_log, bundle.plan.policy(bundle.model), rivals=[], families={}, outcome=outcome
    )
    return found.to_dict()["value"], found.warnings


def alike(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            alike(found[key], value)
        elif isinstance(value, float):
            assert found[key] == pytest.approx(value, rel=1e-10, abs=1e-8)
        elif key not in ("weights", "true"):
            assert found[key] == value


@pytest.mark.parametrize("buckets", [1, 4])
def test_parts_say_what_the_whole_says(
    bundle, folder, feed_log, whole, monkeypatch, buckets, tmp_path
):
    monkeypatch.setattr("policy.batch.evaluate.bucket_count", lambda *_: buckets)
    seen = []
    report = evaluate_parts(
        bundle,
        Parts.of(folder),
        feed_log.schema,
        memory=LEAST,
        progress=lambda done, total: seen.append(done),
    )
    expected, warnings = whole
    for table in expected.values():
        table.pop("true", None)  # the truth of simulated rows is not added up
    alike(report["value"], expected)
    assert report["warnings"] == warnings
    assert report["log"]["rows"] == len(feed_log)
    assert report["log"]["users"] == feed_log.frame["user_id"].nunique()
    assert seen[-1] == len(feed_log)


def test_users_that_were_fitted_are_left_out(bundle, folder, feed_log):
    fitted = Bundle(bundle.model, bundle.plan, {"fitted": {"share": 0.6, "seed": 0}})
    report = evaluate_parts(fitted, Parts.of(folder), feed_log.schema, memory=LEAST)
    assert report["log"]["rows"] == len(feed_log.split(share=0.6, seed=0)[1])


def test_what_cannot_be_evaluated_is_told(bundle, folder, feed_log, tmp_path):
    with pytest.raises(InputError, match="no plan yet"):
        evaluate_parts(Bundle(bundle.model), Parts.of(folder), feed_log.schema, memory=LEAST)
    feed_log.frame.drop(columns="propensity").to_parquet(tmp_path / "bare.parquet")
    parts = Parts.of(tmp_path / "bare.parquet")
    with pytest.raises(InputError, match=r"columns \['propensity'\] are not in the log"):
        evaluate_parts(bundle, parts, feed_log.schema, memory=LEAST)
    everyone = Bundle(bundle.model, bundle.plan, {"fitted": {"share": 1.0, "seed": 0}})
    with pytest.raises(InputError, match="no rows of users"):
        evaluate_parts(everyone, Parts.of(folder), feed_log.schema, memory=LEAST)
