"""The log after crashes, on full disks, and under more than it can write."""

import os
import random
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.decision_log.archive import archive_segment, read_decisions
from policy.decision_log.segment import decoded, encoded, scan, segments
from policy.decision_log.writer import DecisionLog
from uplift.errors import InputError

KILLS = 200


def record(number):
    return {"decision_id": f"d-{number}", "arm": number % 2, "propensity": 0.5, "x": "é" * 20}


def numbers(folder):
    return [r["decision_id"] for path in segments(folder) for r in decoded(scan(path.read_bytes()))]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 100), max_size=6), st.integers(0, 2000), st.integers(0, 255))
def test_a_torn_tail_is_cut_and_damage_is_passed_over(found, place, value):
    """Whole records before a tear are there; of a damaged file all but the damaged record."""
    parts = [encoded(record(n)) for n in found]
    data, sizes = b"".join(parts), [0]
    assert scan(data).end == len(data)
    for part in parts:
        sizes.append(sizes[-1] + len(part))
    torn = data[: place % (len(data) + 1)]
    assert scan(torn).end == max(size for size in sizes if size <= len(torn))
    assert scan(torn).damaged == 0
    if data:
        changed = bytearray(data)
        at = place % len(data)
        hit = sum(size <= at for size in sizes) - 1
        if changed[at] != value:
            changed[at] = value
            seen = scan(bytes(changed))
            kept = [part[8:] for k, part in enumerate(parts) if k != hit]
            assert seen.payloads == kept
            assert seen.damaged == (hit < len(parts) - 1)


@pytest.mark.parametrize("fsync", ["always", "interval", "off"])
def test_what_is_acknowledged_is_there(tmp_path, fsync):
    with DecisionLog(tmp_path, fsync=fsync, segment_bytes=2_000) as log:
        tickets = [log.append(record(n)) for n in range(500)]
        assert all(log.wait(ticket, 5) for ticket in tickets)
        assert (log.written, log.lost, log.backlog) == (500, 0, 0)
    assert numbers(tmp_path) == [f"d-{n}" for n in range(500)]
    with DecisionLog(tmp_path) as log:  # goes on where it stopped
        log.append(record(500))
    assert numbers(tmp_path)[-2:] == ["d-499", "d-500"]


def _write_until_killed(folder, told):
    log, number = DecisionLog(folder, fsync="off", segment_bytes=20_000), 0
    while True:
        ticket = log.append(record(number))
        if number % 7 == 0 and log.wait(ticket):
            os.write(told, f"{number}\n".encode())
        number += 1


