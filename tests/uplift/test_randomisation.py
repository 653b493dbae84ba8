from functools import partial

import numpy as np
import pandas as pd
import pytest
from simulated_logs import make_frame, make_log, make_schema

from uplift import BoostParams, LogSchema, RequestLog, boosting, check_randomisation, randomisation


def verdicts(frame, **changes):
    checks = check_randomisation(RequestLog(frame, make_schema(**changes)))
    return {check.name: check.verdict for check in checks}


ALL_SOUND = dict.fromkeys(
    (
        *("sample_ratio", "sample_ratio_by_page", "sample_ratio_by_hour"),
        *("propensity_calibration", "leak", "clusters", "repeated_rows"),
    ),
    "sound",
)
#: Of several arms a row tells the chance of its own only.
SEVERAL_SOUND = {k: v for k, v in ALL_SOUND.items() if k != "propensity_calibration"}


def test_a_randomised_log_is_sound():
    """Its propensities differ by page, which is no alarm: they say so themselves."""
    assert verdicts(make_frame(n_users=2000)) == ALL_SOUND


def test_several_arms_are_sound():
    log = make_log(n_users=2000, n_arms=3)
    assert {c.name: c.verdict for c in check_randomisation(log)} == SEVERAL_SOUND


@pytest.mark.parametrize("n_arms", [1, 2])
def test_rows_that_were_never_in_doubt_are_sound(n_arms):
    """A first page without requests, logged with propensity 1."""
    frame = make_frame(n_users=2000, n_arms=n_arms)
    first = frame["page"] == 0
    frame.loc[first, "arm"], frame.loc[first, "propensity"] = 0, 1.0
    arms = ("none", "a", "b")[: n_arms + 1]
    assert verdicts(frame, arms=arms, arm_cost=(0.0, 1.0, 1.0)[: len(arms)]) == (
        ALL_SOUND if n_arms == 1 else SEVERAL_SOUND
    )


def test_lost_rows_are_doubtful():
    """5 % of the treated rows lost of 60,000: the ratio of arm 1 is 0.95, some 7 errors off."""
    frame = make_frame(n_users=10_000)
    lost = (frame["arm"] == 1) & (np.random.default_rng(0).random(len(frame)) < 0.05)
    found = verdicts(frame[~lost])
    assert found["sample_ratio"] == "doubtful"
    assert found["leak"] == "sound"


def test_propensities_wrong_on_one_page_are_doubtful_there():
    """Page 1 was drawn with 0.3 and logged as 0.33."""
    frame = make_frame(n_users=10_000)
    page = frame["page"] == 1
    frame.loc[page, "propensity"] = np.where(frame["arm"][page] == 1, 0.33, 0.67)
    checks = check_randomisation(RequestLog(frame, make_schema()))
    assert checks[1].verdict == "doubtful"
    assert "on page 1, z = " in checks[1].sentence


def test_errors_that_cancel_over_pages_are_found_by_page():
    frame = make_frame(n_users=10_000)
    frame["propensity"] = np.where(frame["arm"] == 1, 0.4, 0.6)  # right on average only
    assert verdicts(frame)["sample_ratio_by_page"] == "doubtful"


def test_a_feature_that_knows_the_arm_is_doubtful():
    frame = make_frame(n_users=1000)
    noise = np.random.default_rng(0).normal(size=len(frame))
    found = verdicts(frame.assign(f_after=frame["arm"] + 2 * noise))
    assert found == {**ALL_SOUND, "leak": "doubtful"}


def test_a_category_that_knows_the_arm_is_doubtful():
    frame = make_frame(n_users=1000)
    assert verdicts(frame.assign(c_after=frame["arm"] + 5))["leak"] == "doubtful"


def test_a_leak_by_one_of_several_arms_is_found():
    frame = make_frame(n_users=2000, n_arms=2)
    frame["f_after"] = (frame["arm"] == 2) + np.random.default_rng(0).normal(size=len(frame))
    found = verdicts(frame, arms=("none", "a", "b"), arm_cost=(0.0, 1.0, 1.0))
    assert found["leak"] == "doubtful"


def test_the_sentence_says_what_to_look_for():
    frame = make_frame(n_users=2000).assign(propensity=0.4)
    worst = check_randomisation(RequestLog(frame, make_schema()))[0]
    assert "look for lost rows or wrongly logged propensities" in worst.sentence


def test_few_rows_by_page_are_not_judged():
    check = check_randomisation(make_log(n_users=5))[1]
    assert (check.verdict, check.sentence) == ("sound", "No page has 20 rows of every arm.")


