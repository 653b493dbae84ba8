"""One contract for all learners."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from simulated_logs import QUICK
from sklearn.base import clone

from uplift import LEARNERS, InputError


@pytest.fixture(params=sorted(LEARNERS))
def new(request):
    """Make a learner of each kind."""
    return lambda params=QUICK, **options: LEARNERS[request.param](params, **options)


def simulate(n=3000, seed=0, n_arms=1, binary=True, effect=0.3, step=True):
    """Rows with a category, a missing value here and there, and a known effect of arm a.

    The effect is a x ``effect`` / A where x_0 > 0 (everywhere without ``step``).
    """
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 3, n)]).astype(np.float32)
    X[rng.random(n) < 0.1, 1] = np.nan
    arm = rng.integers(0, n_arms + 1, n)
    where = X[:, 0] > 0 if step else np.ones(n)
    truth = np.column_stack([where * effect * a / n_arms for a in range(1, n_arms + 1)])
    mean = 0.3 + 0.1 * (X[:, 2] == 1) + np.column_stack([np.zeros(n), truth])[np.arange(n), arm]
    y = (rng.random(n) < mean).astype(float) if binary else mean + rng.normal(0, 0.5, n)
    return X, y, arm, truth


TYPES = ("q", "q", "c")
KINDS = {
    "binary": {},
    "continuous": {"binary": False},
    "three arms": {"n_arms": 3},
    "three arms continuous": {"n_arms": 3, "binary": False},
}


@pytest.fixture(params=KINDS)
def data(request):
    return simulate(**KINDS[request.param])


def fit(learner, data, **options):
    X, y, arm, _ = data
    return learner.fit(X, y, arm, **options)


def test_arguments_are_stored_verbatim_and_cloned(new):
    types = ["q", "q", "c"]
    learner = new(QUICK, n_folds=4, feature_types=types)
    assert learner.get_params() == {"params": QUICK, "n_folds": 4, "feature_types": types}
    assert learner.feature_types is types
    fitted = fit(learner, simulate(500))
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "boosters_")


def test_fit_returns_itself_and_leaves_its_arguments_alone(new):
    data = simulate(500)
    before = [a.copy() for a in data]
    learner = new()
    assert fit(learner, data) is learner
    for a, b in zip(data, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert learner.get_params() == new().get_params()


def test_uplift_is_the_difference_of_outcomes(new, data):
    learner = fit(new(feature_types=TYPES), data)
    outcome, uplift = learner.predict_outcome(data[0]), learner.predict(data[0])
    assert outcome.shape == (len(data[0]), learner.n_arms_ + 1)
    assert uplift.shape == data[3].shape
    np.testing.assert_array_equal(uplift, outcome[:, 1:] - outcome[:, :1])
    assert np.isfinite(outcome).all()


@pytest.mark.parametrize("n_arms", [1, 3])
def test_a_binary_outcome_means_probabilities(new, n_arms):
    data = simulate(n_arms=n_arms)
    outcome = fit(new(), data).predict_outcome(data[0])
    assert outcome.min() >= 0
    assert outcome.max() <= 1
    for a in range(n_arms + 1):  # within 4 standard errors of the arm's rate
        y = data[1][data[2] == a]
        assert abs(outcome[:, a].mean() - y.mean()) < 4 * np.sqrt(0.25 / len(y))


def test_any_numbers_and_any_kind_of_array_are_taken(new):
    X, y, arm, _ = simulate(500)
    a = new().fit(X, y, arm)
    b = new().fit(X.tolist(), y.astype(int).tolist(), arm.astype(np.int8))
    c = new().fit(X.astype(np.float64), y.astype(bool), arm.astype(bool))
    np.testing.assert_array_equal(a.predict(X), b.predict(X.tolist()))
    np.testing.assert_array_equal(a.predict(X), c.predict(X))


def test_missing_and_unseen_values_are_predicted(new):
    learner = fit(new(feature_types=TYPES), simulate())
    rows = [[np.nan, np.nan, np.nan], [1e30, -1e30, 99.0]]
    assert np.isfinite(learner.predict(rows)).all()


def test_a_fitted_learner_can_be_pickled_in_memory(new):
    data = simulate(1000)
    learner = fit(new(), data)
    again = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(again.predict(data[0]), learner.predict(data[0]))


def test_the_order_of_rows_means_nothing(new, data):
    """Histograms of float32 gradients are summed in the order of rows: 1e-4 of probability."""
    X, y, arm, _ = data
    groups = np.arange(len(X)) // 3
    order = np.random.default_rng(1).permutation(len(X))
    a = new(feature_types=TYPES).fit(X, y, arm, groups=groups)
    b = new(feature_types=TYPES).fit(X[order], y[order], arm[order], groups=groups[order])
    np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-4)


def same_bytes(a, b):
    assert a.boosters_.keys() == b.boosters_.keys()
    raw = [[m.booster.save_raw("ubj") for m in x.boosters_.values()] for x in (a, b)]
    assert raw[0] == raw[1]


def test_the_same_seed_gives_the_same_bytes(new, data):
    same_bytes(fit(new(), data), fit(new(), data))


def test_the_number_of_threads_changes_no_byte(new):
    """More rows than one block of the histogram, so that threads do share them."""
    data = simulate(20_000)
    same_bytes(fit(new(), data), fit(new(replace(QUICK, n_threads=2)), data))


def test_a_weight_of_two_is_a_row_twice(new):
    """To the tolerance of the cuts: a weighted sketch may cut between other values."""
    X, y, arm, _ = simulate(1500)
    X = np.round(X, 1)  # fewer values than bins, so that the cuts are the same
    groups = np.arange(len(X))
    weighted = new().fit(X, y, arm, sample_weight=np.full(len(X), 2.0), groups=groups)
    twice = [np.r_[v, v] for v in (y, arm, groups)]
    doubled = new().fit(np.r_[X, X], *twice[:2], groups=twice[2])
    np.testing.assert_allclose(weighted.predict(X), doubled.predict(X), atol=1e-4)


def test_a_weight_of_zero_is_no_row_for_the_effect(new):
    """Rows of weight 0 tell of a huge effect; the rest of none; 4 standard errors of the rest."""
    X, y, arm, _ = simulate(4000, effect=0.0)
    n = len(X)
    lie = np.r_[y, np.repeat([0.0, 1.0], n // 2)], np.r_[arm, np.repeat([0, 1], n // 2)]
    learner = new().fit(np.r_[X, X], *lie, sample_weight=np.repeat([1.0, 0.0], n))
    assert abs(learner.predict(X).mean()) < 4 * np.sqrt(2 * 0.25 / (n / 2))


def test_groups_keep_users_whole_when_rounds_are_chosen(new):
    """Noise by user that a feature identifies: rows alone overfit it, users do not."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(100), 20)
    y = rng.normal(size=100)[user] + 0.01 * rng.normal(size=2000)
    X, arm = rng.normal(size=100)[user][:, None], rng.integers(0, 2, 2000)
    rows, users = new().fit(X, y, arm), new().fit(X, y, arm, groups=user)
    rounds = [sum(m.rounds for m in x.boosters_.values()) for x in (rows, users)]
    assert rounds[1] < rounds[0] / 2


