"""Users that fit into memory."""

import numpy as np
import pandas as pd
import pytest

from policy.batch.memory import LEAST
from policy.batch.parts import Parts
from policy.batch.sample import read_users


@pytest.fixture
def parts(tmp_path, feed_log):
    for k, rows in enumerate(
        np.array_split(np.random.default_rng(0).permutation(len(feed_log)), 5)
    ):
        feed_log.take(rows).write(tmp_path / f"part-{k}.parquet")
    return Parts.of(tmp_path)


def test_what_fits_is_read_whole(parts, feed_log):
    log, share = read_users(parts, feed_log.schema, LEAST)
    assert (len(log), share) == (len(feed_log), 1.0)


def test_of_what_does_not_fit_whole_users_are_read(parts, feed_log, monkeypatch):
    room = len(feed_log) // 2
    monkeypatch.setattr("policy.batch.sample.row_bytes", lambda columns: (LEAST / 2) / room)
    seen = []
    log, share = read_users(
        parts, feed_log.schema, LEAST, lambda done, total: seen.append((done, total))
    )
    assert share == pytest.approx(0.5, abs=1e-3)
    counts = feed_log.frame["user_id"].value_counts()
    found = log.frame["user_id"].value_counts()
    pd.testing.assert_series_equal(found, counts[found.index])  # all rows of each
    error = np.sqrt(share * (1 - share) / len(counts))
    assert len(found) / len(counts) == pytest.approx(share, abs=4 * error)
    assert seen[-1] == (len(feed_log), len(feed_log))


def test_the_same_users_from_every_day(parts, feed_log, monkeypatch, tmp_path):
    monkeypatch.setattr("policy.batch.sample.row_bytes", lambda columns: LEAST / len(feed_log))
    first = read_users(parts, feed_log.schema, LEAST)[0]
    feed_log.write(tmp_path / "again" / "day.parquet")
    again = read_users(Parts.of(tmp_path / "again"), feed_log.schema, LEAST)[0]
    assert set(first.frame["user_id"]) == set(again.frame["user_id"])
