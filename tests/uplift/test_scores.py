import numpy as np
import pandas as pd
import pytest
from simulated_logs import make_log

from uplift import InputError, Scores


@pytest.fixture
def scores():
    log = make_log(n_users=20, n_arms=2)
    return Scores(log.keys(), np.random.default_rng(0).random((len(log), 3)))


def test_uplift_is_over_arm_0(scores):
    np.testing.assert_array_equal(scores.uplift[:, 1], scores.outcome[:, 2] - scores.outcome[:, 0])


def test_writing_names_keys_truth_and_every_arm(tmp_path, scores):
    scores.write(tmp_path / "scores.parquet")
    frame = pd.read_parquet(tmp_path / "scores.parquet")
    assert set(frame) == {
        *("session_id", "user_id", "timestamp", "page", "position", "true_uplift"),
        *("arm", "propensity"),
        *("outcome_none", "outcome_request_1", "outcome_request_2"),
        *("uplift_request_1", "uplift_request_2"),
    }
    np.testing.assert_array_equal(frame["uplift_request_2"], scores.uplift[:, 1])
    assert "outcome_none" not in scores.log.frame


def test_reading_takes_back_what_was_written(tmp_path, scores):
    scores.write(tmp_path / "scores.parquet")
    again = Scores.read(tmp_path / "scores.parquet", scores.log.schema)
    np.testing.assert_array_equal(again.outcome, scores.outcome)
    assert list(again.log.frame) == list(scores.log.frame)
    assert again.log.slot.tolist() == scores.log.slot.tolist()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.drop(columns="outcome_none"), "has no column 'outcome_none'; write scores"),
        (lambda f: f.iloc[:0], "holds no rows; score a log that does"),
        (lambda f: f.assign(outcome_none=np.nan), "holds outcomes that are not finite"),
        (lambda f: f.assign(outcome_none="high"), "'outcome_none' is no number"),
    ],
)
def test_scores_that_are_none_are_refused(tmp_path, scores, change, sentence):
    scores.write(tmp_path / "scores.parquet")
    change(pd.read_parquet(tmp_path / "scores.parquet")).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=sentence):
        Scores.read(tmp_path / "bad.parquet", scores.log.schema)


def test_scores_that_are_missing_are_named(tmp_path, scores):
    with pytest.raises(InputError, match="does not exist"):
        Scores.read(tmp_path / "absent.parquet", scores.log.schema)
