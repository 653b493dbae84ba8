"""Our X, R and DR against causalml's and econml's, on the nuisances that ours were fitted on.

Our learner is fitted as always; what its boosters expect out-of-fold is noted and handed to the
other library row by row, and so are its number of rounds. What is left is the definition. Features
take fewer values than there are bins, so that all boosters cut alike whatever their rows.
"""

from dataclasses import replace

import numpy as np
import pytest
import xgboost as xgb
from simulated_logs import QUICK
from sklearn.base import BaseEstimator

from uplift import DRLearner, RLearner, XLearner
from uplift.learners.training import Training
from uplift.propensity import pair_share

N = 3000
#: Boosters in float32: a few units of its last place, summed over some tens of trees.
SAME = {"rtol": 0, "atol": 1e-5}
PARAMS = replace(QUICK, min_child_weight=1.0)


def simulate(n_arms, seed=0):
    """Distinct rows of few values, a continuous outcome, propensities that differ by row."""
    rng = np.random.default_rng(seed)
    code = rng.choice(20**4, N, replace=False)
    X = np.column_stack([code // 20**k % 20 for k in range(4)]).astype(np.float32)
    p = np.where(X[:, :1] < 10, 0.4, 0.2) * np.ones(n_arms)
    p = np.column_stack([1 - p.sum(axis=1), p]) if n_arms == 1 else np.column_stack([p, p[:, 0]])
    p /= p.sum(axis=1, keepdims=True)
    arm = (rng.random((N, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
    y = 0.1 * X[:, 1] + arm * (X[:, 2] > 10) + rng.normal(size=N)
    return X, y, arm, p


@pytest.fixture
def means(monkeypatch):
    """Note, in their order, the outcomes that a fit of ours expects out-of-fold."""
    noted = []
    original = Training.mean_out_of_fold
    monkeypatch.setattr(
        Training, "mean_out_of_fold", lambda data, b: noted.append(original(data, b)) or noted[-1]
    )
    return noted


class Lookup(BaseEstimator):
    """A "model" that knows the answer of every row; `after` features follow X's own."""

    def __init__(self, table, width=4):
        self.table, self.width = table, width

    @classmethod
    def of(cls, X, values):
        keys = (row.tobytes() for row in X)
        return cls(dict(zip(keys, values, strict=True)), X.shape[1])

    def fit(self, X, y, sample_weight=None):
        return self

    def predict(self, X):
        rows = np.ascontiguousarray(X[:, : self.width], dtype=np.float32)
        return np.array([self.table[row.tobytes()] for row in rows])


class LookupByArm(Lookup):
    """The same for a model of X and one-hot arms 1 .. A: the table holds (A + 1,) values."""

    def predict(self, X):
        arm = (X[:, self.width :] * np.arange(1, X.shape[1] - self.width + 1)).sum(axis=1)
        return super().predict(X)[np.arange(len(X)), arm.astype(int)]


class LookupClass(Lookup):
    """The same for a classifier of the arm."""

    def predict_proba(self, X):
        return super().predict(X)


class Spy(BaseEstimator):
    """An effect model that keeps what it was fitted on."""

    def fit(self, X, y, sample_weight=None):
        self.X, self.y = X, y
        return self

    def predict(self, X):
        return np.zeros(len(X))


def effect_model(learner, name):
    """XGBoost's own regressor as our booster of that name was trained."""
    options = PARAMS.to_xgboost()
    options["n_jobs"] = options.pop("nthread")
    return xgb.XGBRegressor(n_estimators=learner.boosters_[name].rounds, **options)


def test_the_x_learner_is_causalmls_where_the_weight_is_the_arms_share(means):
    from causalml.inference.meta import BaseXRegressor

    X, y, arm, p = simulate(1)
    ours = XLearner(PARAMS).fit(X, y, arm, propensity=p)
    theirs = BaseXRegressor(
        control_outcome_learner=Lookup.of(X, means[0]),
        treatment_outcome_learner=Lookup.of(X, means[1]),
        control_effect_learner=effect_model(ours, "untreated_1"),
        treatment_effect_learner=effect_model(ours, "treated_1"),
    )
    share = np.full(N, arm.mean())
    by_share = theirs.fit(X, treatment=arm, y=y, p=share).predict(X, p=share)
    np.testing.assert_allclose(ours.predict(X), by_share, **SAME)
    by_propensity = theirs.predict(X, p=p[:, 1])
    assert np.abs(ours.predict(X) - by_propensity).max() > 0.01


def test_the_x_learner_is_econmls_where_the_weight_is_the_arms_share(means):
    from econml.metalearners import XLearner as Theirs

    X, y, arm, p = simulate(1)
    ours = XLearner(PARAMS).fit(X, y, arm, propensity=p)
    outcomes = [Lookup.of(X, mean) for mean in means]
    effects = [effect_model(ours, name) for name in ("untreated_1", "treated_1")]
    found = {}
    for name, share in {"share": np.full(N, arm.mean()), "propensity": p[:, 1]}.items():
        model = LookupClass.of(X, np.column_stack([1 - share, share]))
        theirs = Theirs(models=outcomes, cate_models=effects, propensity_model=model)
        found[name] = theirs.fit(y, arm, X=X).const_marginal_effect(X)
    np.testing.assert_allclose(ours.predict(X), found["share"], **SAME)
    assert np.abs(ours.predict(X) - found["propensity"]).max() > 0.01


@pytest.mark.parametrize("weighted", [False, True])
def test_the_r_learner_is_causalmls(means, weighted):
    from causalml.inference.meta import BaseRLearner

    X, y, arm, p = simulate(1)
    weight = np.random.default_rng(1).uniform(0.5, 2, N) if weighted else None
    ours = RLearner(PARAMS).fit(X, y, arm, propensity=p, sample_weight=weight)
    theirs = BaseRLearner(
        outcome_learner=Lookup.of(X, means[0]),
        effect_learner=effect_model(ours, "effect_1"),
        cv_n_jobs=1,
    )
    theirs.fit(X, treatment=arm, y=y, p=p[:, 1], sample_weight=weight, verbose=False)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), **SAME)


def test_the_r_learner_of_several_arms_is_causalmls_but_for_the_mean(means):
    """causalml's mean is over all arms, ours over arms 0 and a: the residuals differ."""
    from causalml.inference.meta import BaseRLearner

    X, y, arm, p = simulate(2)
    ours = RLearner(PARAMS).fit(X, y, arm, propensity=p)
    shares = {a: pair_share(p, a) for a in (1, 2)}
    for a in (1, 2):
        theirs = BaseRLearner(
            outcome_learner=Lookup.of(X, means[a - 1]),
            effect_learner=effect_model(ours, f"effect_{a}"),
            cv_n_jobs=1,
        )
        theirs.fit(X, treatment=arm, y=y, p=shares, verbose=False)
        found = theirs.predict(X)
        np.testing.assert_allclose(ours.predict(X)[:, a - 1], found[:, a - 1], **SAME)
        assert np.abs(ours.predict(X)[:, 2 - a] - found[:, 2 - a]).max() > 0.01


def test_the_r_learner_is_econmls(means):
    from econml.dml import NonParamDML

    X, y, arm, p = simulate(1)
    ours = RLearner(PARAMS).fit(X, y, arm, propensity=p)
    theirs = NonParamDML(
        model_y=Lookup.of(X, means[0]),
        model_t=LookupClass.of(X, p),
        model_final=effect_model(ours, "effect_1"),
        discrete_treatment=True,
        random_state=0,
    )
    theirs.fit(y, arm, X=X)
    np.testing.assert_allclose(ours.predict(X), theirs.const_marginal_effect(X), **SAME)


@pytest.mark.parametrize("n_arms", [1, 2])
def test_the_dr_learner_is_econmls(means, n_arms):
    from econml.dr import DRLearner as Theirs

    X, y, arm, p = simulate(n_arms)
    ours = DRLearner(PARAMS).fit(X, y, arm, propensity=p)
    for a in range(1, n_arms + 1):
        theirs = Theirs(
            model_propensity=LookupClass.of(X, p),
            model_regression=LookupByArm.of(X, np.column_stack(means)),
            model_final=effect_model(ours, f"effect_{a}"),
            random_state=0,
        )
        theirs.fit(y, arm, X=X)
        found = theirs.const_marginal_effect(X)[:, a - 1]
        np.testing.assert_allclose(ours.predict(X)[:, a - 1], found, **SAME)


@pytest.mark.parametrize("n_arms", [1, 2])
def test_the_dr_scores_are_causalmls_on_the_rows_that_it_keeps(means, monkeypatch, n_arms):
    """With two arms the rows of a pair, where causalml's propensity is that of the pair.

    Without arm 2 among the rows, ``p_a`` is not ``P(arm a | x, arm 0 or a)``: scores differ.
    """
    from causalml.inference.meta import BaseDRRegressor

    noted = []
    original = Training.effect_task
    monkeypatch.setattr(
        Training, "effect_task", lambda data, *v: noted.append(v[0]) or original(data, *v)
    )
    X, y, arm, p = simulate(n_arms)
    DRLearner(PARAMS).fit(X, y, arm, propensity=p)
    theirs = BaseDRRegressor(
        control_outcome_learner=Lookup.of(X, means[0]),
        treatment_outcome_learner=Lookup.of(X, means[1]),
        treatment_effect_learner=Spy(),
    )
    given = {a: p[:, a] if n_arms == 1 else pair_share(p, a) for a in range(1, n_arms + 1)}
    theirs.fit(X, treatment=arm, y=y, p=given, seed=0)
    seen = theirs.models_tau[1]
    assert [len(spy.y) for spy in seen] == pytest.approx([np.isin(arm, (0, 1)).sum() / 3] * 3, 0.1)
    ours = Lookup.of(X, noted[0])
    gaps = np.concatenate([spy.y - ours.predict(spy.X) for spy in seen])
    if n_arms == 1:
        np.testing.assert_allclose(gaps, 0, atol=1e-9)
    else:
        assert np.abs(gaps).max() > 0.01
