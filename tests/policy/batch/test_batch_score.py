"""Scores of folders: the same as in memory, gone on with after any end, bad parts told by name."""

import fcntl
import multiprocessing
import random
import shutil
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policy.batch.memory import LEAST, parse_memory
from policy.batch.overlap import overlapped
from policy.batch.parts import Parts
from policy.batch.score import score_parts
from policy.bundle import Bundle
from uplift.errors import InputError
from uplift.parquet import read_frame

DAYS = ("day=2026-11-24", "day=2026-11-25", "day=2026-11-26")


@pytest.fixture
def folder(tmp_path, feed_log):
    """A log by day, two parts a day, one of them empty."""
    for k, rows in enumerate(np.array_split(np.arange(len(feed_log)), 2 * len(DAYS))):
        part = feed_log.take(rows if k != 3 else rows[:0])
        part.write(tmp_path / "log" / DAYS[k // 2] / f"part-{k % 2}.parquet")
    (tmp_path / "log" / "_SUCCESS").touch()
    return tmp_path / "log"


def scored(model, folder, out, **options):
    told = {"digest": "model 1", "memory": LEAST, **options}
    return score_parts(model, Parts.of(folder), out, **told)


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_parts_have_the_scores_of_the_whole(folder, feed_model, tmp_path):
    told = scored(feed_model, folder, tmp_path / "scores")
    whole = read_frame(folder)
    expected = feed_model.outcome_of(whole)
    found = read_frame(tmp_path / "scores")
    assert told.rows == len(whole) == len(found)
    assert (told.parts, told.kept, told.corrupt) == (6, 0, ())
    for a, arm in enumerate(feed_model.schema.arms):
        np.testing.assert_array_equal(found[f"outcome_{arm}"], expected[:, a])
    np.testing.assert_array_equal(found["uplift_request"], expected[:, 1] - expected[:, 0])
    for name in ("session_id", "user_id", "timestamp", "page", "position", "arm"):
        pd.testing.assert_series_equal(found[name], whole[name])
    assert {p.relative_to(folder) for p in folder.rglob("*.parquet")} == {
        p.relative_to(tmp_path / "scores") for p in (tmp_path / "scores").rglob("*.parquet")
    }


def test_the_number_of_rows_at_once_changes_nothing(folder, feed_model, tmp_path, monkeypatch):
    scored(feed_model, folder, tmp_path / "some")
    monkeypatch.setattr("policy.batch.score.rows_at_once", lambda memory, columns: 97)
    scored(feed_model, folder, tmp_path / "few")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "some"), read_frame(tmp_path / "few"))


def test_a_second_run_keeps_all_and_another_model_none(folder, feed_model, tmp_path):
    out = tmp_path / "scores"
    scored(feed_model, folder, out)
    before = content(out)
    assert scored(feed_model, folder, out).kept == 6
    assert content(out) == before
    assert scored(feed_model, folder, out, digest="model 2").kept == 0


def test_a_part_that_changed_is_scored_anew(folder, feed_model, feed_log, tmp_path):
    out = tmp_path / "scores"
    scored(feed_model, folder, out)
    feed_log.take(np.arange(100)).write(folder / DAYS[0] / "part-0.parquet")
    assert scored(feed_model, folder, out).kept == 5
    assert len(read_frame(out / DAYS[0] / "part-0.parquet")) == 100


