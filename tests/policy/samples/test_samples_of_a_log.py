"""From the engine's own decision log, archived or not, to a log that keeps the contract."""

import numpy as np
import pandas as pd
import pytest

from policy.budget import Budget
from policy.bundle import Bundle
from policy.decision_log.archive import archive_segment, log_parts, read_decisions
from policy.decision_log.segment import segments
from policy.decision_log.writer import DecisionLog
from policy.engine import DecisionEngine
from policy.plan import plan_requests
from policy.samples.job import make_samples
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.randomisation import check_randomisation

NOON = pd.Timestamp("2026-03-01 12:00", tz="UTC")
NOW = NOON + pd.Timedelta(days=2)


@pytest.fixture(scope="module")
def logged(tmp_path_factory, feed_log, feed_model):
    """A folder of decisions in several segments and of events, and the points behind them."""
    folder = tmp_path_factory.mktemp("log")
    plan = plan_requests(feed_model.score(feed_log), Budget.share(0.1))
    Bundle(feed_model, plan).save(folder / "bundle")
    some = feed_log.take(np.arange(4_000))
    names = dict.fromkeys([*some.features, "page", "position", "session_id", "user_id"])
    moment = iter(NOON.timestamp() + np.arange(4_000) * 1e-3)
    with DecisionLog(folder / "log", segment_bytes=1 << 20) as log:
        engine = DecisionEngine.load(
            folder / "bundle", explore=0.5, seed=0, log=log, clock=lambda: next(moment)
        )
        made = []
        for number, row in enumerate(some.frame[list(names)].to_dict("records")):
            made.append(engine.decide(row))
            if number % 500 == 0:
                assert log.wait(number + 1, 10)  # segments are sealed between batches
    assert log.lost == 0
    bought = some.frame.loc[some.frame["purchase_5"] > 0, ["session_id", "page", "position"]]
    with DecisionLog(folder / "log" / "events") as log:
        for event in bought.to_dict("records"):
            log.append(event | {"gmv": 1.0, "timestamp": int((NOON.timestamp() + 60) * 1e6)})
    return folder / "log", some, made


def test_the_engines_decisions_become_a_log_that_check_accepts(logged, tmp_path):
    folder, some, made = logged
    frame = read_decisions(folder)
    assert frame["decision_id"].tolist() == [d.decision_id for d in made]
    np.testing.assert_array_equal(frame["propensity"], [d.propensity for d in made])
    np.testing.assert_array_equal(frame["uplift_request"], [d.uplift[0] for d in made])
    for name in some.features:  # what was logged is what was used
        np.testing.assert_array_equal(frame[name], some.frame[name])
    assert make_samples(folder, tmp_path / "out", some.schema, now=NOW).written == ["2026-03-01"]
    joined = RequestLog.read(tmp_path / "out", some.schema)
    assert len(joined) == len(some)
    assert joined.outcome("purchase_5").sum() > 0
    verdicts = {c.name: c.verdict for c in check_randomisation(joined, 0)}
    assert verdicts["sample_ratio"] == "sound"


def test_archiving_a_segment_changes_no_sample(logged, tmp_path):
    folder, some, made = logged
    first = make_samples(folder, tmp_path / "out", some.schema, now=NOW)
    assert len(segments(folder)) > 1
    archive_segment(segments(folder)[0])
    assert {part.suffix for part in log_parts(folder)} == {".parquet", ".decisions"}
    assert read_decisions(folder)["decision_id"].tolist() == [d.decision_id for d in made]
    again = make_samples(folder, tmp_path / "out", some.schema, now=NOW)
    assert (first.written, again.kept) == (["2026-03-01"], ["2026-03-01"])


def test_features_that_were_not_logged_are_missing(logged, tmp_path):
    """A log's parts may differ: what a record does not tell is missing in its sample."""
    folder, some, _ = logged
    for number, more in enumerate(({"f_new": 1.5}, {})):
        with DecisionLog(tmp_path / "log") as log:
            at = int(NOON.timestamp() * 1e6)
            record = {"session_id": 1, "page": 0, "position": number, "timestamp": at, "arm": 0}
            log.append(record | more | {"decision_id": f"d{number}", "propensity": 0.5})
        archive_segment(segments(tmp_path / "log")[-1])
    made = make_samples(
        tmp_path / "log", tmp_path / "out", some.schema, events=folder / "events", now=NOW
    )
    assert made.rows == 2
    frame = pd.read_parquet(tmp_path / "out" / "day=2026-03-01" / "samples.parquet")
    np.testing.assert_array_equal(frame["f_new"], [1.5, np.nan])


def test_a_log_without_moments_is_told(logged, tmp_path):
    folder, some, _ = logged
    with DecisionLog(tmp_path / "events") as log:
        log.append({"session_id": 1, "page": 0, "position": 0})
    with pytest.raises(InputError, match="lacks 'timestamp'"):
        make_samples(folder, tmp_path / "out", some.schema, events=tmp_path / "events")
