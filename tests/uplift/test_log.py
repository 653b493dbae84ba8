import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from simulated_logs import make_frame, make_log, make_schema, shuffled

from uplift import InputError, LogSchema, RequestLog, check_randomisation
from uplift.log import draft_schema


def small_log(**columns):
    """Two sessions; session 7 sees pages 0 and 1, session 3 only page 0; rows in no order."""
    frame = pd.DataFrame(
        {
            "session_id": [7, 3, 7, 7, 3],
            "page": [1, 0, 0, 0, 0],
            "position": [2, 9, 5, 1, 4],
            "arm": [0, 1, 0, 1, 0],
            "propensity": 0.5,
            "buy": [0, 1, 0, 0, 1],
            "f": 1.0,
            **columns,
        }
    )
    roles = {"outcomes": ("buy",), "primary": "buy", "features": ("f",), "page_length": 10}
    return RequestLog(frame, make_schema(**roles))


def test_columns_are_read_by_role():
    log = small_log()
    assert log.arm.tolist() == [0, 1, 0, 1, 0]
    assert log.propensity.tolist() == [0.5] * 5
    assert log.outcome().tolist() == log.outcome("buy").tolist() == [0, 1, 0, 0, 1]
    assert log.features == ["f"]
    assert len(log) == 5


def test_cost_is_the_columns_or_the_arms():
    assert small_log().cost.tolist() == [0, 1, 0, 1, 0]
    assert small_log(cost=[0, 0.5, 0, 2, 0]).cost.tolist() == [0, 0.5, 0, 2, 0]


def test_slot_counts_through_the_pages():
    assert small_log().slot.tolist() == [12, 9, 5, 1, 4]


def test_every_page_seen_starts_once():
    log = small_log()
    assert log.n_pages == 3
    starts = log.page_starts
    pages = list(zip(log.session[starts], log.page[starts], strict=True))
    assert len(pages) == len(set(pages)) == 3


def test_session_order_sorts_by_slot_inside_each_session():
    log = small_log()
    session, slot = log.session[log.session_order], log.slot[log.session_order]
    assert (np.diff(session) >= 0).all()
    assert slot[session == session[0]].tolist() in ([1, 5, 12], [4, 9])
    assert (np.diff(slot)[np.diff(session) == 0] > 0).all()


def test_session_order_breaks_ties_of_the_slot_by_time():
    hours = pd.to_datetime("2024-01-01") + pd.to_timedelta([5, 4, 3, 2, 1], unit="h")
    log = small_log(session_id=1, page=0, position=0, timestamp=hours)
    assert log.session_order.tolist() == [4, 3, 2, 1, 0]


def test_without_sessions_each_row_is_its_own():
    frame = make_frame(n_users=20).drop(columns=["session_id", "user_id"])
    log = RequestLog(frame, make_schema())
    assert np.unique(log.session).size == np.unique(log.cluster).size == len(log)


def test_without_users_the_session_is_the_cluster():
    log = RequestLog(make_frame(n_users=20).drop(columns="user_id"), make_schema())
    assert np.array_equal(log.cluster, log.session)


def test_keys_place_a_decision_and_tell_what_was_done_and_the_truth():
    assert set(make_log(n_users=20).keys().frame) == {
        *("session_id", "user_id", "timestamp", "page", "position", "true_uplift"),
        *("arm", "propensity"),
    }


def test_writing_and_reading_keeps_a_log(tmp_path):
    log = make_log(n_users=20)
    log.write(tmp_path / "log.parquet")
    log.schema.write(tmp_path / "log.toml")
    again = RequestLog.read(tmp_path / "log.parquet", tmp_path / "log.toml")
    assert again.schema == log.schema
    pd.testing.assert_frame_equal(again.frame, log.frame, check_dtype=False)


def test_reading_checks(tmp_path):
    make_frame(n_users=5).assign(propensity=2.0).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"'propensity' holds 2\.0"):
        RequestLog.read(tmp_path / "log.parquet", make_schema())


def test_take_takes_indices_and_masks():
    log = small_log()
    assert log.take(np.array([4, 0])).slot.tolist() == [4, 12]
    assert log.take(log.arm == 1).slot.tolist() == [9, 1]


def users(log, column="user_id"):
    return set(log.frame[column])


