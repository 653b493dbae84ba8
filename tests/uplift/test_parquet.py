import datetime as dt
import decimal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uplift import InputError
from uplift.parquet import column_names, read_frame, write_frame


def write(table, path, rows_per_group=3):
    pq.write_table(pa.table(table), path, row_group_size=rows_per_group)
    return path


def test_numbers_keep_values_and_types_across_row_groups(tmp_path):
    n = 200_000  # more than a batch and more than a row group
    frame = pd.DataFrame(
        {
            "small": (np.arange(n) % 100).astype(np.int8),
            "whole": np.arange(n) * 10**12,
            "unsigned": np.arange(n, dtype=np.uint32),
            "float": np.arange(n) / 7,
            "single": (np.arange(n) / 7).astype(np.float32),
            "flag": np.arange(n) % 3 == 0,
        }
    )
    write_frame(frame, tmp_path / "log.parquet", rows_per_group=70_001)
    pd.testing.assert_frame_equal(read_frame(tmp_path / "log.parquet"), frame)


def test_missing_numbers_become_nan_wherever_they_stand(tmp_path):
    columns = {
        "early": pa.array([None, 1, 2, 3, 4, 5, 6], pa.int8()),
        "late": pa.array([0, 1, 2, 3, 4, 5, None], pa.int64()),
        "never": pa.array(range(7), pa.int64()),
        "flag": pa.array([True, False, True, None, False, True, True]),
        "float": pa.array([0.5, None, 1, 2, 3, 4, 5]),
    }
    frame = read_frame(write(columns, tmp_path / "log.parquet"))
    assert frame["never"].dtype == np.int64
    np.testing.assert_array_equal(frame["early"], [np.nan, 1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(frame["late"], [0, 1, 2, 3, 4, 5, np.nan])
    np.testing.assert_array_equal(frame["flag"], [1, 0, 1, np.nan, 0, 1, 1])
    np.testing.assert_array_equal(frame["float"], [0.5, np.nan, 1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_strings_become_categories_and_keep_what_is_missing(tmp_path, kind):
    words = ["b", None, "a", "b", "ünï", "", "b"]
    frame = read_frame(
        write({"c": pa.array(words, pa.string()).cast(kind)}, tmp_path / "log.parquet")
    )
    assert isinstance(frame["c"].dtype, pd.CategoricalDtype)
    assert [None if pd.isna(v) else v for v in frame["c"]] == words


def test_dictionaries_that_differ_by_row_group_are_joined(tmp_path):
    kind = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([("c", kind)])
    groups = (["x", "y", "x"], ["z", "y", None], ["y", "w", "x"])
    with pq.ParquetWriter(tmp_path / "log.parquet", schema) as writer:
        for words in groups:
            writer.write_table(pa.table({"c": pa.array(words).cast(kind)}, schema=schema))
    frame = read_frame(tmp_path / "log.parquet")
    assert [None if pd.isna(v) else v for v in frame["c"]] == [w for g in groups for w in g]


def test_the_order_of_categories_does_not_depend_on_the_order_of_rows(tmp_path):
    a = read_frame(write({"c": ["b", "a", "c"]}, tmp_path / "a.parquet"))
    b = read_frame(write({"c": ["c", "b", "a"]}, tmp_path / "b.parquet"))
    assert list(a["c"].cat.categories) == list(b["c"].cat.categories)


def test_categories_that_are_numbers_are_numbers(tmp_path):
    frame = pd.DataFrame({"c_shop": pd.Categorical([30, 10, 30, 20]), "a": [1, 2, 3, 4]})
    write_frame(frame, tmp_path / "log.parquet")
    assert read_frame(tmp_path / "log.parquet")["c_shop"].tolist() == [30, 10, 30, 20]


def test_decimals_become_floats(tmp_path):
    prices = [decimal.Decimal("1.25"), None, decimal.Decimal("-3.50")]
    frame = read_frame(write({"p": pa.array(prices, pa.decimal128(9, 2))}, tmp_path / "p.parquet"))
    np.testing.assert_array_equal(frame["p"], [1.25, np.nan, -3.5])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai"])
def test_times_become_utc_microseconds(tmp_path, unit, zone):
    moments = [dt.datetime(2024, 2, 29, 23, 30, tzinfo=dt.UTC), None]
    values = pa.array(moments, pa.timestamp(unit, zone or "UTC"))
    column = values if zone else values.cast(pa.timestamp(unit))
    frame = read_frame(write({"timestamp": column}, tmp_path / "t.parquet"))
    assert frame["timestamp"].dtype == "datetime64[us]"
    assert frame["timestamp"][0] == pd.Timestamp("2024-02-29 23:30")
    assert pd.isna(frame["timestamp"][1])


def test_nested_columns_are_left_out(tmp_path):
    path = write(
        {"a": [1, 2], "list": [[1], [2, 3]], "struct": [{"x": 1}] * 2}, tmp_path / "n.parquet"
    )
    assert column_names(path) == ["a"]
    assert list(read_frame(path)) == ["a"]


def test_columns_are_chosen_as_far_as_they_are_there(tmp_path):
    path = write({"a": [1, 2], "b": [3, 4], "c": ["x", "y"]}, tmp_path / "log.parquet")
    assert list(read_frame(path, columns=("c", "a", "absent"))) == ["a", "c"]


def test_no_rows_keep_the_columns(tmp_path):
    empty = {"a": pa.array([], pa.int64()), "c": pa.array([], pa.string())}
    frame = read_frame(write(empty, tmp_path / "e.parquet"))
    assert list(frame) == ["a", "c"]
    assert len(frame) == 0


def test_a_folder_is_read_file_after_file(tmp_path):
    (tmp_path / "day=2").mkdir()
    write({"a": [1, 2], "c": ["x", None]}, tmp_path / "1.parquet")
    write({"a": [3], "c": ["z"]}, tmp_path / "day=2" / "2.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    frame = read_frame(tmp_path)
    assert frame["a"].tolist() == [1, 2, 3]
    assert frame["c"].astype(object).fillna("missing").tolist() == ["x", "missing", "z"]


def test_numbers_of_another_width_in_a_later_file_keep_their_values(tmp_path):
    write(
        {"id": pa.array([1, 2], pa.int8()), "x": pa.array([1, 2], pa.int64())},
        tmp_path / "1.parquet",
    )
    write({"id": pa.array([300, 10**12]), "x": pa.array([0.5, 1.5])}, tmp_path / "2.parquet")
    frame = read_frame(tmp_path)
    assert frame["id"].tolist() == [1, 2, 300, 10**12]
    assert frame["x"].tolist() == [1, 2, 0.5, 1.5]


@pytest.mark.parametrize("other", [{"b": [1]}, {"a": ["word"]}, {"a": [dt.datetime(2024, 1, 1)]}])
def test_files_that_differ_in_their_columns_are_refused(tmp_path, other):
    write({"a": [1]}, tmp_path / "1.parquet")
    write(other, tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"2\.parquet' has other columns than .*1\.parquet'"):
        read_frame(tmp_path)


def test_progress_counts_to_the_end(tmp_path):
    write_frame(pd.DataFrame({"a": np.arange(150_000)}), tmp_path / "log.parquet")
    seen = []
    read_frame(tmp_path / "log.parquet", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (150_000, 150_000)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"log '.*absent.parquet' does not exist"):
        read_frame(tmp_path / "absent.parquet")


def test_a_folder_without_parquet_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no \*\.parquet file"):
        read_frame(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "log.parquet"
    write_frame(pd.DataFrame({"a": np.random.default_rng(0).normal(size=5000)}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"log\.parquet' is not a whole Parquet file"):
        read_frame(path)


def test_a_file_with_a_hole_in_it_is_refused(tmp_path):
    path = tmp_path / "log.parquet"
    write_frame(pd.DataFrame({"a": np.random.default_rng(0).normal(size=50_000)}), path)
    whole = bytearray(path.read_bytes())
    whole[4:2000] = bytes(1996)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="is not a whole Parquet file"):
        read_frame(path)


def test_a_csv_renamed_is_refused_with_the_way_out(tmp_path):
    pd.DataFrame({"arm": [0, 1]}).to_csv(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"convert a CSV with pandas\.read_csv"):
        read_frame(tmp_path / "log.parquet")


def test_writing_that_fails_leaves_the_old_log(tmp_path):
    path = tmp_path / "log.parquet"
    write_frame(pd.DataFrame({"a": [1]}), path)
    with pytest.raises(pa.ArrowException):
        write_frame(pd.DataFrame({"a": [1, "one", object()]}), path)
    assert read_frame(path)["a"].tolist() == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["log.parquet"]


def test_writing_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_frame(pd.DataFrame({"a": [1]}), tmp_path / "file" / "log.parquet")


# The peak of the process itself: ru_maxrss alone would start at the peak of the process that
# started it, because Linux hands that number on.
PEAK = """
import pathlib, resource, sys
from uplift.parquet import read_frame
frame = read_frame(sys.argv[1])
status = pathlib.Path("/proc/self/status")
if status.exists():
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    peak = int(line.split()[1]) * 1024
else:
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(peak, int(frame.memory_usage().sum()))
"""


def peak_and_size(path):
    command = [sys.executable, "-c", PEAK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


def test_reading_holds_one_copy(tmp_path):
    """The bound: one copy of the frame is 1, two copies are 2; half a copy is left for a batch.

    What a batch needs does not grow with the log, and here, at about 550 MB, half a copy is
    ten row groups, enough for the allocator (about 100 MB at any size); so a reader that keeps
    the file, or a second copy of even half the columns, fails.
    """
    rows, groups = 1 << 18, 24
    rng = np.random.default_rng(0)
    words = pa.DictionaryArray.from_arrays(
        rng.integers(0, 50, rows).astype(np.int8), [f"w{i}" for i in range(50)]
    )
    columns = {f"f_{i}": rng.normal(size=rows) for i in range(9)}
    columns |= {
        "user_id": rng.integers(0, 10**9, rows),
        "arm": rng.integers(0, 2, rows),
        "c": words,
    }
    table = pa.table(columns)
    with pq.ParquetWriter(tmp_path / "large.parquet", table.schema) as writer:
        for _ in range(groups):
            writer.write_table(table)
    pq.write_table(table.slice(0, 10), tmp_path / "tiny.parquet")
    base, _ = peak_and_size(tmp_path / "tiny.parquet")
    peak, size = peak_and_size(tmp_path / "large.parquet")
    (tmp_path / "large.parquet").unlink()  # pytest keeps the folder
    assert size > 11 * 8 * rows * groups
    assert peak - base < 1.5 * size, f"{(peak - base) / size:.2f} copies"
