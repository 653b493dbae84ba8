"""Small trials with known truth, and what the tests of the learners do with them."""

from typing import Any

import numpy as np

#: The learners that the contract is checked for.
NAMES = ("s", "t", "x", "r", "dr", "logit", "class_transform", "proportional")
#: Those that learn who gains more: the proportional learner has one effect for all, on the scale
#: of the loss.
SHAPED = NAMES[:-1]
#: Those whose uplift is the difference of two predicted outcomes.
OF_OUTCOMES = ("s", "t", "logit", "proportional")
#: Those that weigh by propensities.
WEIGHING = ("r", "dr", "class_transform", "proportional")

TYPES = ("q", "q", "c")
KINDS: dict[str, dict[str, Any]] = {
    "binary": {},
    "continuous": {"binary": False},
    "three arms": {"n_arms": 3},
    "three arms continuous": {"n_arms": 3, "binary": False},
}


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


def fit(learner, data, **options):
    X, y, arm, _ = data
    return learner.fit(X, y, arm, **options)


def uniform(arm):
    """Return the propensities of `simulate`, of every arm."""
    arms = int(arm.max()) + 1
    return np.full((len(arm), arms), 1 / arms)


def raw(learner):
    """Return the bytes of each booster by name."""
    return {name: m.booster.save_raw("ubj") for name, m in learner.boosters_.items()}
