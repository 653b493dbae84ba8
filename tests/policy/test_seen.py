"""Which logs a bundle has learned from."""

import json

import numpy as np
import pytest

from offline_eval.feed import simulate
from policy.seen import SeenLog, is_seen
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.plain import to_plain


def part(log: RequestLog, days: np.ndarray) -> RequestLog:
    return log.take(days)


@pytest.fixture(scope="module")
def days() -> list[RequestLog]:
    log = simulate(600, seed=1, rate=10, days=3)
    date = log.frame["timestamp"].to_numpy(dtype="datetime64[D]")
    return [log.take(date == day) for day in np.unique(date)[:3]]


def test_the_order_of_rows_and_columns_means_nothing(days):
    frame = days[0].frame.sample(frac=1, random_state=1)[sorted(days[0].frame)]
    again = RequestLog(frame.reset_index(drop=True), days[0].schema)
    assert SeenLog.of(again) == SeenLog.of(days[0])


def test_a_category_counts_by_its_name(days):
    """Not by its code: a file that lacks some of them has others."""
    frame = days[0].frame.assign(c_device=days[0].frame["c_device"].astype(str))
    assert SeenLog.of(RequestLog(frame, days[0].schema)) == SeenLog.of(days[0])


@pytest.mark.parametrize("column", ["arm", "purchase_10", "f_tenure", "user_id"])
def test_one_value_more_or_less_is_another_log(days, column):
    values = days[0].frame[column].to_numpy().copy()
    values[5] = 1 - values[5]
    other = RequestLog(days[0].frame.assign(**{column: values}), days[0].schema)
    assert SeenLog.of(other).digest != SeenLog.of(days[0]).digest


def test_a_row_twice_is_another_log(days):
    twice = days[0].take(np.append(np.arange(len(days[0])), [3, 3]))
    assert SeenLog.of(twice).digest != SeenLog.of(days[0]).digest


def test_a_later_day_is_new_and_the_same_day_is_not(days):
    first, second, third = (SeenLog.of(day) for day in days)
    assert not is_seen(second, (first,))
    assert is_seen(first, (first, second))
    assert is_seen(second, (first, second))
    assert not is_seen(third, (first, second))
    assert not is_seen(first, ())


def test_part_of_a_day_or_one_before_it_is_refused(days):
    first, second, _ = (SeenLog.of(day) for day in days)
    half = SeenLog.of(days[1].take(np.arange(0, len(days[1]), 2)))
    for log in (half, first):
        with pytest.raises(InputError, match="but the bundle has learned from one that lasts"):
            is_seen(log, (second,))


def test_without_time_the_digest_decides(days):
    logs = [RequestLog(day.frame.drop(columns="timestamp"), day.schema) for day in days[:2]]
    first, second = (SeenLog.of(log) for log in logs)
    assert first.first is None
    assert is_seen(first, (first,))
    assert not is_seen(second, (first,))


def test_evidence_keeps_them(days):
    seen = [SeenLog.of(day) for day in days]
    table = json.loads(json.dumps({"logs": to_plain(seen)}))
    assert list(SeenLog.all_of(table)) == seen
    assert SeenLog.all_of({}) == ()
