"""The job against the join of frames: by day, in parts, again, late, killed, and on bad input."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import samples_world as world

from policy.samples.job import make_samples
from policy.samples.join import join_samples
from policy.samples.rules import SampleRules
from uplift.errors import InputError
from uplift.log import RequestLog

RULES = SampleRules(ingested_at="arrived")
NOW = world.DAY + pd.Timedelta(days=3)


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return world.decisions(rng, 400), world.events(rng, 900), world.snapshots(rng, 200)


@pytest.fixture
def paths(tmp_path, frames):
    """Decisions, events and snapshots, each in parts that overlap in time."""
    return lay_out(tmp_path, frames)


def lay_out(folder, frames):
    paths = [folder / name for name in ("decisions", "events", "snapshots")]
    for path, frame in zip(paths, frames, strict=True):
        for number, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
            (path / f"dt={number}").mkdir(parents=True)
            frame.iloc[part].to_parquet(path / f"dt={number}" / "part.parquet", row_group_size=40)
    return paths


def make(paths, out, now=NOW, rules=RULES, **more):
    return make_samples(
        paths[0],
        out,
        world.SCHEMA,
        rules,
        events=paths[1],
        snapshots=paths[2],
        now=now,
        **more,
    )


def files(out):
    """Bytes of every file but the manifest and the lock."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("_manifest.json", ".lock")
    }


def whole(out):
    parts = [pq.ParquetFile(path).read().to_pandas() for path in sorted(out.glob("day=*/*"))]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("max_age", [None, timedelta(hours=6)])
def test_days_together_are_the_join_of_all(frames, paths, tmp_path, max_age):
    """Sessions span midnight, and keep their outcomes."""
    rules = SampleRules(settle=timedelta(hours=7), max_age=max_age, ingested_at="arrived")
    made = make(paths, tmp_path / "out", rules=rules)
    assert made.written == ["2026-03-01", "2026-03-02"]
    assert made.rows == 400
    asked = join_samples(*frames, world.SCHEMA, rules)
    found = whole(tmp_path / "out")
    pd.testing.assert_frame_equal(found, asked, check_dtype=False)
    late = found[(found["timestamp"] < "2026-03-02") & (found["timestamp"] >= "2026-03-01 18:00Z")]
    cut = frames[1][frames[1]["timestamp"] < "2026-03-02"]
    alone = join_samples(frames[0], cut, frames[2], world.SCHEMA, rules).loc[late.index]
    assert late["gmv_10"].sum() > alone["gmv_10"].sum()  # some outcomes did come after midnight


def test_few_snapshots_are_held_at_once(frames, paths, tmp_path, monkeypatch):
    """What was known before a day is pruned as it is read, and nothing changes."""
    make(paths, tmp_path / "all")
    monkeypatch.setattr("policy.samples.known._BYTES", 1000)
    make(paths, tmp_path / "pruned")
    assert files(tmp_path / "pruned") == files(tmp_path / "all")


def test_how_a_day_is_sliced_has_no_say(frames, paths, tmp_path, monkeypatch):
    """Decisions told again hours later are in other slices, and found."""
    again = frames[0].iloc[::5]
    later = again["timestamp"] + pd.Timedelta(hours=3)
    same = later.dt.date == again["timestamp"].dt.date
    again[same].assign(timestamp=later[same]).to_parquet(paths[0] / "again.parquet")
    make(paths, tmp_path / "all")
    monkeypatch.setattr("policy.samples.day._ROWS", 17)
    monkeypatch.setattr("policy.samples.put._GROUP", 50)
    make(paths, tmp_path / "sliced")
    pd.testing.assert_frame_equal(whole(tmp_path / "sliced"), whole(tmp_path / "all"))
    monkeypatch.setattr("policy.samples.day._ROWS", 90)
    make(paths, tmp_path / "other")
    assert files(tmp_path / "other") == files(tmp_path / "sliced")
    assert len(whole(tmp_path / "all")) == len(frames[0])


def test_check_accepts_the_folder(cli, paths, tmp_path):
    world.SCHEMA.write(tmp_path / "log.toml")
    given = "--schema", tmp_path / "log.toml"
    into = "--out", tmp_path / "out", "--events", paths[1], "--snapshots", paths[2]
    now = "--now", "2026-03-04", "--settle", "2h", "--max-age", "2d", "--ingested-at", "arrived"
    code, out, error = cli("samples", paths[0], *given, *into, *now, "--json")
    assert (code, error) == (0, "")
    assert json.loads(out)["written"] == ["2026-03-01", "2026-03-02"]
    code, out, error = cli("check", tmp_path / "out", *given)
    assert (code, error) == (0, "")
    assert "400 decision points" in out
    assert len(RequestLog.read(tmp_path / "out", world.SCHEMA)) == 400


