"""The join of frames against brute force, against planted leaks, against bad input."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import samples_world as world
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.samples.join import join_samples
from policy.samples.rules import SampleRules, duration
from uplift.errors import InputError

HOUR = timedelta(hours=1)


def made(seed):
    rng = np.random.default_rng(seed)
    return world.decisions(rng), world.events(rng), world.snapshots(rng)


RULES = st.builds(
    SampleRules,
    settle=st.sampled_from([timedelta(minutes=3), HOUR, timedelta(days=9)]),
    max_age=st.sampled_from([None, HOUR, timedelta(hours=12)]),
    ingested_at=st.sampled_from([None, "arrived"]),
)


@settings(max_examples=15, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10_000), rules=RULES)
def test_brute_force_agrees(seed, rules):
    d, e, s = made(seed)
    samples = join_samples(d, e, s, world.SCHEMA, rules).set_index("decision_id")
    assert len(samples) == len(d)
    for _, decision in d.iterrows():
        sample = samples.loc[decision["decision_id"]]
        told = sample[["purchase_5", "purchase_10", "gmv_10"]].to_list()
        assert told == pytest.approx(world.outcomes_of(decision, e, rules.settle))
        latest = world.snapshots_of(decision, s, rules)
        if latest.empty:
            assert np.isnan(sample["f_age"])
            assert pd.isna(sample["c_kind"])
            continue
        row = latest[latest["f_age"] == sample["f_age"]]
        assert row["c_kind"].to_list() == [sample["c_kind"]]
        logged = decision["f_logged"]
        assert sample["f_logged"] == (row["f_logged"].item() if np.isnan(logged) else logged)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10_000), rules=RULES)
def test_neither_order_nor_repetition_of_rows_matters(seed, rules):
    frames = made(seed)
    once = join_samples(*frames, world.SCHEMA, rules)
    twice = [pd.concat([f, f.iloc[::3]]).sample(frac=1, random_state=seed) for f in frames]
    pd.testing.assert_frame_equal(join_samples(*twice, world.SCHEMA, rules), once)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10_000), rules=RULES)
def test_the_whole_is_the_sum_of_its_sessions(seed, rules):
    d, e, s = made(seed)
    whole = join_samples(d, e, s, world.SCHEMA, rules)
    parts = [
        join_samples(part, e[e["session_id"] == key], s, world.SCHEMA, rules)
        for key, part in d.groupby("session_id")
    ]
    parts.append(join_samples(d.iloc[:0], e, s, world.SCHEMA, rules))
    joined = pd.concat(parts[:-1]).set_index("decision_id").loc[whole["decision_id"]].reset_index()
    pd.testing.assert_frame_equal(joined, whole, check_dtype=False)
    assert list(parts[-1]) == list(whole)


@pytest.mark.parametrize("arrived", [None, "arrived"])
def test_planted_leaks_do_not_come_through(arrived):
    """A snapshot of a microsecond after a decision, or that arrived then, changes nothing."""
    d, e, s = made(1)
    rules = SampleRules(ingested_at=arrived)
    clean = join_samples(d, e, s, world.SCHEMA, rules).set_index("decision_id")
    features = ["f_logged", "f_age", "c_kind"]
    for row in d.head(20).itertuples():
        for late, seen in ((1, False), (0, True)):  # in time it is seen: the plant is no dud
            moment = row.timestamp + pd.Timedelta(microseconds=late)
            told = {"timestamp": row.timestamp if arrived else moment, "arrived": moment}
            leak = {"user_id": row.user_id, **told, "f_logged": -9, "f_age": -9, "c_kind": "z"}
            planted = pd.concat([s, pd.DataFrame([leak])])
            sample = join_samples(d, e, planted, world.SCHEMA, rules).set_index("decision_id")
            now, before = (f.loc[row.decision_id, features] for f in (sample, clean))
            assert (now["f_age"] == -9.0) == seen
            assert seen or now.equals(before)


def test_an_event_before_the_decision_is_no_outcome_of_it():
    """Nor is one in slots that the session went back to later than `settle`."""
    d = world.decisions(np.random.default_rng(0), 1).assign(position=3)
    at = d["timestamp"].item()
    late = pd.to_timedelta(["-1us", "0us", "1h", "3600000001us"])
    e = pd.DataFrame({"timestamp": at + late, "gmv": [1.0, 2.0, 4.0, 8.0], "position": 4})
    e = e.assign(session_id=d["session_id"].item(), page=d["page"].item())
    sample = join_samples(d, e, None, world.SCHEMA, SampleRules(settle=HOUR))
    assert sample[["purchase_5", "gmv_10"]].iloc[0].to_list() == [1.0, 6.0]


def test_what_an_event_does_not_tell_is_nothing():
    """Events of several kinds: a value that is missing counts as 0; ids that are, as different."""
    d = world.decisions(np.random.default_rng(0), 1).assign(position=3)
    e = pd.DataFrame({"gmv": [1.0, None, 2.0, 2.0], "purchase": [0, 0, None, 0]})
    e["event_id"] = [None, None, "a", "a"]
    e = e.assign(session_id=d["session_id"].item(), page=d["page"].item(), position=4)
    e["timestamp"] = d["timestamp"].item()
    sample = join_samples(d, e, None, world.SCHEMA, SampleRules())
    assert sample[["purchase_5", "gmv_10"]].iloc[0].to_list() == [0.0, 3.0]


def test_sums_do_not_depend_on_what_else_is_in_the_frame():
    """A sum is of a decision's own events: 0.1 next to 1e15 stays 0.1, to the bit."""
    d = world.decisions(np.random.default_rng(0), 1).assign(position=3)
    e = pd.DataFrame({"gmv": [1e15, 0.1], "session_id": [-1, d["session_id"].item()]})
    e = e.assign(page=d["page"].item(), position=4, timestamp=d["timestamp"].item())
    assert join_samples(d, e, None, world.SCHEMA, SampleRules())["gmv_10"].item() == 0.1


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d, e, s: d.drop(columns="decision_id"), r"the decisions lack \['decision_id'\]"),
        (lambda d, e, s: e.drop(columns="gmv"), r"the events lack \['gmv'\]"),
        (lambda d, e, s: s.drop(columns="timestamp"), r"the snapshots lack \['timestamp'\]"),
        (lambda d, e, s: d.drop(columns="propensity"), "'propensity' is not in the log"),
        (lambda d, e, s: d.assign(propensity=[None] * 59 + [0.5]), "expected the probability"),
        (lambda d, e, s: d.assign(arm=0.5), "expected whole numbers"),
        (lambda d, e, s: d.assign(arm=2), "the schema names arms 0 to 1"),
        (lambda d, e, s: d.assign(decision_id=None), "have no decision_id"),
        (lambda d, e, s: d.assign(timestamp=d["timestamp"].dt.tz_localize(None)), "time zone"),
        (lambda d, e, s: e.assign(timestamp=pd.NaT), "time zone"),
        (lambda d, e, s: s.assign(timestamp=s["timestamp"].shift()), "misses 1 values"),
        (lambda d, e, s: e.assign(position=-1), "count from 0 to 19"),
        (lambda d, e, s: d.assign(position=20), "count from 0 to 19"),
        (lambda d, e, s: d.assign(page=d["page"].shift()), "misses 1 values"),
        (lambda d, e, s: e.assign(page=0.5), "of type float64; expected whole numbers"),
        (lambda d, e, s: e.assign(gmv="much"), "expected numbers"),
        (lambda d, e, s: e.assign(gmv=np.inf), "expected a finite number"),
        (lambda d, e, s: e.assign(session_id="s1"), "write both alike"),
        (lambda d, e, s: s.assign(user_id=1), "write both alike"),
        (lambda d, e, s: s.assign(f_logged="x"), "write both alike"),
        (lambda d, e, s: s[["user_id", "timestamp"]], "no column of the snapshots matches"),
    ],
)
def test_bad_input_is_told_in_a_sentence(spoil, sentence):
    frames = made(0)
    spoilt = spoil(*frames)
    which = ["decision_id", "arm"], ["event_id", "gmv"], ["user_id"]
    place = next(i for i, names in enumerate(which) if {*names} & {*spoilt})
    given = [spoilt if i == place else frame for i, frame in enumerate(frames)]
    with pytest.raises(InputError, match=sentence):
        join_samples(*given, world.SCHEMA, SampleRules())


def test_an_outcome_without_horizon_is_told():
    odd = replace(world.SCHEMA, outcomes=("bought",), primary="bought")
    with pytest.raises(InputError, match="has no horizon"):
        join_samples(*made(0), odd, SampleRules())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604800)]
)
def test_times_as_people_write_them(text, seconds):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["1", "h", "-1h", "1w", "99999999d", ""])
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="is no time"):
        duration(text)


def test_a_time_of_nothing_is_told():
    with pytest.raises(InputError, match="expected a time above 0"):
        SampleRules(settle=timedelta(0))


def test_decisions_of_no_session_are_left_out_with_a_warning():
    rng = np.random.default_rng(0)
    decisions, events = world.decisions(rng), world.events(rng)
    decisions["session_id"] = decisions["session_id"].astype("Int64")
    whole = join_samples(decisions, events, None, world.SCHEMA, SampleRules())
    lost = decisions["decision_id"].isin(["d3", "d40"])
    decisions.loc[lost, "session_id"] = None
    with pytest.warns(UserWarning, match="2 of 60 decisions have no session_id"):
        found = join_samples(decisions, events, None, world.SCHEMA, SampleRules())
    kept = whole[~whole["decision_id"].isin(["d3", "d40"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.reset_index(drop=True), kept)
