"""From decisions and events to a log that keeps the contract."""

import numpy as np
import pandas as pd
import pytest

from policy.budget import Budget
from policy.bundle import Bundle
from policy.decision_log.archive import read_decisions
from policy.decision_log.outcomes import join_outcomes
from policy.decision_log.writer import DecisionLog
from policy.engine import DecisionEngine
from policy.plan import plan_requests
from uplift.errors import InputError
from uplift.randomisation import check_randomisation
from uplift.schema import LogSchema

SCHEMA = LogSchema(
    arms=("none", "request"),
    arm_cost=(0.0, 1.0),
    outcomes=("purchase_5", "purchase_10", "gmv_10"),
    primary="purchase_10",
    features=("f_*",),
)


def decisions():
    return pd.DataFrame(
        {
            "decision_id": list("abcd"),
            "session_id": [1, 1, 1, 2],
            "page": [0, 0, 1, 0],
            "position": [10, 48, 0, 10],
            "arm": np.array([0, 1, 0, 1], np.int8),
            "propensity": 0.5,
            "f_x": [1.0, 2.0, 3.0, 4.0],
        }
    )


def events():
    return pd.DataFrame(
        {
            "event_id": [1, 2, 3, 3],
            "session_id": [1, 1, 1, 1],
            "page": [0, 0, 1, 1],
            "position": [14, 15, 2, 2],
            "gmv": [3.0, 4.0, 8.0, 8.0],
        }
    )


def test_outcomes_by_hand():
    """Slots 10 to 14 and 19 after a; 48 to 52 and 57 after b, over the end of the page."""
    log = join_outcomes(decisions(), events(), SCHEMA)
    np.testing.assert_array_equal(log.outcome("purchase_5"), [1, 1, 1, 0])
    np.testing.assert_array_equal(log.outcome("purchase_10"), [1, 1, 1, 0])
    np.testing.assert_array_equal(log.outcome("gmv_10"), [7, 8, 8, 0])


def test_events_without_an_id_all_count():
    some = events().assign(event_id=[None, None, 3, 3])
    log = join_outcomes(decisions(), some, SCHEMA)
    np.testing.assert_array_equal(log.outcome("gmv_10"), [7, 8, 8, 0])


def test_decisions_of_no_session_are_left_out():
    some = decisions().assign(session_id=[1, 1, None, 2])
    with pytest.warns(UserWarning, match="1 of 4 decisions have no session_id and are left out"):
        log = join_outcomes(some, events(), SCHEMA)
    assert log.frame["decision_id"].tolist() == ["a", "b", "d"]
    np.testing.assert_array_equal(log.outcome("gmv_10"), [7, 8, 0])


def test_brute_force_agrees():
    rng = np.random.default_rng(0)
    d = pd.DataFrame(
        {
            "decision_id": np.arange(300).astype(str),
            "session_id": rng.integers(0, 20, 300),
            "page": rng.integers(0, 3, 300),
            "position": rng.integers(0, 50, 300),
            "arm": np.arange(300, dtype=np.int8) % 2,
            "propensity": 0.5,
            "f_x": 1.0,
        }
    )
    e = d.loc[:80, ["session_id", "page", "position"]].sample(frac=1.0, random_state=0)
    e["gmv"] = rng.random(len(e))
    log = join_outcomes(d, e, SCHEMA)
    place, event = (f["page"] * 50 + f["position"] for f in (d, e))
    for i in range(300):
        near = (e["session_id"] == d["session_id"][i]) & (event >= place[i])
        within = near & (event < place[i] + 10)
        assert log.outcome("purchase_10")[i] == within.any()
        assert log.outcome("gmv_10")[i] == pytest.approx(e["gmv"][within].sum())


def test_the_engines_decisions_become_a_log_that_check_accepts(tmp_path, feed_log, feed_model):
    plan = plan_requests(feed_model.score(feed_log), Budget.share(0.1))
    Bundle(feed_model, plan).save(tmp_path / "bundle")
    some = feed_log.take(np.arange(4_000))
    names = dict.fromkeys([*some.features, "page", "position", "session_id", "user_id"])
    table = some.frame[list(names)].to_dict("records")
    with DecisionLog(tmp_path / "log") as log:
        engine = DecisionEngine.load(tmp_path / "bundle", explore=0.5, seed=0, log=log)
        made = [engine.decide(row) for row in table]
    frame = read_decisions(tmp_path / "log")
    assert log.lost == 0
    assert frame["decision_id"].tolist() == [d.decision_id for d in made]
    np.testing.assert_array_equal(frame["propensity"], [d.propensity for d in made])
    np.testing.assert_array_equal(frame["uplift_request"], [d.uplift[0] for d in made])
    for name in some.features:  # what was logged is what was used
        np.testing.assert_array_equal(frame[name], [row[name] for row in table])
    bought = some.frame.loc[some.frame["purchase_5"] > 0, ["session_id", "page", "position"]]
    joined = join_outcomes(frame, bought.assign(gmv=1.0), some.schema)
    assert len(joined) == len(some)
    verdicts = {c.name: c.verdict for c in check_randomisation(joined, 0)}
    assert verdicts["sample_ratio"] == "sound"


def test_what_is_missing_is_told():
    with pytest.raises(InputError, match=r"the events lack \['gmv'\]"):
        join_outcomes(decisions(), events().drop(columns="gmv"), SCHEMA)
    with pytest.raises(InputError, match=r"the decisions lack \['decision_id'\]"):
        join_outcomes(decisions().drop(columns="decision_id"), events(), SCHEMA)
    with pytest.raises(InputError, match="count slots from 0"):
        join_outcomes(decisions(), events().assign(position=-1), SCHEMA)
    odd = LogSchema(
        arms=("none", "request"),
        arm_cost=(0.0, 1.0),
        outcomes=("bought",),
        primary="bought",
        features=("f_*",),
    )
    with pytest.raises(InputError, match="has no horizon"):
        join_outcomes(decisions(), events(), odd)