def test_again_nothing_is_read_and_nothing_changes(paths, tmp_path, monkeypatch):
    make(paths, tmp_path / "out")
    make(paths, tmp_path / "other")
    first = files(tmp_path / "out")
    assert first == files(tmp_path / "other")
    monkeypatch.setattr("policy.samples.source.Source.tables", None)
    again = make(paths, tmp_path / "out")
    assert again.kept == ["2026-03-01", "2026-03-02"]
    assert (again.written, again.rewritten, again.rows) == ([], [], 400)
    assert files(tmp_path / "out") == first


def test_a_day_waits_until_its_outcomes_can_be_there(paths, tmp_path):
    end = world.DAY + pd.Timedelta(days=2)
    made = make(paths, tmp_path / "out", now=end + RULES.settle - pd.Timedelta(seconds=1))
    assert (made.written, made.waiting) == (["2026-03-01"], ["2026-03-02"])
    made = make(paths, tmp_path / "out", now=end + RULES.settle)
    assert (made.written, made.kept) == (["2026-03-02"], ["2026-03-01"])


def test_late_events_rewrite_their_day_alone(frames, paths, tmp_path):
    make(paths, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("day=*/*")}
    last = frames[0].loc[frames[0]["timestamp"] >= "2026-03-02 06:00Z"].iloc[0]
    told = ["session_id", "page", "position", "timestamp"]
    late = pd.DataFrame([last[told]]).astype(frames[1][told].dtypes)
    late.assign(event_id="late", gmv=1000.0).to_parquet(paths[1] / "late.parquet")
    made = make(paths, tmp_path / "out")
    assert (made.kept, made.rewritten) == (["2026-03-01"], ["2026-03-02"])
    changed = [path for path, then in before.items() if path.stat().st_mtime_ns != then]
    assert [path.parent.name for path in changed] == ["day=2026-03-02"]
    assert whole(tmp_path / "out")["gmv_10"].max() >= 1000
    # Told again, it changes nothing, and says so.
    late["timestamp"] += pd.Timedelta(seconds=1)
    late.assign(event_id="late", gmv=1000.0).to_parquet(paths[1] / "later.parquet")
    assert make(paths, tmp_path / "out").kept == ["2026-03-01", "2026-03-02"]


def test_a_touched_or_moved_part_changes_nothing(paths, tmp_path, monkeypatch):
    make(paths, tmp_path / "out")
    os.utime(paths[1] / "dt=0" / "part.parquet")
    (paths[2] / "dt=1").rename(paths[2] / "dt=7")
    monkeypatch.setattr("policy.samples.source.Source.tables", None)
    assert make(paths, tmp_path / "out").kept == ["2026-03-01", "2026-03-02"]


def test_what_was_made_of_inputs_that_are_gone_stays(paths, tmp_path):
    made = make(paths, tmp_path / "out")
    (paths[1] / "dt=0" / "part.parquet").unlink()
    assert make(paths, tmp_path / "out").kept == made.written


def test_other_rules_make_every_day_again(paths, tmp_path):
    make(paths, tmp_path / "out")
    made = make(paths, tmp_path / "out", rules=SampleRules(max_age=timedelta(hours=2)))
    assert made.rewritten == ["2026-03-01", "2026-03-02"]
    (tmp_path / "out" / "day=2026-03-01" / "samples.parquet").unlink()
    assert len(make(paths, tmp_path / "out").rewritten) == 2


def test_a_day_that_was_damaged_since_is_made_again(paths, tmp_path):
    make(paths, tmp_path / "out")
    before, file = files(tmp_path / "out"), tmp_path / "out" / "day=2026-03-01" / "samples.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    assert make(paths, tmp_path / "out").rewritten == ["2026-03-01"]
    assert files(tmp_path / "out") == before


def test_decisions_and_events_told_twice_over_midnight_count_once(frames, paths, tmp_path):
    d, e, _ = frames
    make(paths, tmp_path / "once")
    for name, frame in (("decisions", d), ("events", e)):
        near = frame[frame["timestamp"].between("2026-03-01 23:20Z", "2026-03-01 23:59Z")]
        again = near.assign(timestamp=near["timestamp"] + pd.Timedelta(minutes=50))
        assert len(again)
        again.to_parquet(tmp_path / name / "again.parquet")
    make(paths, tmp_path / "twice")
    assert files(tmp_path / "twice") == files(tmp_path / "once")


