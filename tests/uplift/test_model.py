import json

import numpy as np
import pytest
from simulated_logs import QUICK, make_frame, make_log, make_schema, shuffled

from uplift import LEARNERS, InputError, LogitLearner, RequestLog, TLearner, UpliftModel


@pytest.fixture(scope="module")
def log():
    return make_log(n_users=400, n_arms=2)


@pytest.fixture(scope="module")
def model(log):
    return UpliftModel.fit(log, learner="t", params=QUICK)


@pytest.mark.parametrize("learner", sorted(LEARNERS))
@pytest.mark.parametrize("primary", ["purchase_10", "gmv_10"])
def test_a_model_saved_and_loaded_predicts_the_same(tmp_path, learner, primary):
    log = RequestLog(make_frame(n_users=200), make_schema(primary=primary))
    model = UpliftModel.fit(log, learner=learner, params=QUICK)
    model.save(tmp_path / "model")
    again = UpliftModel.load(tmp_path / "model", log.schema)
    np.testing.assert_array_equal(again.predict_outcome(log), model.predict_outcome(log))
    assert again.encoder == model.encoder
    assert again.learner.get_params() == model.learner.get_params()


def test_a_saved_model_holds_boosters_and_json_and_no_pickle(tmp_path, model):
    model.save(tmp_path / "model")
    files = list((tmp_path / "model").iterdir())
    assert {f.suffix for f in files} == {".ubj", ".json"}
    for file in files:
        assert not file.read_bytes().startswith(b"\x80")  # every binary pickle does
        if file.suffix == ".json":
            json.loads(file.read_text())


def test_a_learner_may_be_given_unfitted(log):
    given = LogitLearner(QUICK, n_folds=4)
    model = UpliftModel.fit(log, learner=given)
    assert isinstance(model.learner, LogitLearner)
    assert model.learner.n_folds == 4
    assert given.feature_types is None
    assert not hasattr(given, "boosters_")


def test_an_unknown_learner_is_refused_with_the_choice(log):
    with pytest.raises(InputError, match=r"learner 'forest' is unknown; choose among \['s', 't'"):
        UpliftModel.fit(log, learner="forest")


@pytest.mark.parametrize("arm", [1, 2])
def test_an_arm_without_rows_to_learn_from_is_refused(log, arm):
    part = log.take(log.arm != arm)
    with pytest.raises(InputError, match="arm"):
        UpliftModel.fit(part, params=QUICK)


def test_uplift_and_scores_agree(log, model):
    scores = model.score(log)
    assert scores.outcome.shape == (len(log), 3)
    np.testing.assert_array_equal(model.uplift(log), scores.outcome[:, 1:] - scores.outcome[:, :1])
    np.testing.assert_array_equal(scores.outcome, model.predict_outcome(log))


def test_scoring_in_chunks_is_scoring_at_once(log, model, monkeypatch):
    whole = model.predict_outcome(log)
    monkeypatch.setattr("uplift.model._CHUNK_ROWS", 7)
    again = RequestLog(log.frame, log.schema)
    np.testing.assert_array_equal(model.predict_outcome(again), whole)


def test_a_log_is_scored_once(log, model, monkeypatch):
    model.predict_outcome(log)
    calls = []
    predict = TLearner.predict_both
    monkeypatch.setattr(TLearner, "predict_both", lambda s, X: calls.append(len(X)) or predict(s, X))
    model.score(log)
    model.uplift(log)
    assert calls == []
    model.score(RequestLog(log.frame, log.schema))
    assert calls == [len(log)]


def test_the_answer_that_is_kept_belongs_to_its_log(log, model):
    part = log.take(np.arange(10, 20))
    np.testing.assert_array_equal(model.predict_outcome(part), model.predict_outcome(log)[10:20])


def test_neither_the_outcome_nor_the_arm_is_looked_at(log, model):
    bare = log.frame[["f_step", "f_noise", "c_kind"]]
    scored = model.predict_outcome(RequestLog.unchecked(bare, log.schema))
    np.testing.assert_array_equal(scored, model.predict_outcome(log))


def test_a_missing_feature_is_named(log, model):
    with pytest.raises(InputError, match=r"features \['f_step'\] are not in the frame"):
        model.score(RequestLog.unchecked(log.frame.drop(columns="f_step"), log.schema))


def test_the_order_of_rows_means_nothing():
    """Up to the order in which float32 gradients are summed: 1e-4 of probability."""
    frame = make_frame(n_users=400)
    log = RequestLog(frame, make_schema())
    other = RequestLog(shuffled(frame), make_schema())
    a, b = (UpliftModel.fit(each, params=QUICK).uplift(log) for each in (log, other))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_the_gain_is_found_where_it_is(log, model):
    """Rows with an effect of 0.2 come before rows with none: means apart by 4 standard errors."""
    fresh = make_log(n_users=200, n_arms=2, seed=1)
    uplift = model.uplift(fresh)[:, 0]
    has = fresh.frame["true_uplift"].to_numpy() > 0
    error = np.sqrt(uplift[has].var() / has.sum() + uplift[~has].var() / (~has).sum())
    assert uplift[has].mean() - uplift[~has].mean() > 4 * error
