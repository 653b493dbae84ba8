"""The log of a job, or one day of it."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from offline_eval.feed import simulate
from policy.job import Job, LogSource
from policy.progress import Stages
from policy.source import read_source
from uplift.errors import InputError

SIMULATED = LogSource(sessions=400, rate=10, days=2)


def read(source: LogSource):
    return read_source(source, 0, Stages())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    log = simulate(400, seed=0, rate=10, days=2)
    log.write(tmp_path / "all.parquet")
    log.schema.write(tmp_path / "schema.toml")
    for day in (5, 6):
        only = read(replace(SIMULATED, day=date(2026, 1, day)))
        only.write(tmp_path / f"2026-01-0{day}.parquet")
    return tmp_path


def test_a_day_is_its_rows_in_utc():
    whole = read(SIMULATED)
    parts = [read(replace(SIMULATED, day=date(2026, 1, day))) for day in (5, 6)]
    days = whole.frame["timestamp"].to_numpy(dtype="datetime64[D]")
    for part, day in zip(parts, ("2026-01-05", "2026-01-06"), strict=True):
        assert len(part) == (days == np.datetime64(day)).sum() > 0


def test_the_same_users_come_on_both_days():
    users = [set(read(replace(SIMULATED, day=date(2026, 1, d))).frame["user_id"]) for d in (5, 6)]
    assert len(users[0] & users[1]) > 20


@pytest.mark.parametrize("name", ["all.parquet", "{day}.parquet"])
def test_of_files_too_and_one_file_a_day_is_named_by_it(files, name):
    source = LogSource(path=files / name, schema=files / "schema.toml", day=date(2026, 1, 6))
    assert len(read(source)) == len(read(replace(SIMULATED, day=date(2026, 1, 6))))


def test_a_day_that_is_not_there_is_told(files):
    source = LogSource(path=files / "all.parquet", schema=files / "schema.toml")
    with pytest.raises(InputError, match=r"no rows of 2026-02-01; it goes from 2026-01-05 to"):
        read(replace(source, day=date(2026, 2, 1)))
    one_a_day = replace(source, path=files / "{day}.parquet")
    with pytest.raises(InputError, match=r"2026-02-01\.parquet' does not exist"):
        read(replace(one_a_day, day=date(2026, 2, 1)))
    with pytest.raises(InputError, match="asks for a day; name one with --day"):
        read(one_a_day)


def test_a_log_without_time_has_no_days(files):
    import pandas as pd

    frame = pd.read_parquet(files / "all.parquet").drop(columns="timestamp")
    frame.to_parquet(files / "timeless.parquet")
    source = LogSource(path=files / "timeless.parquet", schema=files / "schema.toml")
    with pytest.raises(InputError, match="no column 'timestamp'"):
        read(replace(source, day=date(2026, 1, 5)))


def test_a_job_file_names_a_day():
    assert Job.from_dict({"log": {"day": date(2026, 1, 5)}}).log.day == date(2026, 1, 5)
    assert Job.from_dict({"log": {"day": "2026-01-05"}}).log.day == date(2026, 1, 5)
    with pytest.raises(InputError, match=r"'log\.day' is 'monday'"):
        Job.from_dict({"log": {"day": "monday"}})


def test_a_job_file_says_how_to_refit():
    job = Job.from_dict({"refit": {"keep": [0.25, 0], "most_trees": 50}})
    assert (job.refit.keep, job.refit.most_trees) == ((0.25, 0.0), 50)
    with pytest.raises(InputError, match="expected different shares"):
        Job.from_dict({"refit": {"keep": [2]}})