def test_a_split_keeps_users_whole_and_loses_no_row():
    log = make_log(n_users=500)
    parts = log.split(share=[0.5, 0.3, 0.2], seed=3)
    assert sum(map(len, parts)) == len(log)
    assert sum(len(users(part)) for part in parts) == len(users(log))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_are_binomial_over_users(share, seed):
    log = make_log(n_users=2000, rows_per_user=2)
    first, _ = log.split(share=share, seed=seed)
    assert abs(len(users(first)) / 2000 - share) < 4 * np.sqrt(share * (1 - share) / 2000)


def test_shares_may_leave_a_rest_out():
    log = make_log(n_users=500)
    (part,) = log.split(share=[0.25])
    assert 0 < len(part) < len(log) / 2


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, [0.6, 0.6], [0.5, 0.0], float("nan")])
def test_shares_that_are_none_are_refused(share):
    with pytest.raises(InputError, match="split: shares are"):
        make_log(n_users=50).split(share=share)


def test_a_part_without_users_is_refused():
    with pytest.raises(InputError, match="split: 1 users cannot fill 2 parts; use a larger log"):
        make_log(n_users=1, rows_per_user=50).split()


def test_a_split_by_a_column_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="'usr_id'"):
        make_log(n_users=50).split(by="usr_id")


ID_KINDS = {
    "int64": lambda ids: ids.astype(np.int64),
    "int32": lambda ids: ids.astype(np.int32),
    "str": lambda ids: "u" + ids.astype(str),
    "object": lambda ids: ("u" + ids.astype(str)).astype(object),
    "category of str": lambda ids: ("u" + ids.astype(str)).astype("category"),
    "category of int": lambda ids: ids.astype("category"),
    "Int64": lambda ids: ids.astype("Int64"),
}


@pytest.mark.parametrize("kind", ID_KINDS)
def test_a_user_falls_the_same_way_in_every_log(kind):
    """In another order, among other users, and however pandas holds the identifier."""
    whole = make_frame(n_users=400)
    part = shuffled(whole[whole["user_id"] % 3 == 0])
    as_text = "str" in kind or kind == "object"
    base = whole.assign(user_id=ID_KINDS["object" if as_text else "int64"](whole["user_id"]))
    part = part.assign(user_id=ID_KINDS[kind](part["user_id"]))
    first, _ = RequestLog(base, make_schema()).split(seed=5)
    first_of_part, _ = RequestLog(part, make_schema()).split(seed=5)
    assert users(first_of_part) == users(first) & set(part["user_id"])


def test_a_user_falls_the_same_way_read_from_a_file(tmp_path):
    frame = make_frame(n_users=200)
    frame["user_id"] = "u" + frame["user_id"].astype(str)
    log = RequestLog(frame, make_schema())
    shuffled(frame).to_parquet(tmp_path / "log.parquet")
    again = RequestLog.read(tmp_path / "log.parquet", make_schema())
    assert users(log.split(seed=2)[0]) == users(again.split(seed=2)[0])


@pytest.mark.parametrize("lost", [[], ["user_id"]])
def test_the_order_of_rows_means_nothing_to_a_split(lost):
    frame = make_frame(n_users=200).drop(columns=lost)
    first, _ = RequestLog(frame, make_schema()).split()
    again, _ = RequestLog(shuffled(frame), make_schema()).split()
    assert users(first, "session_id") == users(again, "session_id")


@pytest.mark.parametrize("kind", ["int64", "category of str"])
def test_the_order_of_rows_means_nothing_to_the_checks(kind):
    frame = make_frame(n_users=400)
    frame["user_id"] = ID_KINDS[kind](frame["user_id"])
    log, again = (RequestLog(f, make_schema()) for f in (frame, shuffled(frame)))
    both = [{c.name: c for c in check_randomisation(one)} for one in (log, again)]
    leaks = [checks.pop("leak").sentence for checks in both]
    assert both[0] == both[1]
    # the classifier sums float32 gradients in the order of rows: the third digit of the AUC
    auc, auc_again = (float(re.search(r"AUC ([\d.]+)", told)[1]) for told in leaks)
    assert auc == pytest.approx(auc_again, abs=2e-3)


def test_the_order_of_rows_means_nothing_to_codes():
    frame = make_frame(n_users=50).assign(row=np.arange(300))
    log, again = (RequestLog(f, make_schema()) for f in (frame, shuffled(frame)))
    back = np.argsort(again.frame["row"])
    assert np.array_equal(again.cluster[back], log.cluster)
    assert np.array_equal(again.session[back], log.session)


def test_another_seed_is_another_split():
    log = make_log(n_users=200)
    assert users(log.split(seed=0)[0]) != users(log.split(seed=1)[0])