def test_arms_drawn_once_a_user_are_sound():
    """400 users of 50 rows; 20 logs, of which a threshold of 1e-3 may fail none."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        user = np.repeat(np.arange(400), 50)
        frame = make_frame(n_users=400).iloc[:0]
        arm = rng.integers(0, 2, 400).astype(np.int8)[user]
        frame = pd.DataFrame({"user_id": user, "arm": arm, "propensity": 0.5})
        frame["page"], frame["position"] = 0, np.tile(np.arange(50), 400)
        frame["purchase_10"], frame["f_x"] = 0, rng.normal(size=400)[user]
        schema = LogSchema(
            ("none", "request"), (0.0, 1.0), ("purchase_10",), "purchase_10", ("f_*",)
        )
        checks = check_randomisation(RequestLog(frame, schema))
        assert {c.verdict for c in checks} == {"sound"}


def test_an_arm_that_is_off_on_a_page_is_sound():
    frame = make_frame(n_users=3000, n_arms=2)
    first = frame["page"] == 0
    swap = first & (frame["arm"] == 2)
    frame = frame[~swap].copy()
    share = frame["propensity"].where(frame["page"] != 0, frame["propensity"])
    kept = frame["page"] == 0
    both = share[kept & (frame["arm"] == 0)].iloc[0] + share[kept & (frame["arm"] == 1)].iloc[0]
    frame.loc[kept, "propensity"] = share[kept] / both
    found = verdicts(frame, arms=("none", "a", "b"), arm_cost=(0.0, 1.0, 1.0))
    assert found["sample_ratio"] == "sound"


def test_propensities_wrong_both_ways_are_doubtful():
    """They nearly cancel overall; where the chance was alike they do not."""
    rng, n = np.random.default_rng(0), 40_000
    frame = make_frame(n_users=10_000).head(n)
    high = rng.random(len(frame)) < 0.5
    said = np.where(high, 0.55, 0.45)
    arm = (rng.random(len(frame)) < 0.5).astype(int)
    frame = frame.assign(arm=arm, propensity=np.where(arm == 1, said, 1 - said))
    found = verdicts(frame)
    assert found["propensity_calibration"] == "doubtful"


def test_an_hour_of_wrong_propensities_is_doubtful():
    frame = make_frame(n_users=5000)
    wrong = frame["timestamp"].dt.hour.to_numpy() == int(frame["timestamp"].dt.hour.mode()[0])
    share = frame["propensity"].to_numpy(copy=True)
    share[wrong & (frame["arm"] == 1)] *= 0.7
    found = check_randomisation(RequestLog(frame.assign(propensity=share), make_schema()))
    by_hour = next(c for c in found if c.name == "sample_ratio_by_hour")
    assert by_hour.verdict == "doubtful"
    assert "on hour" in by_hour.sentence


def test_rows_joined_twice_are_doubtful():
    frame = make_frame(n_users=500)
    frame["session_id"] = np.arange(len(frame))
    twice = pd.concat([frame, frame.head(10)], ignore_index=True)
    check = check_randomisation(RequestLog(twice, make_schema()))[-1]
    assert (check.verdict, check.sentence[:7]) == ("doubtful", "10 rows")


def test_a_log_without_users_is_doubtful():
    frame = make_frame(n_users=500).drop(columns="user_id")
    assert verdicts(frame)["clusters"] == "doubtful"


@pytest.mark.parametrize("logged", [True, False])
def test_propensities_that_may_be_estimated_are_doubtful(logged):
    """Whether they are there or not; and no other check finds anything in them."""
    frame = make_frame(n_users=1000)
    frame = frame if logged else frame.drop(columns="propensity")
    checks = check_randomisation(RequestLog(frame, make_schema(propensity="estimate")))
    assert {c.name: c.verdict for c in checks} == {**ALL_SOUND, "propensity": "doubtful"}
    assert "only if nothing else decided who got which arm" in checks[-1].sentence


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_the_threshold_says(monkeypatch):
    """At a threshold of 5 %, so that 300 logs can show it; shared among tests, it is a bound.

    The bound is 5 % and 4 binomial standard errors; a leak has 4 standard errors itself, which a
    sound log passes in 300 trials about once in 50.
    """
    monkeypatch.setattr(randomisation, "RATIO_P_VALUE", 0.05)
    monkeypatch.setattr(boosting, "BoostParams", partial(BoostParams, n_threads=1))  # quicker here
    n = 300
    found = [verdicts(make_frame(n_users=100, seed=seed)) for seed in range(n)]
    alarms = {name: sum(f[name] == "doubtful" for f in found) for name in ALL_SOUND}
    bound = n * 0.05 + 4 * np.sqrt(n * 0.05 * 0.95)
    assert 0 < alarms["sample_ratio"] <= bound
    assert 0 < alarms["sample_ratio_by_page"] <= bound
    assert alarms["sample_ratio_by_hour"] <= bound
    assert 0 < alarms["propensity_calibration"] <= bound
    assert alarms["leak"] <= 1
