"""Logs with a known ranking: users of 5 points each, whose rows share noise and most of a score."""

from dataclasses import dataclass

import numpy as np

PER_USER = 5


@dataclass(frozen=True)
class Log:
    """Scores uniform on (0, 1): u ranks arm 1 truly, v arm 2, noisy is a worse ranking of arm 1.

    The effects are 2 u and 3 v, the cost of arm 1 as an outcome is 0.5 + u, all with noise.
    """

    u: np.ndarray
    v: np.ndarray
    noisy: np.ndarray
    effect: np.ndarray
    cost: np.ndarray
    user: np.ndarray


def simulate(n, seed=0, noise=1.0):
    rng, users = np.random.default_rng(seed), n // PER_USER
    user = np.repeat(np.arange(users), PER_USER)
    u, v = ((rng.random(users)[user] + 0.1 * rng.random(n)) % 1 for _ in range(2))
    shared = noise * rng.normal(0, 1, users)[user]
    own = noise * rng.normal(0, 1, (3, n))
    return Log(
        u=u,
        v=v,
        noisy=u + 0.5 * rng.random(n),
        effect=np.column_stack([2 * u + shared + own[0], 3 * v + shared + own[1]]),
        cost=0.5 + u + 0.3 * shared + 0.5 * own[2],
        user=user,
    )


def ends(estimate):
    return [estimate.lower, estimate.value, estimate.upper]