BAD = {
    "X is a vector": ({"X": np.ones(100)}, r"X has shape \(100,\); expected \(rows, features\)"),
    "X infinite": ({"X": np.full((100, 2), np.inf)}, "X holds infinite values"),
    "y short": ({"y": np.zeros(99)}, r"y has shape \(99,\); expected \(100,\)"),
    "y a matrix": ({"y": np.zeros((100, 1))}, r"y has shape \(100, 1\)"),
    "y NaN": ({"y": np.full(100, np.nan)}, "y holds values that are not finite"),
    "arms short": ({"treatment": np.zeros(5, int)}, r"treatment has shape \(5,\)"),
    "arms float": ({"treatment": np.tile([0.0, 1.0], 50)}, "type float64; expected .* whole"),
    "arm 0 absent": ({"treatment": np.ones(100, int)}, r"the arms \[1\]; expected 0, 1, .. A"),
    "arm 1 absent": ({"treatment": np.tile([0, 2], 50)}, r"the arms \[0, 2\]"),
    "arm negative": ({"treatment": np.tile([0, -1], 50)}, r"the arms \[-1, 0\]"),
    "one arm": ({"treatment": np.zeros(100, int)}, r"the arms \[0\]"),
    "weights short": ({"sample_weight": np.ones(3)}, r"sample_weight has shape \(3,\)"),
    "weights negative": (
        {"sample_weight": np.full(100, -1.0)},
        "sample_weight holds .* or below 0",
    ),
    "no rows": (
        {"X": np.ones((0, 2)), "y": np.ones(0), "treatment": np.ones(0, int)},
        r"the arms \[\]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(new, case):
    changes, sentence = BAD[case]
    given = {"X": np.ones((100, 2)), "y": np.zeros(100), "treatment": np.tile([0, 1], 50)}
    with pytest.raises(InputError, match=sentence):
        new().fit(**{**given, **changes})


@pytest.mark.parametrize("options", [{"n_folds": 1}, {"feature_types": ("q",)}])
def test_bad_arguments_are_refused(new, options):
    with pytest.raises(InputError, match=next(iter(options))):
        fit(new(**options), simulate(200))


def test_infinite_features_are_not_predicted(new):
    learner = fit(new(), simulate(500))
    with pytest.raises(InputError, match="X holds infinite values"):
        learner.predict([[np.inf, 0.0, 0.0]])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_arm_whose_outcomes_are_all_alike_is_learned(new, value):
    """Rare purchases: a small log may have none in an arm. Its rate stays a probability."""
    X, y, arm, _ = simulate(1000)
    y[arm == 1] = value
    outcome = new().fit(X, y, arm).predict_outcome(X)
    assert np.isfinite(outcome).all()
    assert abs(outcome[:, 1].mean() - value) < 0.1


def test_an_outcome_that_never_happens_has_no_uplift(new):
    X, _, arm, _ = simulate(500)
    uplift = new().fit(X, np.zeros(500), arm).predict(X)
    assert np.abs(uplift).max() < 0.01


STEPS = [{"n": 20_000}, {"n": 20_000, "binary": False}, {"n": 40_000, "n_arms": 3}]


@pytest.mark.parametrize("options", STEPS, ids=["binary", "continuous", "three arms"])
def test_a_step_in_the_effect_is_found(new, options):
    """Correlation with the truth above 0.9 for the strongest arm.

    The truth has variance 0.15^2 = 0.0225. A side of the step holds 5,000 rows an arm, its effect
    is known to about 0.01; correlation 0.9 allows an error variance of 0.0053, a deviation of
    0.07, that is several times what a booster of 20 leaves an arm should add.
    """
    data = simulate(**options)
    X_new, _, _, truth = simulate(seed=1, n=5000, n_arms=options.get("n_arms", 1))
    uplift = fit(new(feature_types=TYPES), data).predict(X_new)
    assert np.corrcoef(uplift[:, -1], truth[:, -1])[0, 1] > 0.9
    assert abs(uplift[:, -1].mean() - 0.15) < 0.05


@pytest.mark.parametrize("binary", [True, False])
def test_a_constant_effect_has_the_right_mean(new, binary):
    """Within 4 standard errors of a difference of two means of 10,000 rows of variance 1/4."""
    data = simulate(20_000, binary=binary, step=False, effect=0.2)
    uplift = fit(new(feature_types=TYPES), data).predict(data[0])
    assert abs(uplift.mean() - 0.2) < 4 * np.sqrt(2 * 0.25 / 10_000)
