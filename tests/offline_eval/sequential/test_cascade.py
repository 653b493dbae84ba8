"""Slates whose rewards depend on the positions before: the cascade that cascade-DR is made for."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from offline_eval.sequential import PDIS, TIS, SequentialDR, Sessions
from uplift.arrays import FloatArray, IntArray

ROUNDS, LENGTH, ITEMS, DIMENSION = 1000, 5, 5, 5
#: The evaluated policy's logits over the logging one's: the closer half of the published range.
#: Further off (-0.8 to 0) all but cascade-DR drown in weights, and no mean over 200 worlds is
#: stable: the ratio of IPS was 75 in one stream of draws and 1,009 in another.
CLOSENESS = (0.2, 0.4, 0.6, 0.8)
RUNS = 200


@dataclass(frozen=True)
class World:
    """Reward at a position: logistic in context, item and the items placed before it."""

    item: FloatArray  # (DIMENSION, ITEMS)
    bias: FloatArray  # (ITEMS,)
    before: FloatArray  # (ITEMS, ITEMS): what an item adds to a later one
    logging: FloatArray  # (DIMENSION, ITEMS)
    closeness: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "World":
        shape = (DIMENSION, ITEMS)
        return cls(
            rng.uniform(-1, 1, shape),
            rng.uniform(-1, 1, ITEMS),
            rng.uniform(-0.5, 0.5, (ITEMS, ITEMS)),
            rng.uniform(-0.5, 0.5, shape),
            float(rng.choice(CLOSENESS)),
        )

    def policies(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, ITEMS) logging and evaluated policy, the same at every position."""
        logit = x @ self.logging
        return softmax(logit), softmax(self.closeness * logit)

    def chance(self, x: FloatArray, a: IntArray, position: int) -> FloatArray:
        """P(reward at a position) given the items up to it, decaying with their distance."""
        here = a[:, position]
        logit = (x @ self.item)[np.arange(len(x)), here] + self.bias[here]
        for earlier in range(position):
            logit += self.before[a[:, earlier], here] / (position - earlier)
        return 1 / (1 + np.exp(-logit))


def softmax(logit: FloatArray) -> FloatArray:
    raised = np.exp(logit - logit.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def drawn_items(rng: np.random.Generator, policy: FloatArray) -> IntArray:
    edges = np.cumsum(policy[:, :-1], axis=1)
    uniform = rng.random((len(policy), LENGTH))
    return (uniform[:, :, None] >= edges[:, None, :]).sum(axis=2)


def features(x: FloatArray, a: IntArray, here: IntArray, position: int) -> FloatArray:
    """Context, item here, their products, and the items before."""
    item = np.eye(ITEMS)[here]
    before = np.eye(ITEMS)[a[:, :position]].reshape(len(x), -1)
    products = (x[:, :, None] * item[:, None, :]).reshape(len(x), -1)
    return np.column_stack([x, item, products, before])


def values(
    x: FloatArray, a: IntArray, r: FloatArray, policy: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Rewards from a position on, fitted backwards, weighted: (n, LENGTH) logged, under policy."""
    logged, mean = np.zeros(r.shape), np.zeros((len(x), LENGTH + 1))
    for position in reversed(range(LENGTH)):
        model = Ridge(1.0).fit(
            features(x, a, a[:, position], position),
            r[:, position] + mean[:, position + 1],
            sample_weight=weight[:, position],
        )
        every = [np.full(len(x), item) for item in range(ITEMS)]
        table = np.stack([model.predict(features(x, a, h, position)) for h in every], axis=1)
        logged[:, position] = table[np.arange(len(x)), a[:, position]]
        mean[:, position] = (policy * table).sum(axis=1)
    return logged, mean[:, :LENGTH]


def errors(rng: np.random.Generator) -> list[float]:
    """Squared errors of IPS, RIPS and cascade-DR in one world."""
    world = World.drawn(rng)
    x = rng.normal(0, 1, (ROUNDS, DIMENSION))
    logging, policy = world.policies(x)
    a = drawn_items(rng, logging)
    chance = np.stack([world.chance(x, a, i) for i in range(LENGTH)], axis=1)
    r = (rng.random(chance.shape) < chance).astype(np.float64)
    propensity = np.take_along_axis(logging, a, axis=1)
    target = np.take_along_axis(policy, a, axis=1)
    weight = np.cumprod(target / propensity, axis=1)
    start, flat = np.arange(0, ROUNDS * LENGTH, LENGTH), (propensity, target)
    sessions = Sessions(r.ravel(), *(p.ravel() for p in flat), start, np.arange(ROUNDS))
    logged, mean = values(x, a, r, policy, weight)
    sessions = sessions.with_values(logged.ravel(), mean.ravel())

    fresh = np.repeat(x, 40, axis=0)  # the truth of these contexts
    shown = drawn_items(rng, np.repeat(policy, 40, axis=0))
    truth = sum(world.chance(fresh, shown, i).mean() for i in range(LENGTH))
    return [(e(sessions).value - truth) ** 2 for e in (TIS(), PDIS(), SequentialDR())]


@pytest.mark.slow
def test_cascade_dr_beats_rips_and_ips() -> None:
    """The published figure reads 1 : 1.5 : 2.5 at 5 positions and 1,000 rounds.

    Here the rewards are closer to what the fitted values can say, and the gain is larger: 4.3 and
    12.8; in two other streams of draws 3.5 and 7.2, 3.9 and 7.8. At a closeness of 0.8 alone it is
    1.4 and 1.6, less than over all. Source: Kiyohara et al. 2022, figures for cascade rewards,
    read off.
    """
    rng = np.random.default_rng(0)
    ips, rips, cascade = np.mean([errors(rng) for _ in range(RUNS)], axis=0)
    print(f"squared error over cascade-DR's: RIPS {rips / cascade:.2f}, IPS {ips / cascade:.2f}")
    assert cascade <= rips / 1.5
    assert cascade <= ips / 2.5
