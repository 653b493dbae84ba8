from dataclasses import dataclass
from typing import ClassVar

import pytest

from uplift import BoostParams, InputError
from uplift.tables import build, read_toml


@dataclass(frozen=True)
class Job:
    __pydantic_config__: ClassVar = {"extra": "forbid"}
    name: str
    params: BoostParams


def test_tables_inside_tables_are_filled():
    job = build(Job, {"name": "a", "params": {"max_depth": 2}}, "job")
    assert job == Job("a", BoostParams(max_depth=2))


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"name": "a", "params": {"depth": 2}}, "job: the key 'params.depth' is unknown"),
        ({"params": {}}, "job: the key 'name' is missing"),
        ({"name": "a", "params": {"max_depth": "deep"}}, "job: 'params.max_depth' is 'deep'"),
        ({"name": "a", "params": 3}, "job: 'params' is 3"),
    ],
)
def test_errors_name_the_key(table, sentence):
    with pytest.raises(InputError, match=sentence):
        build(Job, table, "job")


def test_toml_is_read_as_utf8(tmp_path):
    (tmp_path / "job.toml").write_bytes('name = "é"'.encode())
    assert read_toml(tmp_path / "job.toml", "job") == {"name": "é"}


def test_a_folder_is_no_toml(tmp_path):
    with pytest.raises(InputError, match="job"):
        read_toml(tmp_path, "job")
