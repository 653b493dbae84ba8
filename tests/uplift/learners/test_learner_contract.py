"""One contract for all learners."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from simulated_logs import QUICK
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator
from trials import NAMES, OF_OUTCOMES, TYPES, fit, raw, simulate, uniform

from uplift import LEARNERS, BoostParams


class OneTrial:
    """A learner as scikit-learn's checks know estimators: every second row is treated."""

    def fit(self, X, y, sample_weight=None):
        n = 0 if y is None else len(np.asarray(y))
        return super().fit(X, y, np.arange(n) % 2, sample_weight=sample_weight)

    def predict(self, X):
        return super().predict(X)[:, 0]


#: Classes of the module, or they could not be pickled.
ONE_TRIAL = {n: type(f"One{n}", (OneTrial, LEARNERS[n]), {"__module__": __name__}) for n in NAMES}
globals().update({kind.__name__: kind for kind in ONE_TRIAL.values()})

NOT_OURS = {
    "check_parameters_default_constructible": "a default is BoostParams, which is frozen; the "
    "check knows plain types only",
    "check_dtype_object": "all bad input is an InputError, a ValueError; the check wants a "
    "TypeError for objects that are no numbers",
    "check_sample_weight_equivalence_on_dense_data": "the check moves the rows to other places "
    "and so to other folds and arms; test_a_weight_is_a_number_of_rows keeps them",
}


def test_scikit_learns_own_checks(name):
    """All but three, each with its reason; only the check of other array libraries is skipped."""
    results = check_estimator(
        ONE_TRIAL[name](QUICK), expected_failed_checks=NOT_OURS, on_fail="raise", on_skip=None
    )
    skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}
    assert sum(r["status"] == "passed" for r in results) > 40


def test_arguments_are_stored_verbatim_and_cloned(new):
    types = ["q", "q", "c"]
    arguments = {"params": QUICK, "n_folds": 4, "feature_types": types, "clip": 0.02}
    learner = new(**arguments)
    assert learner.get_params() == arguments
    assert learner.feature_types is types
    fitted = fit(learner, simulate(500))
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "boosters_")
    assert new().set_params(n_folds=5).n_folds == 5


def test_fit_returns_itself_and_leaves_its_arguments_alone(new):
    data = simulate(500)
    before = [a.copy() for a in data]
    learner = new()
    assert fit(learner, data) is learner
    for a, b in zip(data, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert learner.get_params() == new().get_params()


def test_a_second_fit_forgets_the_first(new):
    learner = fit(new(), simulate(600, n_arms=3))
    again, fresh = fit(learner, simulate(500, seed=1)), fit(new(), simulate(500, seed=1))
    assert raw(again) == raw(fresh)
    assert vars(again).keys() == vars(fresh).keys()
    assert (again.n_arms_, again.constants_) == (fresh.n_arms_, fresh.constants_)


def test_nothing_is_predicted_before_a_fit(new):
    for predict in (new().predict, new().predict_outcome):
        with pytest.raises(NotFittedError):
            predict(np.zeros((1, 3)))


def test_uplift_is_what_outcomes_differ_by(name, new, data):
    """Exactly; learners that boost the effect itself add it to arm 0's outcome.

    There `predict_outcome` of a binary outcome is held between 0 and 1.
    """
    learner = fit(new(feature_types=TYPES), data)
    outcome, uplift = learner.predict_outcome(data[0]), learner.predict(data[0])
    assert outcome.shape == (len(data[0]), learner.n_arms_ + 1)
    assert uplift.shape == data[3].shape
    assert np.isfinite(outcome).all()
    if name in OF_OUTCOMES:
        np.testing.assert_array_equal(uplift, outcome[:, 1:] - outcome[:, :1])
    else:
        binary = learner.objective_ == "binary:logistic"
        held = (outcome[:, :1] + uplift).clip(0, 1) if binary else outcome[:, :1] + uplift
        np.testing.assert_allclose(outcome[:, 1:], held, rtol=1e-12)


def test_a_fitted_learner_can_be_pickled_in_memory(new, data):
    learner = fit(new(), data)
    again = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(again.predict(data[0]), learner.predict(data[0]))


def test_both_predictions_at_once_are_the_two(new, data):
    learner = fit(new(), data)
    both = learner.predict_both(data[0])
    np.testing.assert_array_equal(both.outcome, learner.predict_outcome(data[0]))
    np.testing.assert_array_equal(both.uplift, learner.predict(data[0]))


def test_a_learner_can_be_described_in_json(new, data):
    """Boosters beside it, and the description makes it anew."""
    learner = fit(new(n_folds=4, clip=0.02, feature_types=TYPES), data)
    about = json.loads(json.dumps(learner.describe()))
    again = type(learner).described(about, learner.boosters_, TYPES)
    assert again.get_params() == learner.get_params()
    np.testing.assert_array_equal(again.predict(data[0]), learner.predict(data[0]))
    np.testing.assert_array_equal(again.predict_outcome(data[0]), learner.predict_outcome(data[0]))


def test_predictions_do_not_depend_on_the_rows_beside_them(new, monkeypatch):
    """One row alone, or many in chunks."""
    data = simulate(1000)
    X, learner = data[0], fit(new(), data)
    whole = learner.predict(X)
    np.testing.assert_array_equal(learner.predict(X[7:8]), whole[7:8])
    monkeypatch.setattr("uplift.learners.base.CHUNK_ROWS", 64)
    np.testing.assert_array_equal(learner.predict(X), whole)


def test_the_order_of_rows_means_nothing(new, data):
    """Sums over rows in another order: equal to float32's rounding."""
    X, y, arm, _ = data
    groups = np.arange(len(X)) // 3
    order = np.random.default_rng(1).permutation(len(X))
    a = new(feature_types=TYPES).fit(X, y, arm, groups=groups)
    b = new(feature_types=TYPES).fit(X[order], y[order], arm[order], groups=groups[order])
    np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-6)