def timed(moments, zone=None):
    stamps = pd.Series(pd.to_datetime(moments))
    return small_log(timestamp=stamps.dt.tz_localize(zone) if zone else stamps)


MOMENTS = ["2024-05-01 00:00:00", "2024-05-01 00:59:59", "2024-05-01 01:00:00"]
MOMENTS += ["2024-05-02 23:59:59", "2024-05-03 12:00:00"]


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_windows_cut_the_day(zone):
    windows = timed(MOMENTS, zone).windows(3600)
    assert windows.index.tolist() == [0, 0, 1, 23, 12]
    assert windows.start.tolist() == [3600.0 * h for h in range(24)]
    assert windows.seconds == 3600
    assert 2 * 3600 - 1 <= windows.covered[1] <= 3 * 3600
    assert windows.covered.sum() <= 3 * 86_400


@pytest.mark.parametrize(
    ("first", "last", "seconds", "covered"),
    [
        ("2026-01-01T12:00", "2026-01-02T12:00", 21_600, [21_600] * 4),  # noon to noon
        ("2026-01-01T12:00", "2026-01-01T13:00", 21_600, [0, 0, 3600, 0]),
        ("2026-01-01T00:00", "2026-01-02T00:00", 18_000, [18_000] * 4 + [14_400]),
        ("2026-01-01T05:00", "2026-01-01T05:00", 43_200, [1, 0]),
    ],
)
def test_windows_cover_what_the_log_spans(first, last, seconds, covered):
    assert (
        timed([first, first, first, last, last], None).windows(seconds).covered.tolist() == covered
    )


def test_windows_are_cut_in_utc():
    windows = timed(MOMENTS, "Asia/Shanghai").windows(3600)
    assert windows.index.tolist() == [16, 16, 17, 15, 4]


def test_session_order_takes_times_with_a_zone():
    zoned, plain = timed(MOMENTS, "UTC"), timed(MOMENTS)
    assert zoned.session_order.tolist() == plain.session_order.tolist()


def test_the_last_window_of_a_day_may_be_short():
    windows = timed(MOMENTS).windows(50_000)
    assert windows.start.tolist() == [0, 50_000]
    assert windows.index.tolist() == [0, 0, 0, 1, 0]


def test_without_times_there_is_one_window():
    windows = small_log().windows(60)
    assert windows.index.tolist() == [0] * 5
    assert windows.start.tolist() == [0]
    assert windows.seconds == np.inf


@pytest.mark.parametrize("seconds", [0, -5, 1, float("nan")])
def test_windows_that_are_none_are_refused(seconds):
    with pytest.raises(InputError, match="expected 60 or more"):
        timed(MOMENTS).windows(seconds)


def test_a_draft_is_made_from_a_file(tmp_path):
    make_frame(n_users=50, n_arms=2).assign(position=70).to_parquet(tmp_path / "log.parquet")
    schema = draft_schema(tmp_path / "log.parquet")
    assert isinstance(schema, LogSchema)
    assert schema.arms == ("none", "request_1", "request_2")
    assert schema.page_length == 71
    RequestLog.read(tmp_path / "log.parquet", schema)


@pytest.mark.parametrize("columns", [{"a": [1]}, {"arm": ["x"]}, {"arm": [0.5]}, {"arm": []}])
def test_a_draft_needs_arms(tmp_path, columns):
    pd.DataFrame(columns).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match="no rows with a column 'arm' of whole numbers"):
        draft_schema(tmp_path / "log.parquet")


ESTIMATE = {"propensity": "estimate"}


def estimated(frame, **roles):
    return RequestLog(frame.drop(columns="propensity"), make_schema(**ESTIMATE, **roles))


def confounded(n_users=2000, seed=0):
    """Arm 1 is likelier on page 0, and where ``f_step`` is high; logged with its true chance."""
    frame = make_frame(n_users=n_users, seed=seed)
    chance = expit(frame["f_step"] - frame["page"]).to_numpy()
    arm = (np.random.default_rng(seed + 1).random(len(frame)) < chance).astype(np.int8)
    return frame.assign(arm=arm, propensity=np.where(arm == 1, chance, 1 - chance)), chance


def of_arm_1(log):
    return np.where(log.arm == 1, log.propensity, 1 - log.propensity)


