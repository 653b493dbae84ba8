import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from simulated_logs import QUICK, make_frame, make_log, make_schema, shuffled

from uplift import LEARNERS, InputError, LogitLearner, RequestLog, TLearner, UpliftModel
from uplift.adapters import PEERS
from uplift.clusters import ratio_estimate
from uplift.effects import effect_scores
from uplift.learners import SLearner


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
    monkeypatch.setattr(
        TLearner, "predict_both", lambda s, X: calls.append(len(X)) or predict(s, X)
    )
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


#: So few steps that S has learned only part of the effect.
HASTY = replace(QUICK, max_rounds=3, learning_rate=0.1)
METHODS = ("none", "isotonic", "binned")


@pytest.fixture(scope="module", params=METHODS)
def hasty(request, log):
    """A model of each calibration on a learner whose effect is too small."""
    return UpliftModel.fit(log, "s", HASTY, calibration=request.param)


@pytest.mark.parametrize("method", METHODS)
def test_calibrated_uplift_has_the_mean_of_the_effect(method):
    """Within 4 standard errors of the truth, where that of S is further short of it.

    Standard errors are those of the mean of scores by inverse propensities, which are noisier than
    the doubly robust ones that the calibration goes by.
    """
    log = make_log(n_users=4000, n_arms=2)
    model = UpliftModel.fit(log, "s", HASTY, calibration=method)
    raw, sized = model.raw_uplift(log).mean(axis=0), model.uplift(log).mean(axis=0)
    scores = effect_scores(log.outcome(), log.arm, log.propensity, np.zeros((len(log), 3)))
    found = [ratio_estimate(column, np.ones(len(log)), log.cluster) for column in scores.T]
    error = np.array([e.upper - e.lower for e in found]) / 2 / 1.96
    truth = log.frame["true_uplift"].mean()
    assert (raw < truth - 4 * error).all()
    if method == "none":
        np.testing.assert_allclose(sized, raw, atol=1e-12)
    else:
        assert (np.abs(sized - truth) < 4 * error).all()


def test_raw_uplift_is_the_learners(hasty, log):
    X = hasty.encoder.transform(log.frame)
    np.testing.assert_array_equal(hasty.raw_uplift(log), hasty.learner.predict_both(X).uplift)
    np.testing.assert_array_equal(hasty.predict(X), hasty.calibration.apply(hasty.raw_uplift(log)))


def test_predicting_a_matrix_is_predicting_the_log(hasty, log):
    """But for outcomes beyond 0 and 1, of which this log has none near."""
    X = hasty.encoder.transform(log.frame)
    np.testing.assert_allclose(hasty.predict(X), hasty.uplift(log), atol=1e-12)


def test_outcomes_lie_above_arm_0_by_the_calibrated_uplift(hasty, log):
    outcome = hasty.predict_outcome(log)
    X = hasty.encoder.transform(log.frame)
    np.testing.assert_array_equal(outcome[:, 0], hasty.learner.predict_outcome(X)[:, 0])
    assert ((outcome >= 0) & (outcome <= 1)).all()


def test_calibration_keeps_the_ranking(hasty, log):
    for raw, sized in zip(hasty.raw_uplift(log).T, hasty.uplift(log).T, strict=True):
        order = np.argsort(raw, kind="stable")
        assert (np.diff(sized[order]) >= -1e-12).all()
        assert len(np.unique(sized.round(12))) == len(np.unique(raw.round(12)))


def test_a_calibration_survives_the_disk_and_a_pickle(hasty, log, tmp_path):
    hasty.save(tmp_path)
    assert json.loads((tmp_path / "calibration.json").read_text())["method"] in METHODS
    loaded = UpliftModel.load(tmp_path, log.schema)
    pickled = pickle.loads(pickle.dumps(hasty))
    for again in (loaded, pickled):
        assert again.calibration.method == hasty.calibration.method
        np.testing.assert_array_equal(again.raw_uplift(log), hasty.raw_uplift(log))
        np.testing.assert_array_equal(again.predict_outcome(log), hasty.predict_outcome(log))


def test_what_was_scored_does_not_travel_in_a_pickle(log, model):
    model.score(log)
    small = UpliftModel(model.schema, model.encoder, model.learner, model.calibration)
    assert len(pickle.dumps(model)) == len(pickle.dumps(small))


def test_an_unknown_calibration_is_refused_with_the_choice(log):
    with pytest.raises(InputError, match=r"method 'platt' is unknown; choose among \['none', 'iso"):
        UpliftModel.fit(log, "s", HASTY, calibration="platt")


def test_calibration_sees_only_out_of_fold_predictions(log, monkeypatch):
    """Of each row what boosters predict that have not seen its user."""
    seen = []
    fit = UpliftModel.fit.__globals__["fit_calibration"]

    def noted(uplift, *arguments, **options):
        seen.append(uplift)
        return fit(uplift, *arguments, **options)

    monkeypatch.setattr("uplift.model.fit_calibration", noted)
    model = UpliftModel.fit(log, "t", QUICK)
    learner = TLearner(QUICK, feature_types=model.encoder.types)
    X = model.encoder.transform(log.frame)
    given = {"propensity": log.propensity, "groups": log.cluster}
    found = learner.fit_out_of_fold(X, log.outcome(), log.arm, **given)
    np.testing.assert_array_equal(seen[0], found.uplift)
    assert (seen[0] != model.raw_uplift(log)).any()


class Peer(SLearner):
    """What another library's learner looks like to a model, without that library."""

    name = sorted(PEERS)[0]


def test_a_model_of_another_library_cannot_be_saved(log, tmp_path):
    model = UpliftModel.fit(log, Peer(HASTY))
    assert model.uplift(log).shape == (len(log), 2)
    assert not set(PEERS) & set(LEARNERS)
    with pytest.raises(InputError, match=f"learner '{Peer.name}' cannot be saved without a pickle"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
