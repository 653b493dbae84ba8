"""Digits as a bandit: the classes are the arms, and a reward tells whether the class is right.

The published set-up (Open Bandit Pipeline, examples/multiclass, digits, 30 runs): 70 % of the rows
evaluate; the logging policy is 0.4 a logistic regression and 0.6 uniform, the evaluated one 0.9 a
random forest and 0.1 uniform; the outcome model is boosted trees, 3-fold.
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, train_test_split

from offline_eval.estimators import DR, ESTIMATORS, Decisions, Plain, Shrink, Switch, Tuned

RUNS, SEED = 30, 12345
LIMITS = (1.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10000.0)
COMPARED = {
    **{name: ESTIMATORS[name] for name in ("dm", "ips", "snips", "dr", "sndr")},
    "switch": Tuned(DR(), (*map(Switch, LIMITS), Plain()), "slope"),
    "dros": Tuned(DR(), (*map(Shrink, LIMITS), Plain()), "slope"),
}
PUBLISHED = {
    "dm": 0.4365,
    "ips": 0.0303,
    "snips": 0.0228,
    "dr": 0.0162,
    "sndr": 0.0221,
    "switch": 0.0347,
    "dros": 0.0159,
}
#: Standard deviations over the 30 runs, as published.
SPREAD = {
    "dm": 0.0176,
    "ips": 0.0245,
    "snips": 0.0179,
    "dr": 0.0127,
    "sndr": 0.0169,
    "switch": 0.0186,
    "dros": 0.0125,
}


def mixed(share: float, chosen: np.ndarray) -> np.ndarray:
    """(n, 10) probabilities: a share for the chosen class, the rest uniform."""
    return (1 - share) / 10 + share * np.eye(10)[chosen]


def modelled(X: np.ndarray, arm: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """(n, 10) cross-fitted P(right) of each class."""
    q = np.empty((len(X), 10))
    trees = {"max_iter": 30, "learning_rate": 0.01, "max_depth": 5, "min_samples_leaf": 10}
    for fit, held in KFold(3, shuffle=True, random_state=SEED).split(X):
        model = HistGradientBoostingClassifier(**trees, random_state=SEED)
        model.fit(np.c_[X[fit], np.eye(10)[arm[fit]]], reward[fit])
        for a in range(10):
            q[held, a] = model.predict_proba(np.c_[X[held], np.eye(10)[[a] * len(held)]])[:, 1]
    return q


def relative_errors(run: int) -> list[float]:
    X, y = load_digits(return_X_y=True)
    X, held, y, label = train_test_split(X, y, test_size=0.7, random_state=run)
    linear = LogisticRegression(C=100, max_iter=10_000, random_state=SEED).fit(X, y)
    forest = RandomForestClassifier(30, max_depth=5, min_samples_leaf=10, random_state=SEED)
    logging = mixed(0.4, linear.predict(held))
    policy = mixed(0.9, forest.fit(X, y).predict(held))
    rng, rows = np.random.RandomState(run), np.arange(len(held))
    arm = np.array([rng.choice(10, p=p) for p in logging])
    reward = (arm == label).astype(np.float64)
    q = modelled(held, arm, reward)
    truth = policy[rows, label].mean()
    decisions = Decisions(
        *(reward, logging[rows, arm], policy[rows, arm], rows, q[rows, arm]),
        np.einsum("na,na->n", policy, q),
    )
    return [abs(e.value(decisions) - truth) / truth for e in COMPARED.values()]


@pytest.mark.slow
def test_errors_are_those_published() -> None:
    """Within two standard errors of 30 runs: forest and split draw other numbers since.

    DR at or below .0162 is therefore not to be had to the digit.
    """
    found = dict(
        zip(COMPARED, np.mean([relative_errors(i) for i in range(RUNS)], axis=0), strict=True)
    )
    print({name: round(float(error), 4) for name, error in found.items()})
    for name, published in PUBLISHED.items():
        assert abs(found[name] - published) < 2 * SPREAD[name] / np.sqrt(RUNS), name
    assert max(found["dr"], found["dros"]) < min(found["ips"], found["snips"], found["sndr"])
