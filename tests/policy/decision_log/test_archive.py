"""Segments that become Parquet: nothing lost, one kind a column, whoever sent what."""

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.decision_log.archive import _tables, archive_segment, read_decisions
from policy.decision_log.archiver import Archiver
from policy.decision_log.segment import encoded, scan, segments
from policy.decision_log.writer import DecisionLog

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
)


def written(folder, records, **options):
    with DecisionLog(folder, **options) as log:
        assert all(log.wait(log.append(record), 5) for record in records)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), min_size=1))
def test_any_records_become_columns_of_one_kind(tmp_path_factory, records):
    """Whole numbers alone stay exact; among others they are floats, among texts they are texts."""
    records = [{"decision_id": str(n)} | record for n, record in enumerate(records)]
    (table,) = _tables(scan(b"".join(map(encoded, records))))
    assert table["decision_id"].to_pylist() == [record["decision_id"] for record in records]
    for name in table.column_names:
        told, found = [record.get(name) for record in records], table[name].to_pylist()
        assert [v is None for v in found] == [v is None for v in told]
        known = [(v, w) for v, w in zip(told, found, strict=True) if v is not None]
        kinds = {str if type(v) is int and v >= 1 << 63 else type(v) for v, _ in known}
        if str in kinds:
            assert all(w == (v if isinstance(v, str) else w) for v, w in known)
            assert {type(w) for _, w in known} == {str}
        elif len(kinds) == 1:
            assert all(v == w for v, w in known)
        else:
            assert all(float(v) == w for v, w in known)
    sink = tmp_path_factory.mktemp("table") / "one.parquet"
    pq.write_table(table, sink)
    assert pq.read_table(sink).equals(table)


def test_kinds_differ_between_files_and_within(tmp_path):
    """What is archived and what is not yet read as one frame that can be written."""
    begin = 1_700_000_000_000_000
    values = [(1, True, None), ("u-1", 0.5, None), (2, 1, "x"), (3, 2, "y")]
    for n, (user, number, text) in enumerate(values):
        record = {"decision_id": f"d-{n}", "timestamp": begin + n, "user_id": user}
        written(tmp_path, [record | {"f": number, "c": text}], segment_bytes=1)
    for path in segments(tmp_path)[:2]:
        archive_segment(path)
    frame = read_decisions(tmp_path).sort_values("decision_id")
    assert frame["user_id"].tolist() == ["1", "u-1", "2", "3"]
    np.testing.assert_array_equal(frame["f"].astype(float), [1.0, 0.5, 1.0, 2.0])
    assert frame["c"].isna().tolist() == [True, True, False, False]
    np.testing.assert_array_equal(frame["timestamp"].astype("int64"), begin + np.arange(4))
    frame.to_parquet(tmp_path / "whole")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "whole"), frame)


def test_a_process_of_its_own_archives(tmp_path):
    archiver = Archiver()
    records = [{"decision_id": f"d-{n}", "x": n / 2} for n in range(300)]
    written(tmp_path, records, segment_bytes=3_000, sealed=archiver)
    while archiver.archived < 3:
        time.sleep(0.05)
    archiver.close()
    assert (archiver.failures, archiver.last_error) == (0, None)
    assert len(list(tmp_path.glob("*.parquet"))) == archiver.archived
    assert sorted(read_decisions(tmp_path)["decision_id"]) == sorted(f"d-{n}" for n in range(300))


def test_reading_while_a_service_archives_misses_nothing(tmp_path):
    with DecisionLog(tmp_path, segment_bytes=300, sealed=archive_segment) as log:
        for n in range(300):
            assert log.wait(log.append({"decision_id": f"{n:05d}"}), 5)
            if n % 10 == 9:
                assert read_decisions(tmp_path)["decision_id"].nunique() == n + 1


def test_what_an_earlier_process_left_is_archived_first(tmp_path):
    written(tmp_path, [{"decision_id": f"d-{n}"} for n in range(30)], segment_bytes=100)
    *left, last = segments(tmp_path)
    assert len(left) > 3
    with DecisionLog(tmp_path, sealed=archive_segment) as log:
        assert log.wait(log.append({"decision_id": "d-30"}), 5)
    assert segments(tmp_path) == [last]
    assert sorted(p.stem for p in tmp_path.glob("*.parquet")) == [p.stem for p in left]
    assert len(read_decisions(tmp_path)) == 31


def test_a_failure_is_counted_and_the_segment_stays(tmp_path):
    written(tmp_path, [{"decision_id": f"d-{n}"} for n in range(30)], segment_bytes=400)
    first, second = segments(tmp_path)[:2]
    first.with_suffix(".parquet").mkdir()
    archiver = Archiver()
    archiver(first)
    archiver(second)
    while archiver.archived + archiver.failures < 2:
        time.sleep(0.05)
    archiver.close()
    assert (archiver.archived, archiver.failures) == (1, 1)
    assert "a folder of that name is there" in archiver.last_error
    first.with_suffix(".parquet").rmdir()
    assert len(read_decisions(tmp_path)) == 30


def test_no_process_can_be_started(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    archiver = Archiver()
    archiver._archive(tmp_path / "segment")
    assert archiver.failures == 1
    assert "No such file" in archiver.last_error


@pytest.mark.parametrize("user", [2**62 + 1, 2**64 - 1])
def test_whole_numbers_stay_exact(user):
    """Identifiers of 63 bits beside missing ones; those of 64 as texts."""
    rows = [{"decision_id": "a", "user_id": user}, {"decision_id": "b", "user_id": None}]
    (table,) = _tables(scan(b"".join(map(encoded, rows))))
    assert table["user_id"].to_pylist() == [user if user < 1 << 63 else str(user), None]


def test_the_archiving_process_loads_little():
    code = (
        "import policy.decision_log.archive, pyarrow.parquet, sys; print('xgboost' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