def test_progress_counts_rows_to_the_end(folder, feed_model, tmp_path):
    seen = []
    scored(feed_model, folder, tmp_path / "a", progress=lambda done, total: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == Parts.of(folder).rows


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def with_a_hole(path):
    whole = bytearray(path.read_bytes())
    whole[1000:5000] = bytes(4000)
    path.write_bytes(whole)


@pytest.mark.parametrize("harm", [truncated, with_a_hole])
def test_a_corrupt_part_is_named_or_left_out(folder, feed_model, tmp_path, harm):
    bad = f"{DAYS[1]}/part-0.parquet"
    harm(folder / bad)
    with pytest.raises(InputError, match=r"part-0.parquet.*not a whole"):
        scored(feed_model, folder, tmp_path / "scores")
    parts = Parts.of(folder, skip_corrupt=True)
    told = score_parts(
        feed_model, parts, tmp_path / "rest", digest="m", memory=LEAST, skip_corrupt=True
    )
    assert told.corrupt == (bad,)
    assert not (tmp_path / "rest" / bad).exists()
    assert len(read_frame(tmp_path / "rest")) == told.rows


def test_a_wrong_row_is_no_corrupt_part(folder, feed_model, feed_log, tmp_path):
    part = feed_log.take(np.arange(50)).frame.copy()
    part["f_dwell"] = np.inf
    part.to_parquet(folder / DAYS[2] / "part-1.parquet")
    with pytest.raises(InputError, match="infinite"):
        scored(feed_model, folder, tmp_path / "scores", skip_corrupt=True)


def test_parts_with_other_columns_are_told(folder, feed_log):
    other = feed_log.take(np.arange(50)).frame
    other.drop(columns="f_dwell").to_parquet(folder / DAYS[2] / "part-1.parquet")
    with pytest.raises(InputError, match=r"lacks \['f_dwell'\], compared with"):
        Parts.of(folder)
    other.assign(f_dwell="long").to_parquet(folder / DAYS[2] / "part-1.parquet")
    with pytest.raises(InputError, match=r"has otherwise \['f_dwell'\]"):
        Parts.of(folder)


def test_whole_numbers_of_another_width_are_the_same_columns(folder, feed_model, tmp_path):
    path = folder / DAYS[1] / "part-0.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("page")
    pq.write_table(table.set_column(place, "page", table["page"].cast(pa.int64())), path)
    scored(feed_model, folder, tmp_path / "scores")
    assert read_frame(tmp_path / "scores")["page"].dtype == np.int16


def test_parts_of_another_log_are_not_mixed_in(folder, feed_model, tmp_path, feed_log):
    feed_log.write(tmp_path / "scores" / "other.parquet")
    with pytest.raises(InputError, match="do not come from this log"):
        scored(feed_model, folder, tmp_path / "scores")


def test_two_jobs_do_not_write_to_one_folder(folder, feed_model, tmp_path):
    scored(feed_model, folder, tmp_path / "scores")
    with (tmp_path / "scores/.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="writes scores"):
            scored(feed_model, folder, tmp_path / "scores")


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "1e9", "100MiB"])
def test_memory_that_is_none(text):
    with pytest.raises(InputError, match="memory is"):
        parse_memory(text)


def test_memory_is_read():
    assert parse_memory("4GiB") == parse_memory("4 G") == parse_memory("4096m") == 4 << 30


def test_what_fails_in_a_thread_is_told():
    def fail(_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        overlapped(range(5), str, fail)
    with pytest.raises(ZeroDivisionError):
        overlapped(range(5), lambda k: 1 // k, print)
    with pytest.raises(ZeroDivisionError):
        overlapped((1 // (k - 2) for k in range(5)), str, lambda _: None)


def test_a_full_disk_leaves_nothing_half_written(folder, feed_model, tmp_path):
    """/dev/full in place of the scratch file: every write fails."""
    out = tmp_path / "scores"
    real = pq.ParquetWriter

    class Full(real):
        def __init__(self, where, schema):
            super().__init__(where if DAYS[1] not in str(where) else "/dev/full", schema)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("policy.batch.score.pq.ParquetWriter", Full)
        with pytest.raises(OSError, match="No space left"):
            scored(feed_model, folder, out)
    assert {p.parent.name for p in out.rglob("*.parquet*")} == {DAYS[0]}
    assert scored(feed_model, folder, out).kept == 2


def job(log, bundle, out):
    """Score as the command does; the target of a process."""
    score_parts(Bundle.load(bundle).model, Parts.of(log), out, digest="m", memory=LEAST)


@pytest.mark.slow
def test_killed_at_random_it_ends_with_the_same_bytes(feed_log, feed_model, tmp_path):
    """Twenty kills; each next run goes on, and the end is as if none had been."""
    for k, part in enumerate(np.array_split(np.arange(len(feed_log)), 24)):
        feed_log.take(part).write(tmp_path / "log" / f"part-{k:02}.parquet")
    Bundle(feed_model).save(tmp_path / "bundle")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["policy.batch.score", "policy.bundle", "xgboost"])

    def start(out):
        arguments = (tmp_path / "log", tmp_path / "bundle", out)
        process = processes.Process(target=job, args=arguments)
        process.start()
        return process

    start(tmp_path / "warm").join()
    begin, whole = time.monotonic(), start(tmp_path / "whole")
    whole.join()
    lasted = time.monotonic() - begin
    out, rng, kills = tmp_path / "scores", random.Random(0), 0
    while kills < 20:
        running = start(out)
        time.sleep(lasted * rng.random())
        kills += running.is_alive()
        running.kill()
        running.join()
        parts = list(out.rglob("*.parquet")) if out.is_dir() else []
        for part in parts:
            pq.read_table(part)  # whole, or not there
        if len(parts) == 24:
            shutil.rmtree(out)
    last = start(out)
    last.join()
    assert last.exitcode == 0
    assert content(out) == content(tmp_path / "whole")
