"""A job file: what it may say, and what it is told when it says something else."""

from pathlib import Path
from typing import get_args

import pytest

from policy.budget import Budget
from policy.job import Job, LogSource
from policy.problem import Limits
from uplift.boosting import BoostParams
from uplift.errors import InputError
from uplift.learners import LEARNERS
from uplift.names import CalibrationMethod, LearnerName


def read(tmp_path: Path, text: str) -> Job:
    (tmp_path / "job.toml").write_text(text)
    return Job.read(tmp_path / "job.toml")


def test_an_empty_job_is_the_default(tmp_path):
    assert read(tmp_path, "") == Job()
    assert Job().log.path is None


def test_a_full_job_is_read(tmp_path):
    job = read(
        tmp_path,
        """
        learner = "logit"
        window_minutes = 30
        fixed_position = 10
        strict = true
        seed = 3
        [log]
        sessions = 100
        rate = 2.5
        days = 2
        [split]
        fit = 0.4
        plan = 0.3
        test = 0.3
        [boosting]
        max_rounds = 7
        [budget]
        kind = "qps"
        amount = 5
        traffic_share = 0.5
        [limits]
        per_session = 4
        """,
    )
    assert job.log == LogSource(sessions=100, rate=2.5, days=2)
    assert job.boosting == BoostParams(max_rounds=7)
    assert job.budget == Budget.qps(5, 0.5)
    assert job.limits == Limits(per_session=4)
    assert (job.learner, job.window_minutes, job.fixed_position) == ("logit", 30, 10)
    assert (job.strict, job.seed, job.split.fit) == (True, 3, 0.4)


def test_paths_are_relative_to_the_job(tmp_path):
    job = read(tmp_path, '[log]\npath = "data/log.parquet"\nschema = "../log.toml"')
    assert job.log.path == tmp_path / "data" / "log.parquet"
    assert job.log.schema == tmp_path / ".." / "log.toml"


def test_absolute_paths_stay(tmp_path):
    job = read(tmp_path, f'[log]\npath = "{tmp_path / "x"}"\ndataset = "hillstrom"')
    assert job.log.path == tmp_path / "x"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("surprise = 1", "the key 'surprise' is unknown; correct or remove it"),
        ("[log]\nsesions = 1", "the key 'log.sesions' is unknown"),
        ("[budget]\nkind = 'qps'\namount = 1\nunit = 2", "the key 'budget.unit' is unknown"),
        ("[limits]\nper_hour = 1", "the key 'limits.per_hour' is unknown"),
        ("[split]\nvalid = 0.1", "the key 'split.valid' is unknown"),
        ("[boosting]\nrounds = 1", "the key 'boosting.rounds' is unknown"),
        ("[log]\nsessions = 'many'", "'log.sessions' is 'many': input should be a valid integer"),
        ("seed = 1.5", "'seed' is 1.5"),
        ("learner = 'forest'", "'learner' is 'forest': input should be 's', 't', 'x', 'r', 'dr'"),
        ("learner = 'econml_dr'", "'learner' is 'econml_dr'"),
        ("learner = 3", "'learner' is 3"),
        ("calibration = 'platt'", "'calibration' is 'platt': input should be 'none', 'isotonic'"),
        ("calibration = false", "'calibration' is False"),
        ("strict = 'perhaps'", "'strict' is 'perhaps'"),
        ("log = 3", "'log' is 3"),
        ("[budget]\nkind = 'qps'", "the key 'budget.amount' is missing; add it"),
        ("[budget]\namount = 1", "the key 'budget.kind' is missing; add it"),
        ("[budget]\nkind = 'euros'\namount = 1", "'budget.kind' is 'euros'"),
        ("[budget]\nkind = 'qps'\namount = 0", "the budget is 0.0 .qps.; expected more than 0"),
        ("[budget]\nkind = 'qps'\namount = -3", "the budget is -3.0"),
        ("[budget]\nkind = 'qps'\namount = nan", "the budget is nan"),
        ("[limits]\nper_page = 0", "per_page is 0, expected 1 or more"),
        ("[log]\npath = 'log.parquet'", "has a path but no schema"),
        ("seed = ", "is not valid TOML"),
    ],
)
def test_a_wrong_job_is_told_in_one_line(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence) as raised:
        read(tmp_path, text)
    assert str(raised.value).startswith("job")
    assert "\n" not in str(raised.value)


def test_an_absent_job_is_told(tmp_path):
    with pytest.raises(InputError, match=r"job .* does not exist; check the path"):
        Job.read(tmp_path / "job.toml")


def test_a_folder_is_no_job(tmp_path):
    with pytest.raises(InputError, match="is not valid TOML"):
        Job.read(tmp_path)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"learner": "forest"}, "learner"),
        ({"seed": -1}, "seed is -1"),
        ({"fixed_position": -3}, "fixed_position -3"),
        ({"boosting": {"max_depth": -1}}, "max_depth is -1"),
        ({"boosting": {"max_rounds": 0}}, "max_rounds is 0"),
        ({"boosting": {"max_bin": 1}}, "max_bin is 1"),
        ({"boosting": {"learning_rate": -1.0}}, "learning_rate is -1.0"),
        ({"boosting": {"learning_rate": float("nan")}}, "learning_rate is nan"),
        ({"boosting": {"subsample": 0.0}}, "subsample is 0.0"),
    ],
)
def test_values_that_cannot_work_are_told_before_the_log_is_read(table, words):
    with pytest.raises(InputError, match=words):
        Job.from_dict(table)


def test_a_job_knows_every_learner():
    assert set(get_args(LearnerName)) == set(LEARNERS)


@pytest.mark.parametrize("name", get_args(LearnerName))
def test_learners_are_chosen_by_name(tmp_path, name):
    assert read(tmp_path, f"learner = {name!r}").learner == name


@pytest.mark.parametrize("name", get_args(CalibrationMethod))
def test_calibrations_are_chosen_by_name(tmp_path, name):
    assert read(tmp_path, f"calibration = {name!r}").calibration == name
    assert Job().calibration == "isotonic"
