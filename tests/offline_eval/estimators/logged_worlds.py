"""A world in which users differ: in their mood, their kind and how often they come.

E[reward | kind x, arm a] = 1 + x + a tau(x); half of the users are of each kind.
"""

import numpy as np

from offline_eval.estimators import Decisions

LOGGED, POLICY, TAU = np.array([0.2, 0.5]), np.array([0.9, 0.3]), np.array([1.0, -0.5])
TRUTH = float(np.mean(1 + np.array([0, 1]) + POLICY * TAU))


def world(rng: np.random.Generator, users: int, *, wrong: bool = False) -> Decisions:
    cluster = np.repeat(np.arange(users), 1 + rng.poisson(3, users))
    kind, mood = rng.integers(0, 2, users)[cluster], rng.normal(0, 0.7, users)[cluster]
    arm = rng.random(len(cluster)) < LOGGED[kind]
    reward = 1 + kind + arm * TAU[kind] + mood + rng.normal(0, 0.5, len(cluster))
    model = np.stack([1.0 + kind, 1.0 + kind + TAU[kind]], axis=1)
    if wrong:
        model = np.stack([3.0 - 2 * kind, 5.0 * kind], axis=1)
    return Decisions(
        reward,
        np.where(arm, LOGGED[kind], 1 - LOGGED[kind]),
        np.where(arm, POLICY[kind], 1 - POLICY[kind]),
        cluster,
        model[np.arange(len(cluster)), arm.astype(int)],
        (1 - POLICY[kind]) * model[:, 0] + POLICY[kind] * model[:, 1],
    )
