"""What changed from one log to the next, and what did not."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from offline_eval.diagnostics import LogProfile, changes, check_changes
from offline_eval.diagnostics.profile import MISSING, OTHER, ColumnProfile
from offline_eval.feed import simulate
from uplift.log import RequestLog
from uplift.plain import to_plain


@pytest.fixture(scope="module")
def before() -> RequestLog:
    return simulate(3000, seed=1, rate=20)


@pytest.fixture(scope="module")
def profile(before: RequestLog) -> LogProfile:
    return LogProfile.of(before)


def changed(log: RequestLog, **columns: object) -> RequestLog:
    return RequestLog(log.frame.assign(**columns), log.schema)


def by_name(profile: LogProfile, log: RequestLog):
    """Return changes by the name of the column, or of the outcome whose effect it is."""
    return {change.name: change for change in changes(profile, log)}


def test_another_log_of_the_same_world_is_steady(profile):
    for seed in range(2, 6):
        found = changes(profile, simulate(3000, seed=seed, rate=20))
        assert {change.verdict for change in found} == {"steady"}


def test_every_feature_arm_propensity_and_outcome_is_told(profile, before):
    found = by_name(profile, before)
    drawn = [("arm", "propensity"), ("propensity", "propensity")]
    expected = [*((name, "feature") for name in before.features), *drawn]
    expected += [(name, kind) for kind in ("outcome", "effect") for name in before.schema.outcomes]
    assert [(c.name, c.kind) for c in changes(profile, before)] == expected
    for name in before.features:
        assert found[name].distance == pytest.approx(0, abs=1e-12)


def test_a_feature_that_moved_is_named_with_its_bin(profile, before):
    moved = changed(before, f_tenure=before.frame["f_tenure"] * 1.5)
    found = by_name(profile, moved)
    assert found.pop("f_tenure").verdict == "moved"
    assert {c.verdict for c in found.values()} == {"steady"}


def test_a_feature_that_goes_missing_is_told(profile, before):
    gone = before.frame["f_noise_user"].where(np.arange(len(before)) % 2 == 0)
    found = by_name(profile, changed(before, f_noise_user=gone))["f_noise_user"]
    assert (found.verdict, found.largest) == ("moved", MISSING)
    assert (found.share_before, found.share_after) == (0.0, 0.5)
    assert found.distance == pytest.approx(0.5, abs=0.01)


def test_a_category_never_seen_is_other(profile, before):
    new = before.frame["c_category"].astype(str).where(before.session % 5 > 0, "brand_new")
    found = by_name(profile, changed(before, c_category=pd.Categorical(new)))["c_category"]
    assert (found.verdict, found.largest) == ("moved", OTHER)
    assert found.share_after == pytest.approx(0.2, abs=0.03)


def test_arms_drawn_otherwise_are_told(profile, before):
    arm = np.where(before.session % 4 == 0, 0, before.arm).astype(np.int8)
    assert by_name(profile, changed(before, arm=arm))["arm"].verdict == "moved"


def test_an_effect_turned_round_is_told(profile, before):
    """Of purchases that requests no longer bring but take away."""
    bought = before.outcome("purchase_20")
    extra = (before.arm == 1) & (before.frame.index % 2 == 0)
    found = by_name(profile, changed(before, purchase_20=np.where(extra, 1 - bought, bought)))
    assert found["purchase_20"].verdict == "moved"
    assert found["purchase_10"].verdict == "steady"


def test_outcomes_that_are_rare_are_told_by_their_values(profile, before):
    """Deciles of a rare outcome are all 0."""
    rate = before.outcome("purchase_10").mean()
    twice = np.maximum(before.outcome("purchase_10"), before.outcome("purchase_20"))
    found = outcome_of(changes(profile, changed(before, purchase_10=twice)))
    assert found.largest in ("below 1", "from 1")
    assert min(found.share_before, 1 - found.share_before) == pytest.approx(rate)
    assert found.after == pytest.approx(twice.mean())


def outcome_of(found):
    return next(c for c in found if (c.name, c.kind) == ("purchase_10", "outcome"))


def test_drift_of_features_is_in_order_and_of_what_they_mean_is_not(profile, before):
    """Outcomes turned round make a log that is in order on its own."""
    y = before.outcome("purchase_10")
    arm = np.where(before.session % 2 == 0, 1 - before.arm, before.arm).astype(np.int8)
    logs = {
        "sound": changed(before, f_tenure=before.frame["f_tenure"] * 3),
        "purchase_10 is of another world": changed(before, purchase_10=1 - y),
        "arm is of another world": changed(before, arm=arm),
    }
    assert check_changes(changes(profile, before), "purchase_10").verdict == "sound"
    for expected, log in logs.items():
        check = check_changes(changes(profile, log), "purchase_10")
        assert check.name == "changes"
        assert check.verdict == ("sound" if expected == "sound" else "doubtful")
        assert expected == "sound" or expected in check.sentence
    assert (
        "The effect on purchase_10 turned round"
        in check_changes(
            changes(profile, logs["purchase_10 is of another world"]), "purchase_10"
        ).sentence
    )


def test_what_the_log_lacks_is_gone(profile, before):
    schema = replace(before.schema, outcomes=("purchase_10",))
    found = by_name(profile, RequestLog(before.frame.drop(columns="f_tenure"), schema))
    assert found["f_tenure"].verdict == found["gmv_10"].verdict == "gone"


def test_a_profile_survives_json(profile, before):
    again = LogProfile.from_dict(json.loads(json.dumps(to_plain(profile), allow_nan=False)))
    later = simulate(2000, seed=9, rate=20)
    assert changes(again, later) == changes(profile, later)


@pytest.mark.parametrize(
    "values",
    [np.full(100, np.nan), np.ones(100), np.arange(100.0), ["a", None] * 50, [True, False] * 50],
    ids=["missing", "constant", "numbers", "texts", "booleans"],
)
def test_shares_add_up_whatever_the_column(values):
    column = pd.Series(values)
    found = ColumnProfile.of(column, "feature", False, np.arange(100))
    assert len(found.share) == len(found.error) == len(found.labels)
    assert found.share.sum() == pytest.approx(1)


def test_what_is_mostly_0_has_a_bin_for_what_is_not():
    """Money spent by one in twenty: all deciles are 0."""
    money = np.where(np.arange(1000) % 20 == 0, 5.0 + np.arange(1000), 0.0)
    found = ColumnProfile.of(pd.Series(money), "outcome", False, np.arange(1000))
    np.testing.assert_allclose(found.share, [0.95, 0.05, 0.0])


def test_the_error_of_a_share_is_clustered():
    """Ten rows a user, all alike: the error is that of so many users."""
    user = np.repeat(np.arange(1000), 10)
    value = np.random.default_rng(0).normal(size=1000)[user]
    found = ColumnProfile.of(pd.Series(value), "feature", False, user)
    assert found.error[0] == pytest.approx(np.sqrt(0.1 * 0.9 / 1000), rel=0.02)


def test_a_large_log_is_looked_at_in_whole_users(monkeypatch, before):
    monkeypatch.setattr("offline_eval.diagnostics.profile.MOST_ROWS", 5000)
    from offline_eval.diagnostics.profile import profile_rows

    some = profile_rows(before)
    assert 3500 < len(some) < 6500
    kept = before.frame["user_id"].isin(set(some.frame["user_id"]))
    assert kept.sum() == len(some)
