"""A trial whose outcome and whose uplift are driven by different features."""

from dataclasses import dataclass

import numpy as np

from uplift.arrays import Float32Array, FloatArray, IntArray
from uplift.explain import Subject

NAMES = ("outcome_only", "uplift_only", "noise", "kind")
VOCABULARY = {"kind": ("a", "b", "c")}


@dataclass(frozen=True)
class Trial:
    """Rows of users; `effect` is what inverse propensities make of a fair coin's outcome."""

    X: Float32Array
    effect: FloatArray
    cluster: IntArray
    truth: FloatArray

    def subject(self, predict=None, **changes):
        roles = {"names": NAMES, "vocabulary": VOCABULARY, "arm": 1}
        return Subject(predict or true_uplift, self.X, **{**roles, **changes})


def true_uplift(X):
    """1 per unit of `uplift_only` (0 where missing), and 0.5 more for the kind c."""
    return (np.nan_to_num(X[:, 1]) + 0.5 * (X[:, 3] == 2)).astype(np.float64)[:, None]


def trial(n_users=400, seed=0, noise=1.0):
    """Five rows a user, who share part of their noise; the outcome has another 3 of `outcome_only`.

    The effect score is doubly robust with a model of the outcome that is right, so that its own
    noise is ``2 noise`` times a normal one (propensity 1/2).
    """
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n_users), 5)
    n = len(cluster)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    X[:, 3] = rng.integers(0, 3, n)
    X[rng.random(n) < 0.1, 1] = np.nan
    truth = true_uplift(X)[:, 0]
    shared = rng.normal(size=n_users)[cluster]
    residual = noise * (0.6 * shared + 0.8 * rng.normal(size=n))
    sign = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    return Trial(X, truth + 2 * sign * residual, cluster, truth)
