import subprocess
import sys
import time

import numpy as np
import pytest

from uplift import InputError
from uplift.files import atomic_file, atomic_folder, check_writable, existing_file


def stop_inside(writing):
    def half():
        with writing as scratch:
            (scratch / "half" if scratch.is_dir() else scratch).write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        half()


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_whole_and_folders_are_made(tmp_path):
    with atomic_file(tmp_path / "new" / "a.txt") as scratch:
        scratch.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert names(tmp_path / "new") == ["a.txt"]


def test_a_file_interrupted_leaves_the_old_one_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    stop_inside(atomic_file(tmp_path / "a.txt"))
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_interrupted_where_none_was_leaves_none(tmp_path):
    stop_inside(atomic_file(tmp_path / "a.txt"))
    assert names(tmp_path) == []


def test_a_folder_takes_the_place_of_the_older_one(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "b") as scratch:
            (scratch / content).write_text(content)
    assert names(tmp_path / "b") == ["new"]
    assert names(tmp_path) == ["b"]


def test_a_folder_interrupted_leaves_the_old_one_and_nothing_else(tmp_path):
    with atomic_folder(tmp_path / "b") as scratch:
        (scratch / "old").write_text("old")
    stop_inside(atomic_folder(tmp_path / "b"))
    assert names(tmp_path / "b") == ["old"]
    assert names(tmp_path) == ["b"]


def test_a_file_where_a_folder_stands_is_refused(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="taken"), atomic_file(tmp_path / "taken") as scratch:
        scratch.write_text("x")
    assert names(tmp_path) == ["taken"]


def test_a_folder_where_a_file_stands_is_refused(tmp_path):
    (tmp_path / "taken").write_text("old")
    with pytest.raises(InputError, match="taken"), atomic_folder(tmp_path / "taken"):
        pass
    assert (tmp_path / "taken").read_text() == "old"
    assert names(tmp_path) == ["taken"]


@pytest.mark.parametrize("writing", [atomic_file, atomic_folder])
def test_a_path_that_cannot_be_written_is_refused(tmp_path, writing):
    (tmp_path / "file").write_text("not a folder")
    sentence = "cannot write .*out'.*; choose another path"
    with pytest.raises(InputError, match=sentence), writing(tmp_path / "file" / "sub" / "out"):
        pass
    with pytest.raises(InputError, match=sentence):
        check_writable(tmp_path / "file" / "out")
    assert names(tmp_path) == ["file"]


def test_checking_leaves_no_trace(tmp_path):
    assert check_writable(tmp_path / "out") == tmp_path
    assert names(tmp_path) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"log '.*absent' does not exist; check the path"):
        existing_file(tmp_path / "absent", "log")
    assert existing_file(str(tmp_path), "log") == tmp_path
    with pytest.raises(InputError, match=r"log '.*x+ cannot be looked at \(File name too long\)"):
        existing_file(tmp_path / ("x" * 300), "log")


def test_where_nothing_can_change_places_the_older_one_is_moved_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("uplift.files._exchange", lambda *_: False)
    test_a_folder_takes_the_place_of_the_older_one(tmp_path)


WRITER = """
import itertools, os, sys
from uplift.files import atomic_folder
for k in itertools.count():
    with atomic_folder(sys.argv[1]) as scratch:
        for name in "ab":
            (scratch / name).write_text(f"{os.getpid()} {k}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two steps change the places")
def test_a_writer_killed_at_any_moment_leaves_a_whole_folder(tmp_path):
    rng, target = np.random.default_rng(0), tmp_path / "b"
    for _ in range(10):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)])
        while not target.exists() or not (target / "a").read_text().startswith(f"{writer.pid} "):
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.2))
        writer.kill()
        writer.wait()
        assert names(target) == ["a", "b"]
        assert (target / "a").read_text() == (target / "b").read_text()