def test_propensities_that_are_not_logged_are_estimated():
    """In each tenth of the estimates arm 1 is as frequent as estimated, within 4 standard errors.

    So it is on each page; and the estimates follow the true chance (correlation above 0.95).
    """
    frame, chance = confounded()
    log = estimated(frame)
    found = of_arm_1(log)
    assert np.corrcoef(found, chance)[0, 1] > 0.95
    bins = [
        *np.array_split(np.argsort(found), 10),
        *(np.flatnonzero(log.page == p) for p in (0, 1)),
    ]
    for rows in bins:
        p = found[rows].mean()
        assert abs(log.arm[rows].mean() - p) < 4 * np.sqrt(p * (1 - p) / len(rows))


@pytest.mark.parametrize("place", ["page", "position"])
def test_the_place_is_known_before_the_decision(place):
    """Chances by the place alone, which is no feature: 0.3 and 0.7, found within 0.1."""
    frame = make_frame(n_users=1000)
    late = frame[place] > 0
    arm = (np.random.default_rng(1).random(len(frame)) < np.where(late, 0.7, 0.3)).astype(int)
    found = of_arm_1(estimated(frame.assign(arm=arm)))
    assert abs(found[late].mean() - 0.7) < 0.1
    assert abs(found[~late].mean() - 0.3) < 0.1


def test_estimates_do_not_know_the_arm_of_their_user():
    """A feature names the user, whose rows all have one arm, drawn by a coin.

    A model that has seen the user knows the arm. Correlation within 4 standard errors of 0,
    1 / sqrt(users); where nothing was learned the estimates are constants by fold.
    """
    user = np.repeat(np.arange(400), 6)
    arm = np.random.default_rng(2).integers(0, 2, 400)
    label = np.random.default_rng(3).permutation(400).astype(float)
    frame = make_frame(n_users=400).assign(arm=arm[user], f_user=label[user])
    mean = np.bincount(user, of_arm_1(estimated(frame))) / 6
    assert mean.std() == 0 or abs(np.corrcoef(mean, arm)[0, 1]) < 4 / np.sqrt(400)


def test_several_arms_are_estimated_together():
    """Each arm's chance, as make_frame draws it: within 4 standard errors on each page."""
    frame = make_frame(n_users=1000, n_arms=2)
    log = estimated(frame, arms=("none", "a", "b"), arm_cost=(0.0, 1.0, 1.0))
    for arm in range(3):
        for page in (0, 1):
            rows = (log.arm == arm) & (log.page == page)
            truth = frame["propensity"][rows].iloc[0]
            error = np.sqrt(truth * (1 - truth) / (log.page == page).sum())
            assert abs(log.propensity[rows].mean() - truth) < 4 * error + 0.01  # out-of-fold noise


def test_propensities_that_are_logged_are_used_as_given():
    frame, _ = confounded(50)
    log = RequestLog(frame, make_schema(**ESTIMATE))
    assert log.frame is frame
    np.testing.assert_array_equal(log.propensity, frame["propensity"])


def test_estimating_leaves_the_frame_alone_and_gives_the_same_again():
    frame = confounded(100)[0].drop(columns="propensity")
    one, other = (RequestLog(frame, make_schema(**ESTIMATE)) for _ in range(2))
    assert "propensity" not in frame
    np.testing.assert_array_equal(one.propensity, other.propensity)


def test_parts_keep_what_was_estimated_on_the_whole():
    log = estimated(confounded(200)[0])
    part = log.take(np.arange(100))
    np.testing.assert_array_equal(part.propensity, log.propensity[:100])
    first, second = log.split()
    assert sorted([*first.propensity, *second.propensity]) == sorted(log.propensity)


@pytest.mark.parametrize("lost", [["page", "position"], ["user_id", "session_id"], ["c_kind"]])
def test_estimates_take_what_there_is(lost):
    frame = confounded(200)[0].drop(columns=lost)
    assert np.corrcoef(estimated(frame).propensity, frame["propensity"])[0, 1] > 0.3


def test_a_log_without_propensities_is_read_and_written(tmp_path):
    frame = confounded(100)[0].drop(columns="propensity")
    frame.to_parquet(tmp_path / "log.parquet")
    log = RequestLog.read(tmp_path / "log.parquet", make_schema(**ESTIMATE))
    log.write(tmp_path / "again.parquet")
    again = RequestLog.read(tmp_path / "again.parquet", make_schema(**ESTIMATE))
    np.testing.assert_array_equal(again.propensity, log.propensity)


def test_one_user_is_too_few_to_estimate_from():
    with pytest.raises(InputError, match="fall in one fold"):
        estimated(make_frame(n_users=1, rows_per_user=50))
