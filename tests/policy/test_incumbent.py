"""The incumbent: a baseline by its name, or the plan of a bundle in service."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from offline_eval.policies import walk
from policy.budget import Budget
from policy.bundle import Bundle
from policy.gate import GateRules
from policy.incumbent import find_incumbent
from policy.job import Job, LogSource
from policy.loop import run_job
from policy.plan import plan_requests
from uplift.boosting import BoostParams
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.model import UpliftModel
from uplift.scores import Scores


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory, feed_model: UpliftModel, feed_scores: Scores
) -> Path:
    """Write the bundle in service."""
    path = tmp_path_factory.mktemp("live") / "bundle"
    Bundle(feed_model, plan_requests(feed_scores, Budget.share(0.02))).save(path)
    return path


@pytest.mark.parametrize("name", ["never", "always", "random", "fixed", "purchase_probability"])
def test_baselines_stand_beside_every_plan(feed_log: RequestLog, name: str) -> None:
    assert find_incumbent(GateRules(name), feed_log) is None


def test_an_unknown_name_is_told(feed_log: RequestLog) -> None:
    with pytest.raises(InputError, match=r"incumbent 'best' is unknown .* \['never', 'always'"):
        find_incumbent(GateRules("best"), feed_log)


def test_fixed_needs_positions(feed_log: RequestLog) -> None:
    features = tuple(f for f in feed_log.schema.features if f not in ("page", "position"))
    frame = feed_log.frame.drop(columns=["page", "position"])
    flat = RequestLog(frame, replace(feed_log.schema, features=features))
    with pytest.raises(InputError, match="incumbent 'fixed' is unknown for this log"):
        find_incumbent(GateRules("fixed"), flat)


def test_a_bundle_decides_as_its_plan(feed_log: RequestLog, live: Path) -> None:
    bundle, found = Bundle.load(live), find_incumbent(GateRules(bundle=live), feed_log)
    assert found is not None
    assert bundle.plan is not None
    expected = walk(bundle.plan.policy(bundle.model), feed_log)
    assert np.array_equal(walk(found, feed_log), expected)
    assert found.name == GateRules(bundle=live).rival == "incumbent"


def test_a_name_and_a_bundle_are_one_too_many(live: Path) -> None:
    with pytest.raises(InputError, match="expected one of them"):
        GateRules("fixed", bundle=live)


def test_a_bundle_without_a_plan_is_told(
    feed_log: RequestLog, feed_model: UpliftModel, tmp_path: Path
) -> None:
    Bundle(feed_model).save(tmp_path / "fitted")
    with pytest.raises(InputError, match="holds no plan"):
        find_incumbent(GateRules(bundle=tmp_path / "fitted"), feed_log)


def test_no_bundle_is_told(feed_log: RequestLog, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        find_incumbent(GateRules(bundle=tmp_path / "nowhere"), feed_log)


def test_a_bundle_for_other_arms_is_told(feed_log: RequestLog, live: Path) -> None:
    other = RequestLog(feed_log.frame, replace(feed_log.schema, arm_cost=(0.0, 2.0)))
    with pytest.raises(InputError, match="only replace one that decides about the same"):
        find_incumbent(GateRules(bundle=live), other)


def test_a_bundle_that_needs_other_columns_is_told(feed_log: RequestLog, live: Path) -> None:
    feature = feed_log.features[0]
    other = RequestLog(feed_log.frame.drop(columns=feature), feed_log.schema)
    with pytest.raises(InputError, match=feature):
        find_incumbent(GateRules(bundle=live), other)


def test_the_path_is_relative_to_the_job_file() -> None:
    job = Job.from_dict({"gate": {"bundle": "live/bundle", "margin": 0.001}}, Path("jobs"))
    assert job.gate == GateRules(bundle=Path("jobs/live/bundle"), margin=0.001)


def test_a_plan_is_held_against_the_one_in_service(live: Path) -> None:
    job = Job(
        log=LogSource(sessions=1500, rate=10),
        learner="t",
        boosting=BoostParams(max_rounds=10, n_threads=1),
        window_minutes=360,
        gate=GateRules(bundle=live),
        seed=4,
    )
    bundle, report = run_job(job)
    assert report["gate"]["incumbent"] == "incumbent"
    assert {"requests", "verdict"} <= set(report["value"]["incumbent"])
    assert bundle.evidence["gate"] == report["gate"]
    if "advantage" in report["gate"]:
        assert report["gate"]["advantage"] == report["value"]["incumbent"]["plan_advantage"]


def test_a_wrong_incumbent_stops_before_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UpliftModel, "fit", None)
    with pytest.raises(InputError, match="incumbent 'best' is unknown"):
        run_job(Job(log=LogSource(sessions=300, rate=10), gate=GateRules("best")))
