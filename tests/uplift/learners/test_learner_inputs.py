"""What learners take: arrays, frames of pandas and polars; and what they refuse, in a sentence."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from simulated_logs import QUICK
from trials import TYPES, WEIGHING, fit, raw, simulate

from uplift import InputError
from uplift.cross_fit import fold_of

KIND = np.array(["apple", "pear", "quince"])


def frame_of(X):
    """The columns of `simulate` by name, the category as text."""
    kind = pd.Categorical.from_codes(X[:, 2].astype(int), KIND)
    return pd.DataFrame({"size": X[:, 0], "age": X[:, 1], "kind": kind})


def polars_of(frame):
    polars = pytest.importorskip("polars")
    kind = polars.Series("kind", frame["kind"].astype(object).to_list(), dtype=polars.Categorical)
    return polars.DataFrame(
        {"size": frame["size"].to_numpy(), "age": frame["age"].to_numpy()}
    ).with_columns(kind)


def test_any_numbers_and_any_kind_of_array_are_taken(new):
    X, y, arm, _ = simulate(500)
    a = new().fit(X, y, arm)
    b = new().fit(X.tolist(), y.astype(int).tolist(), arm.astype(np.int8))
    c = new().fit(np.asfortranarray(X, dtype=np.float64), y.astype(bool), arm.astype(bool))
    np.testing.assert_array_equal(a.predict(X), b.predict(X.tolist()))
    np.testing.assert_array_equal(a.predict(X), c.predict(X))


def test_numpy_pandas_and_polars_give_the_same_bytes(new):
    X, y, arm, _ = simulate(1000)
    frame, weight, groups = frame_of(X), 1 + arm, np.arange(1000) // 2
    rows = (y, arm, weight, groups)
    by_array = new(feature_types=TYPES).fit(X, y, arm, sample_weight=weight, groups=groups)
    for table, series in ((frame, pd.Series), (polars_of(frame), polars_series)):
        outcome, treatment, weights, users = (series(v) for v in rows)
        by_frame = new().fit(table, outcome, treatment, sample_weight=weights, groups=users)
        assert raw(by_frame) == raw(by_array)
        np.testing.assert_array_equal(by_frame.predict(table), by_array.predict(X))
        assert by_frame.feature_names_in_.tolist() == ["size", "age", "kind"]
    assert not hasattr(by_array, "feature_names_in_")


def polars_series(values):
    return pytest.importorskip("polars").Series(values)


def test_a_frame_of_one_library_predicts_for_a_model_of_the_other(new):
    data = simulate(500)
    frame = frame_of(data[0])
    learner = fit(new(), (frame, *data[1:]))
    np.testing.assert_array_equal(learner.predict(polars_of(frame)), learner.predict(frame))


def test_columns_of_a_frame_are_found_by_name(new):
    X, *rest = simulate(500)
    frame = frame_of(X)
    learner = fit(new(), (frame, *rest))
    moved = frame.assign(another="x")[["kind", "another", "age", "size"]]
    np.testing.assert_array_equal(learner.predict(moved), learner.predict(frame))


def test_types_of_features_hold_for_frames_too(new):
    """A category that is coded in numbers; and a text is one whatever is said."""
    X, *rest = simulate(1000)
    coded = pd.DataFrame(X, columns=["size", "age", "kind"])
    by_array = fit(new(feature_types=TYPES), (X, *rest))
    assert raw(fit(new(feature_types=TYPES), (coded, *rest))) == raw(by_array)
    assert raw(fit(new(feature_types="qqq"), (frame_of(X), *rest))) == raw(by_array)


def test_numbered_columns_are_named_by_their_numbers(new):
    X, *rest = simulate(500)
    learner = fit(new(), (pd.DataFrame(X), *rest))
    assert learner.feature_names_in_.tolist() == ["0", "1", "2"]
    assert raw(learner) == raw(fit(new(), (X, *rest)))
    np.testing.assert_array_equal(
        learner.predict(pd.DataFrame(X)[[2, 0, 1]]), learner.predict(pd.DataFrame(X))
    )


def test_after_an_array_a_frame_is_read_by_position(new):
    data = simulate(500)
    learner = fit(new(), data)
    frame = pd.DataFrame(data[0], columns=["b", "a", "c"])
    np.testing.assert_array_equal(learner.predict(frame), learner.predict(data[0]))


CHANGED = {
    "missing": (lambda f: f.drop(columns="age"), r"features \['age'\] are not in the frame"),
    "text for number": (lambda f: f.assign(age="old"), "'age' is of type .* expects numbers"),
    "number for text": (lambda f: f.assign(kind=1.0), "'kind' holds numbers; .* expects texts"),
    "twice": (lambda f: pd.concat([f, f[["age"]]], axis=1), "column 'age' occurs 2 times"),
    "infinite": (lambda f: f.assign(age=np.inf), "'age' holds an infinite value"),
    "array": (lambda f: f[["size", "age"]].to_numpy(), "X is no frame, but .* fitted on one"),
    "no rows": (lambda f: f.iloc[:0], "X has no rows"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_frames_unlike_those_of_the_fit_are_refused(new, case):
    change, sentence = CHANGED[case]
    X, *rest = simulate(300)
    learner = fit(new(), (frame_of(X), *rest))
    for predict in (learner.predict, learner.predict_outcome):
        with pytest.raises(InputError, match=sentence):
            predict(change(frame_of(X)))


@pytest.mark.parametrize("rows", [[[np.inf, 0.0, 0.0]], [[0.0, 0.0]], [0.0, 0.0, 0.0], [["a"] * 3]])
def test_arrays_unlike_those_of_the_fit_are_refused(new, rows):
    with pytest.raises(InputError, match=r"X (holds infinite|has 2 features|has shape|is not num)"):
        fit(new(), simulate(300)).predict(rows)


def test_missing_and_unseen_values_are_predicted(new):
    X, *rest = simulate(1000)
    learner = fit(new(feature_types=TYPES), (X, *rest))
    rows = [[np.nan, np.nan, np.nan], [1e30, -1e30, 99.0]]
    assert np.isfinite(learner.predict(rows)).all()
    learner = fit(new(), (frame_of(X), *rest))
    unseen, missing = ({"size": [0.0], "age": [1.0], "kind": [kind]} for kind in ("fig", None))
    np.testing.assert_array_equal(
        learner.predict(pd.DataFrame(unseen)), learner.predict(pd.DataFrame(missing))
    )


def propensity(value, n=100):
    return {"propensity": np.full(n, value)}


BAD = {
    "X is a vector": ({"X": np.ones(100)}, r"X has shape \(100,\); expected 2 dimensions"),
    "X infinite": ({"X": np.full((100, 2), np.inf)}, "X holds infinite values"),
    "X beyond float32": ({"X": np.full((100, 2), 1e39)}, "X holds infinite values"),
    "X text": ({"X": np.full((100, 2), "a")}, "X is not numbers"),
    "X complex": ({"X": np.full((100, 2), 1j)}, "Complex data not supported"),
    "X without columns": ({"X": np.ones((100, 0))}, r"0 feature\(s\)"),
    "X of lists": ({"X": pd.DataFrame({"a": [[1]] * 100})}, "'a' is of type object; expected"),
    "X of dates": ({"X": pd.DataFrame({"a": pd.to_datetime(["2024"] * 100)})}, "'a' is of type"),
    "y short": ({"y": np.zeros(99)}, r"y has shape \(99,\); expected \(100,\)"),
    "y a matrix": ({"y": np.zeros((100, 1))}, r"y has shape \(100, 1\)"),
    "y NaN": ({"y": np.full(100, np.nan)}, "y holds values that are not finite"),
    "y infinite": ({"y": np.full(100, np.inf)}, "y holds values that are not finite"),
    "y text": ({"y": np.full(100, "no")}, "y is not numbers"),
    "y absent": ({"y": None}, "y to be passed, but the target y is None"),
    "arms short": ({"treatment": np.zeros(5, int)}, r"treatment has shape \(5,\)"),
    "arms float": ({"treatment": np.tile([0.0, 1.0], 50)}, "type float64; expected .* whole"),
    "arms text": ({"treatment": np.tile(["a", "b"], 50)}, "treatment has .* expected .* whole"),
    "arm 0 absent": ({"treatment": np.ones(100, int)}, r"the arms \[1\] .* expected 0, 1, .. A"),
    "arm 1 absent": ({"treatment": np.tile([0, 2], 50)}, r"the arms \[0, 2\]"),
    "arm negative": ({"treatment": np.tile([0, -1], 50)}, r"the arms \[-1, 0\]"),
    "arm enormous": ({"treatment": np.tile([0, 1 << 60], 50)}, r"the arms \[0, 11529"),
    "one arm": ({"treatment": np.zeros(100, int)}, r"the arms \[0\]"),
    "weights short": ({"sample_weight": np.ones(3)}, r"sample_weight has shape \(3,\)"),
    "weights negative": (
        {"sample_weight": np.full(100, -1.0)},
        "sample_weight holds .* or below 0",
    ),
    "weights zero": ({"sample_weight": np.zeros(100)}, "rows of weight above zero in each"),
    "an arm of no weight": (
        {"sample_weight": np.tile([1, 0], 50)},
        "rows of weight above zero in each",
    ),
    "groups short": ({"groups": np.ones(3)}, r"groups has shape \(3,\); expected \(100,\)"),
    "one user": ({"groups": np.ones(100)}, "fall in one fold"),
    "propensity zero": (propensity(0.0), r"holds 0.0 in row 0 \(100 such rows\)"),
    "propensity above one": (propensity(1.1), "holds 1.1 in row 0"),
    "propensity NaN": (propensity(np.nan), "propensity holds values that are not finite"),
    "propensity text": (propensity("a"), "propensity is not numbers"),
    "propensity short": (propensity(0.5, 3), r"propensity has shape \(3,\)"),
    "propensity of three arms": (
        {"propensity": np.full((100, 3), 1 / 3)},
        r"propensity has shape \(100, 3\); expected \(100,\) .* or \(100, 2\)",
    ),
    "propensities of a row": ({"propensity": np.full((100, 2), 0.6)}, "add up to 1 in each row"),
    "propensity of the logged arm zero": (
        {"propensity": np.tile([1.0, 0.0], (100, 1))},
        r"holds 0.0 in row 1 \(50 such rows\)",
    ),
    "no rows": (
        {"X": np.ones((0, 2)), "y": np.ones(0), "treatment": np.ones(0, int)},
        r"the arms \[\]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(new, case):
    changes, sentence = BAD[case]
    rng = np.random.default_rng(0)
    given = {"X": rng.normal(size=(100, 2)), "y": np.zeros(100), "treatment": np.tile([0, 1], 50)}
    with pytest.raises(InputError, match=sentence):
        new().fit(**{**given, **changes})


ARGUMENTS = [
    {"n_folds": 1},
    {"n_folds": 2.5},
    {"n_folds": 1 << 15},
    {"feature_types": ("q",)},
    {"feature_types": ("q", "q", "text")},
    {"clip": 0.5},
    {"clip": 0},
    {"params": {"max_depth": 3}},
]


@pytest.mark.parametrize("options", ARGUMENTS, ids=str)
def test_bad_arguments_are_refused(new, options):
    with pytest.raises(InputError, match=f"^{next(iter(options))} (is|has)"):
        fit(new(**options), simulate(200))


@pytest.mark.parametrize("code", [-1.0, 0.5, 65_536.0, 1e6])
def test_codes_of_categories_are_whole_and_not_too_many(new, code):
    X, *rest = simulate(300)
    X[5, 2] = code
    with pytest.raises(InputError, match=r"column 2 of X is a category .* expected whole codes 0"):
        fit(new(feature_types=TYPES), (X, *rest))


def test_of_too_many_categories_the_rare_ones_are_missing(new):
    X, *rest = simulate(1100)
    frame = frame_of(X).assign(word=[f"w{i}" for i in range(1100)])
    with pytest.warns(UserWarning, match="'word' has 1,100 categories; the 1,000 most frequent"):
        learner = fit(new(), (frame, *rest))
    assert np.isfinite(learner.predict(frame)).all()


def test_a_feature_of_nothing_but_nan_changes_nothing(new):
    X, *rest = simulate(500)
    with_none = np.column_stack([X, np.full(500, np.nan)])
    plain = fit(new(), (X, *rest)).predict(X)
    np.testing.assert_array_equal(fit(new(), (with_none, *rest)).predict(with_none), plain)
    types = ("q", "q", "q", "c")
    as_category = fit(new(feature_types=types), (with_none, *rest)).predict(with_none)
    np.testing.assert_array_equal(as_category, plain)


@pytest.mark.parametrize("seed", range(4))
def test_ten_rows_are_learned(new, seed):
    """Learned where every arm is in two folds, finite then."""
    X, y, _, _ = simulate(10, seed=seed)
    arm = np.arange(10) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # propensities that were clipped
        learner = new(replace(QUICK, seed=seed)).fit(X, y, arm)
    assert np.isfinite(learner.predict_outcome(X)).all()
    assert np.isfinite(learner.predict(X)).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_arm_whose_outcomes_are_all_alike_is_learned(name, new, value):
    """Rare purchases: a small log may have none in an arm. Its rate stays a probability.

    Class transformation knows the arm's rate only as arm 0's plus the effect that it learned on
    500 rows an arm, each of weight 2: 4 standard errors of the mean of +-1 over 1,000 rows.
    """
    X, y, arm, _ = simulate(1000)
    y[arm == 1] = value
    outcome = new().fit(X, y, arm).predict_outcome(X)
    assert outcome.min() >= 0
    assert outcome.max() <= 1
    bound = 4 / np.sqrt(1000) if name == "class_transform" else 0.1
    assert abs(outcome[:, 1].mean() - value) < bound


@pytest.mark.parametrize("value", [0.0, 1.0, 7.0])
def test_a_constant_outcome_has_no_uplift(name, new, value):
    """For class transformation only in the mean: each row's whole outcome is its noise.

    The mean of ``y (t - e) / (e (1 - e))`` with y = c and e = 1/2 has the standard error
    2 c / sqrt(n); binary, with the sign of agreement in place of 2 y, 1 / sqrt(n).
    """
    X, _, arm, _ = simulate(500)
    uplift = new().fit(X, np.full(500, value), arm).predict(X)
    if name == "class_transform":
        assert abs(uplift.mean()) < 4 * max(1.0, 2 * value * (value > 1)) / np.sqrt(500)
    else:
        assert np.abs(uplift).max() < 1e-5


def test_two_values_that_are_not_0_and_1_are_numbers(new):
    """y in 1 and 2 is no classification: means between them, and the effect of the same size."""
    X, y, arm, _ = simulate(4000)
    outcome = new().fit(X, y + 1, arm).predict_outcome(X)
    assert new().fit(X, y + 1, arm).objective_ == "reg:squarederror"
    assert 1 < outcome.mean() < 2
    effect = y[arm == 1].mean() - y[arm == 0].mean()
    assert abs((outcome[:, 1] - outcome[:, 0]).mean() - effect) < 4 * np.sqrt(2 * 0.25 / 2000)


def test_outcomes_are_probabilities_not_labels(name, new):
    """At a rate of 3 % every label would be 0: the mean is the rate, within 4 standard errors."""
    rng = np.random.default_rng(0)
    X, arm = rng.normal(size=(4000, 2)), rng.integers(0, 2, 4000)
    y = (rng.random(4000) < 0.03).astype(float)
    outcome = new().fit(X, y, arm).predict_outcome(X)[:, 0]
    assert abs(outcome.mean() - y[arm == 0].mean()) < 4 * np.sqrt(0.03 * 0.97 / 2000)
    assert ((outcome > 1e-3) & (outcome < 0.5)).all()


def test_propensities_are_clipped_with_a_warning_that_says_how_many(name, new):
    X, y, arm, _ = simulate(500)
    propensity = np.full(500, 0.5)
    propensity[:7] = 1.0
    if name in WEIGHING:
        sentence = r"7 of 500 rows have a propensity beyond \[0.01, 0.99\]"
        with pytest.warns(UserWarning, match=sentence):
            learner = new().fit(X, y, arm, propensity=propensity)
        held = new().fit(X, y, arm, propensity=propensity.clip(0.01, 0.99))
    else:
        learner = new().fit(X, y, arm, propensity=propensity)
        held = new().fit(X, y, arm)
    assert raw(learner) == raw(held)


def test_learners_of_outcomes_need_no_propensity(name, new):
    X, y, arm, _ = simulate(500)
    known = new().fit(X, y, arm, propensity=np.full(500, 0.3))
    assert (raw(known) == raw(new().fit(X, y, arm))) == (name not in WEIGHING)


def test_an_arm_in_one_fold_is_refused(name, new):
    """One user got all of arm 1: there is nothing to learn of it from other users."""
    X, y, _, _ = simulate(300)
    arm, groups = (np.arange(300) < 20).astype(int), np.arange(300) // 20
    if name == "s":  # one model of all rows needs no two folds of an arm
        assert np.isfinite(new().fit(X, y, arm, groups=groups).predict(X)).all()
        return
    with pytest.raises(InputError, match=r"rows of arm 1 fall in one fold.* use more users"):
        new(QUICK).fit(X, y, arm, groups=groups)


def test_a_fold_of_no_weight_is_no_fold(new):
    """Its rows teach nothing and choose nothing; one fold of weight alone is too few."""
    X, y, arm, _ = simulate(900)
    folds = fold_of(np.arange(900), 3, QUICK.seed)
    learner = new().fit(X, y, arm, sample_weight=(folds != 2) * 1.0)
    assert np.isfinite(learner.predict_outcome(X)).all()
    with pytest.raises(InputError, match="fall in one fold"):
        new().fit(X, y, arm, sample_weight=(folds == 2) * 1.0)
