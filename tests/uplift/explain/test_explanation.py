import numpy as np
import pandas as pd
import pytest

from uplift import BoostParams, InputError, LogSchema, RequestLog, UpliftModel
from uplift.explain import explain

SCHEMA = LogSchema(
    arms=("none", "request"),
    arm_cost=(0.0, 1.0),
    outcomes=("purchase_10",),
    primary="purchase_10",
    features=("f_*", "c_*"),
    categorical=("c_*",),
)
QUICK = BoostParams(max_rounds=40, max_depth=3, learning_rate=0.2, patience=5, n_threads=1)


def planted_log(n_users, seed):
    """`f_step` drives the uplift alone; `f_level` the outcome alone, and more strongly."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), 6)
    n = len(user)
    step, level = rng.normal(size=n), rng.normal(size=n)
    arm = rng.integers(0, 2, n)
    rates = [0.1 + 0.4 * (level > 0) + a * 0.2 * (step > 0) for a in (0, 1)]
    bought = rng.random(n) < np.where(arm == 1, rates[1], rates[0])
    columns = {
        "user_id": user,
        "arm": arm,
        "propensity": np.full(n, 0.5),
        "purchase_10": bought.astype(float),
        "f_step": step,
        "f_level": level,
        "f_noise": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        "c_kind": pd.Categorical.from_codes(rng.integers(0, 3, n), ["a", "b", "c"]),
    }
    truth = {f"true_purchase_10_{a}": rate for a, rate in enumerate(rates)}
    return RequestLog(pd.DataFrame(columns | truth), SCHEMA)


@pytest.fixture(scope="module")
def log():
    return planted_log(3000, seed=5)


@pytest.fixture(scope="module")
def model():
    return UpliftModel.fit(planted_log(3000, seed=1), learner="s", params=QUICK)


@pytest.fixture(scope="module")
def explanation(model, log):
    return explain(model, log, repeats=2)


def test_every_table_finds_what_drives_the_uplift(explanation):
    frames = explanation.to_frames()
    assert set(frames) == {"deciles", "importance", "dependence", "projection"}
    assert explanation.shap.largest(1) == ("f_step",)
    assert explanation.permutation.to_frame()["feature"][0] == "f_step"
    projection = frames["projection"].set_index("feature")
    assert projection["p_value"].drop("intercept").idxmin() == "f_step"
    step = next(d for d in explanation.dependence if d.feature == "f_step")
    assert step.mean[-1] - step.mean[0] == pytest.approx(0.2, abs=0.05)


def test_what_drives_the_outcome_alone_has_no_importance(explanation):
    """Its importance holds 0, and its Shapley values are small beside those of the driver."""
    rows = {row["feature"]: row for row in explanation.importance}
    level, step = rows["f_level"], rows["f_step"]
    for what in ("loss", "qini"):
        assert level[what]["lower"] < 0.1 * step[what]["value"]
        assert level[what]["value"] < 0.15 * step[what]["value"]
    assert level["shap"]["value"] < 0.25 * step["shap"]["value"]


def test_deciles_carry_the_truth_where_it_is_known(explanation, model, log):
    assert explanation.arm == "request"
    assert explanation.deciles.points.sum() == len(log)
    assert explanation.deciles.truth[0] > 0.15 > 0.05 > explanation.deciles.truth[-1]
    plain = RequestLog(log.frame.drop(columns=["true_purchase_10_0"]), log.schema)
    assert explain(model, plain, rows=500, repeats=1).deciles.truth is None


def test_features_may_be_chosen(model, log):
    found = explain(model, log, features=["f_noise", "c_kind"], rows=500, repeats=1)
    assert [d.feature for d in found.dependence] == ["f_noise", "c_kind"]
    assert found.dependence[1].labels == ("a", "b", "c")
    assert found.projection.terms[1] == "f_noise"
    assert found.projection.terms[-1] == "f_noise is missing"
    assert found.projection.standardised


def test_features_that_allow_no_line_are_warned_of_or_refused(model, log):
    twin = RequestLog(log.frame.assign(f_level=log.frame["f_step"]), log.schema)
    with pytest.warns(UserWarning, match="no linear projection: columns .* tell each other"):
        found = explain(model, twin, rows=500, repeats=1)
    assert found.projection is None
    assert "projection" not in found.to_frames()
    with pytest.raises(InputError, match="tell each other exactly"):
        explain(model, twin, features=["f_step", "f_level"], rows=500, repeats=1)


def test_the_seed_decides(model, log):
    a, b, c = (explain(model, log, rows=500, repeats=1, seed=seed) for seed in (0, 0, 1))
    for name, frame in a.to_frames().items():
        pd.testing.assert_frame_equal(frame, b.to_frames()[name])
    assert a.permutation != c.permutation


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"arm": 2}, "arm is 2; expected one of 1 .. 1"),
        ({"arm": 0}, "arm is 0"),
        ({"features": ["f_colour"]}, "feature 'f_colour' is unknown"),
        ({"features": []}, "a line needs a feature"),
    ],
)
def test_bad_input_is_told(model, log, options, sentence):
    with pytest.raises(InputError, match=sentence):
        explain(model, log, rows=300, repeats=1, **options)