@pytest.mark.slow
def test_killed_at_any_moment_nothing_acknowledged_is_lost(tmp_path):
    """200 processes killed with signal 9: acknowledged decisions are there, none twice."""
    draw, torn = random.Random(0), 0
    for run in range(KILLS):
        folder = tmp_path / str(run)
        folder.mkdir()
        heard, told = os.pipe()
        child = os.fork()
        if child == 0:
            _write_until_killed(folder, told)
        os.close(told)
        with os.fdopen(heard, "rb") as pipe:
            first = pipe.readline()
            time.sleep(draw.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            lines = [first, *pipe.readlines()]
        last = segments(folder)[-1]
        torn += scan(last.read_bytes()).end < last.stat().st_size
        DecisionLog(folder).close()
        assert scan(last.read_bytes()).end == last.stat().st_size
        found = numbers(folder)
        assert found == [f"d-{n}" for n in range(len(found))]
        assert len(found) > max(int(line) for line in lines)
    print(f"{KILLS} kills, {torn} torn tails")


def test_a_full_disk_loses_and_counts_but_goes_on(tmp_path, monkeypatch):
    full = threading.Event()
    write = os.write

    def some(file, data):
        if full.is_set() and len(data) > 20:
            write(file, data[:7])  # the disk takes a part
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", some)
    with DecisionLog(tmp_path) as log:
        assert log.wait(log.append(record(0)), 5)
        full.set()
        assert not log.wait(log.append(record(1)), 5)
        assert (log.lost, log.last_error) == (1, "No space left on device")
        full.clear()
        assert log.wait(log.append(record(2)), 5)
        assert log.last_error is None
    assert numbers(tmp_path) == ["d-0", "d-2"]


def test_a_slow_disk_never_makes_a_decision_wait(tmp_path, monkeypatch):
    write = os.write

    def slowly(file, data):
        time.sleep(0.2)
        return write(file, data)

    monkeypatch.setattr(os, "write", slowly)
    with DecisionLog(tmp_path, queue=10) as log:
        begin = time.perf_counter()
        tickets = [log.append(record(n)) for n in range(200)]
        assert time.perf_counter() - begin < 0.1
        assert tickets.count(0) >= 150
    assert log.lost == tickets.count(0)
    assert log.written + log.lost == 200
    assert len(numbers(tmp_path)) == log.written


def test_a_record_damaged_on_the_disk_costs_that_record_alone(tmp_path):
    with DecisionLog(tmp_path) as log:
        for n in range(10):
            log.append(record(n))
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(bytes(data))
    with DecisionLog(tmp_path) as log:
        assert log.damaged == 1
        log.append(record(10))
    assert numbers(tmp_path) == [f"d-{n}" for n in range(1, 11)]
    archive_segment(path)
    assert len(read_decisions(tmp_path)) == 10
    assert path.with_suffix(".damaged").exists()


def test_a_seal_that_fails_stops_nothing(tmp_path, monkeypatch):
    """Neither the next segment nor the one who archives the last may be there."""

    def refuse(path):
        raise OSError(28, "No space left on device")

    opened, full = os.open, threading.Event()

    def some(path, *rest):
        if full.is_set() and str(path).endswith(".decisions"):
            raise OSError(28, "No space left on device")
        return opened(path, *rest)

    with DecisionLog(tmp_path, segment_bytes=200, sealed=refuse) as log:
        monkeypatch.setattr(os, "open", some)
        for n in range(30):
            if n == 10:
                full.set()
            if n == 20:
                full.clear()
            assert log.wait(log.append(record(n)), 5)
        assert "No space left" in log.last_error
        assert (log.written, log.lost) == (30, 0)
    assert numbers(tmp_path) == [f"d-{n}" for n in range(30)]


def test_numbers_go_on_behind_what_is_archived(tmp_path):
    for k in range(3):
        with DecisionLog(tmp_path) as log:
            log.append(record(k))
        for path in segments(tmp_path):
            archive_segment(path)
    assert sorted(read_decisions(tmp_path)["decision_id"]) == ["d-0", "d-1", "d-2"]


def test_what_cannot_be_logged_is_counted(tmp_path):
    with DecisionLog(tmp_path) as log:
        assert not log.wait(log.append({"decision_id": "d", "x": object()}), 5)
        assert log.wait(log.append(record(1)), 5)
        assert log.lost == 1
    assert not log.append(record(2))
    assert numbers(tmp_path) == ["d-1"]


def test_sealed_segments_become_parquet(tmp_path):
    with DecisionLog(tmp_path, segment_bytes=1_000, sealed=archive_segment) as log:
        for n in range(100):
            log.wait(log.append(record(n)), 5)
    assert len(list(tmp_path.glob("*.parquet"))) > 3
    frame = read_decisions(tmp_path)
    assert sorted(frame["decision_id"]) == sorted(f"d-{n}" for n in range(100))


def test_a_crash_between_parquet_and_removal_doubles_nothing(tmp_path):
    with DecisionLog(tmp_path) as log:
        for n in range(10):
            log.append(record(n))
    (path,) = segments(tmp_path)
    data = path.read_bytes()
    archive_segment(path)
    path.write_bytes(data)
    assert len(read_decisions(tmp_path)) == 10


def test_bad_options_and_folders_are_told(tmp_path):
    for options in ({"fsync": "never"}, {"queue": 0}, {"segment_bytes": 0}):
        with pytest.raises(InputError, match="expected one of"):
            DecisionLog(tmp_path, **options)
    with DecisionLog(tmp_path), pytest.raises(InputError, match="another process logs"):
        DecisionLog(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        DecisionLog(tmp_path / "file")
    with pytest.raises(InputError, match="holds no decisions"):
        read_decisions(tmp_path / "none")