def test_the_same_seed_gives_the_same_bytes(new, data):
    assert raw(fit(new(), data)) == raw(fit(new(), data))


def test_another_seed_gives_other_folds(new):
    data = simulate(1000)
    found = [new(replace(QUICK, seed=seed)).fit_out_of_fold(*data[:3]) for seed in (0, 1)]
    assert not np.array_equal(found[0].outcome, found[1].outcome)


def test_the_number_of_threads_changes_no_byte(new):
    """More rows than one block of the histogram, so that threads do share them."""
    data, few = simulate(20_000), replace(QUICK, max_rounds=10)
    assert raw(fit(new(few), data)) == raw(fit(new(replace(few, n_threads=2)), data))


def test_a_weight_is_a_number_of_rows(new, data):
    """Weight 2 is a row twice, weight 0 none.

    Features take fewer values than there are bins, for the cuts do not know of weights.
    """
    X, y, arm, _ = data
    X, groups = np.round(X, 1), np.arange(len(X))
    weight = np.random.default_rng(1).integers(0, 3, len(X))
    rows = np.repeat(groups, weight)
    weighted = new().fit(X, y, arm, sample_weight=weight, groups=groups)
    repeated = new().fit(X[rows], y[rows], arm[rows], groups=groups[rows])
    np.testing.assert_allclose(weighted.predict(X[rows]), repeated.predict(X[rows]), atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_arms_may_change_their_numbers(name, new, binary, known):
    """The columns of the uplift change places with the arms, to float32's rounding.

    S with one arm fewer: XGBoost splits up to three categories one against the rest, four and more
    in two sets, and then the numbers decide on the side of arms that a node is without.
    """
    X, y, arm, _ = simulate(1500, n_arms=3, binary=binary)
    if name == "s":
        arm = np.minimum(arm, 2)
    number = np.array([0, 2, 1]) if name == "s" else np.array([0, 3, 1, 2])
    propensity = uniform(arm) if known else None
    first = new().fit(X, y, arm, propensity=propensity).predict(X)
    second = new().fit(X, y, number[arm], propensity=propensity).predict(X)
    np.testing.assert_allclose(first, second[:, number[1:] - 1], atol=1e-6)


def test_s_with_many_arms_hardly_minds_their_numbers():
    """Of four arms, 98 % of the predictions: the rest are in nodes that some arms are not in."""
    X, y, arm, _ = simulate(n_arms=3)
    number = np.array([0, 3, 1, 2])
    first = LEARNERS["s"](QUICK).fit(X, y, arm).predict(X)
    second = LEARNERS["s"](QUICK).fit(X, y, number[arm]).predict(X)
    assert np.isclose(first, second[:, number[1:] - 1], atol=1e-6).mean() > 0.98


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_the_effect_of_none_over_an_arm_is_the_negative(name, new, binary, known):
    """To float32's rounding, but for logit.

    Logit and proportional put the arm on top of arm 0's margin, and so differ when the two change
    places; their mean agrees within 4 standard errors of a difference of means of 750 rows of
    variance 1/4.
    """
    X, y, arm, _ = simulate(1500, binary=binary)
    propensity = uniform(arm) if known else None
    forth = new().fit(X, y, arm, propensity=propensity).predict(X)
    back = new().fit(X, y, 1 - arm, propensity=propensity).predict(X)
    if name in ("logit", "proportional"):
        assert abs(forth.mean() + back.mean()) < 4 * np.sqrt(2 * 0.25 / 750)
    else:
        np.testing.assert_allclose(forth, -back, atol=1e-6)


def test_groups_keep_users_whole_when_rounds_are_chosen(new):
    """Noise by user that a feature identifies: rows alone overfit it, users do not."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(100), 20)
    y = rng.normal(size=100)[user] + 0.01 * rng.normal(size=2000)
    X, arm = rng.normal(size=100)[user][:, None], rng.integers(0, 2, 2000)
    rows, users = new().fit(X, y, arm), new().fit(X, y, arm, groups=user)
    rounds = [sum(m.rounds for m in x.boosters_.values()) for x in (rows, users)]
    assert rounds[1] < rounds[0] / 2


def test_groups_of_any_type_make_the_same_folds(new):
    """Numbers of any width alike; texts hash by themselves, the same in every container."""
    import pandas as pd

    data = simulate(600)
    user = np.arange(600) // 3
    numbers = [raw(fit(new(), data, groups=g)) for g in (user, user.astype(np.int16), list(user))]
    assert numbers[0] == numbers[1] == numbers[2]
    texts = np.char.add("u", user.astype(str))
    found = [raw(fit(new(), data, groups=g)) for g in (texts, pd.Series(texts), texts.tolist())]
    assert found[0] == found[1] == found[2]


def test_the_defaults_work(name):
    learner = LEARNERS[name](BoostParams(n_threads=1))
    assert np.isfinite(fit(learner, simulate(500)).predict(np.zeros((1, 3)))).all()