KILLED = """
import os, signal, sys, time
from pathlib import Path
from random import Random
import pandas as pd
import policy.samples.job  # all is loaded once, for all runs
from policy.cli import main
from policy.samples.asof import latest_rows
from policy.samples.rules import SampleRules

one = pd.DataFrame({"user_id": [1], "timestamp": pd.to_datetime(["2026-01-01"], utc=True), "x": 1})
latest_rows(one, one, SampleRules(), ["x"])
out, chance = Path(sys.argv[1]), Random(0)
command = sys.argv[2:]
for _ in range(20):
    made = len(list(out.glob("day=*/*.parquet")))
    run = os.fork()
    if run == 0:
        sys.argv = ["request-uplift", *command]
        os.close(1)
        main()
    while os.waitpid(run, os.WNOHANG) == (0, 0):
        if len(list(out.glob("day=*/*.parquet"))) > made:
            time.sleep(chance.random() * 0.03)
            os.kill(run, signal.SIGKILL)
            os.waitpid(run, 0)
            break
        time.sleep(0.001)
    else:
        sys.exit("a run came to its end")
print(len(list(out.glob("day=*/*.parquet"))))
"""


def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(tmp_path):
    """20 runs, each killed soon after it has made a day; what is there is whole at any time."""
    rng = np.random.default_rng(3)
    frames = world.decisions(rng, 600), world.events(rng, 300), world.snapshots(rng, 300)
    seconds = rng.integers(0, 200 * 86_400, len(frames[0]))
    frames[0]["timestamp"] = world.DAY + pd.to_timedelta(seconds, unit="s")
    paths = lay_out(tmp_path, frames)
    world.SCHEMA.write(tmp_path / "log.toml")
    command = ["samples", paths[0], "--events", paths[1], "--snapshots", paths[2]]
    command += ["--schema", tmp_path / "log.toml", "--out", tmp_path / "out"]
    command += ["--now", "2026-12-01", "--ingested-at", "arrived"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "out", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    there = list((tmp_path / "out").rglob("*.parquet"))
    assert 20 <= len(there) == int(done.stdout) < 190
    assert all(pq.ParquetFile(path).metadata.num_rows for path in there)
    now = world.DAY + pd.Timedelta(days=270)
    finished = make(paths, tmp_path / "out", now=now)
    assert len(finished.kept) >= 19  # the last may have been killed before it was noted
    make(paths, tmp_path / "whole", now=now)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


FULL = """
import resource, signal, sys
from policy.cli import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[:2] = ["request-uplift"]
main()
"""


def test_a_disk_that_is_full_leaves_nothing_half_written(paths, tmp_path):
    """No file can grow beyond a few bytes: a sentence, and no day."""
    world.SCHEMA.write(tmp_path / "log.toml")
    command = ["samples", paths[0], "--events", paths[1], "--snapshots", paths[2]]
    command += ["--schema", tmp_path / "log.toml", "--out", tmp_path / "out", "--now", "2026-03-04"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, "4000", *command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "too large" in done.stderr
    assert files(tmp_path / "out") == {}


def test_two_runs_at_once_are_refused(paths, tmp_path):
    from uplift.files import lock_folder

    make(paths, tmp_path / "out")
    lock = lock_folder(tmp_path / "out", "holds")
    with pytest.raises(InputError, match="another process writes samples"):
        make(paths, tmp_path / "out")
    os.close(lock)


# --- bad input ------------------------------------------------------------------------------------


def spoilt(path, change):
    file = path / "dt=1" / "part.parquet"
    change(pd.read_parquet(file)).to_parquet(file)


@pytest.mark.parametrize(
    ("which", "change", "sentence"),
    [
        (0, lambda f: f.drop(columns="timestamp"), "lacks 'timestamp'; it has"),
        (0, lambda f: f.drop(columns="f_logged"), r"differ in their columns \(\['f_logged'\]"),
        (1, lambda f: f.drop(columns="gmv"), r"differ in their columns \(\['gmv'\]"),
        (2, lambda f: f.assign(f_new=1.0), r"differ in their columns \(\['f_new'\]"),
        (1, lambda f: f.assign(gmv="much"), "column of another type"),
        (0, lambda f: f.assign(session_id="s"), "column of another type"),
        (1, lambda f: f.assign(timestamp=f["timestamp"].dt.tz_localize(None)), "has no time zone"),
        (1, lambda f: f.assign(timestamp=f["timestamp"].astype(str)), "is of type string"),
        (0, lambda f: f.assign(timestamp=f["timestamp"].shift()), "rows without a timestamp"),
        (2, lambda f: f.assign(timestamp=pd.Timestamp("2031-01-01", tz="UTC")), "but now is"),
        (0, lambda f: f.assign(propensity=None), "expected the probability"),
        (0, lambda f: f.assign(user_id=None), "misses"),
    ],
)
def test_a_bad_part_is_named_in_a_sentence(paths, tmp_path, which, change, sentence):
    spoilt(paths[which], change)
    with pytest.raises(InputError, match=sentence) as told:
        make(paths, tmp_path / "out")
    assert which == 0 or str(paths[which] / "dt=1" / "part.parquet") in str(told.value)


def test_columns_that_are_not_used_may_differ(paths, tmp_path):
    spoilt(paths[1], lambda f: f.assign(device="x"))
    spoilt(paths[2], lambda f: f.assign(note=pd.Timestamp("2020-01-01")))
    assert make(paths, tmp_path / "out").rows == 400


@pytest.mark.parametrize("where", ["footer", "pages"])
def test_a_corrupt_part_is_named_or_skipped_and_counted(paths, tmp_path, where):
    file = paths[1] / "dt=1" / "part.parquet"
    data = file.read_bytes()
    hole = slice(4, 2_000) if where == "pages" else slice(len(data) - 60, len(data))
    file.write_bytes(data[: hole.start] + bytes(len(data[hole])) + data[hole.stop :])
    with pytest.raises(InputError, match=r"part.parquet' is not a whole Parquet file"):
        make(paths, tmp_path / "out")
    made = make(paths, tmp_path / "out", skip_corrupt=True)
    assert (made.skipped, made.rows) == ([str(file)], 400)
    # Nothing of it is used, as if it were not there.
    file.rename(tmp_path / "aside")
    make(paths, tmp_path / "without")
    assert files(tmp_path / "out") == files(tmp_path / "without")
    # Mended, it is read, and its days are made again.
    file.write_bytes(data)
    assert make(paths, tmp_path / "out").rewritten
    make(paths, tmp_path / "whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_what_is_not_there_is_told(paths, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \*.parquet file"):
        make([tmp_path / "empty", *paths[1:]], tmp_path / "out")
    with pytest.raises(InputError, match=r"events '.*' does not exist"):
        make_samples(paths[0], tmp_path / "out", world.SCHEMA, now=NOW)
    pd.read_parquet(paths[1] / "dt=0" / "part.parquet").iloc[:0].to_parquet(
        tmp_path / "empty" / "none.parquet"
    )
    with pytest.raises(InputError, match="without a time zone"):
        make(paths, tmp_path / "out", now=NOW.tz_localize(None))
    with pytest.raises(InputError, match="hold no rows in 1 parts"):
        make([paths[0], tmp_path / "empty", paths[2]], tmp_path / "out")


def test_an_empty_part_among_others_is_nothing(paths, tmp_path):
    table = pa.table({"session_id": pa.array([], pa.string())})
    pq.write_table(table, paths[1] / "none.parquet")
    assert make(paths, tmp_path / "out").rows == 400


def test_users_of_another_type_or_none_are_told(frames, paths, tmp_path):
    with pytest.raises(InputError, match=r"snapshots lack \['session_id'\]"):
        make(paths, tmp_path / "out", rules=SampleRules(key="session_id"))
    for part in paths[2].rglob("*.parquet"):
        pd.read_parquet(part).assign(user_id=1).to_parquet(part)
    with pytest.raises(InputError, match="write both alike"):
        make(paths, tmp_path / "out")


def test_samples_are_not_written_where_something_else_is(paths, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        make(paths, tmp_path / "other")
    with pytest.raises(InputError, match="which is read from"):
        make(paths, tmp_path)
    with pytest.raises(InputError, match="which is read from"):
        make(paths, paths[0] / "out")
    make(paths, tmp_path / "out")
    (tmp_path / "out" / "_manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is no manifest of samples"):
        make(paths, tmp_path / "out")


def test_the_command_line_says_it_in_a_sentence(cli, paths, tmp_path):
    world.SCHEMA.write(tmp_path / "log.toml")
    given = "--schema", tmp_path / "log.toml", "--out", tmp_path / "out", "--events", paths[1]
    code, _, error = cli("samples", paths[0], *given, "--settle", "soon")
    assert (code, error.count("\n")) == (2, 1)
    assert "'soon' is no time" in error
