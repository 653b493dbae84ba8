"""Several logging policies in one log."""

import numpy as np
import pytest

from offline_eval.estimators import Decisions, ips, mixture_propensity
from uplift.errors import InputError


def test_the_mixture_by_hand() -> None:
    propensity = np.array([[0.5, 0.1], [0.2, 0.0], [0.4, 0.8], [0.5, 0.5]])
    mixed = mixture_propensity(propensity, np.array([0, 0, 1, 0]))
    np.testing.assert_allclose(mixed, 0.75 * propensity[:, 0] + 0.25 * propensity[:, 1])


def test_balanced_weights_are_unbiased_and_less_noisy() -> None:
    """A careful and a bold logger: the policy does what the careful one hardly ever does."""
    rng, chance = np.random.default_rng(0), np.array([0.02, 0.6])
    values = []
    for _ in range(400):
        logger = rng.integers(0, 2, 600)
        hit = rng.random(600) < chance[logger]
        reward = 1.0 + hit + rng.normal(0, 1, 600)
        each = np.where(hit[:, None], chance, 1 - chance)
        own = each[np.arange(600), logger]
        values.append(
            [
                ips.value(Decisions(reward, p, hit.astype(float), np.arange(600)))
                for p in (own, mixture_propensity(each, logger))
            ]
        )
    mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
    assert (np.abs(mean - 2.0) < 4 * spread / 20).all()
    assert spread[1] < spread[0] / 2


@pytest.mark.parametrize(
    ("propensity", "logger", "sentence"),
    [
        (np.ones((3, 2)), np.zeros(4, int), r"expected \(4, loggers\)"),
        (np.ones(3), np.zeros(3, int), r"expected \(3, loggers\)"),
        (np.ones((3, 2)), np.array([0, 1, 2]), "must number the 2 columns"),
        (np.full((3, 2), 1.5), np.zeros(3, int), r"must lie in \[0, 1\]"),
        (np.full((3, 2), np.nan), np.zeros(3, int), r"must lie in \[0, 1\]"),
        (np.zeros((3, 2)), np.zeros(3, int), "a probability above 0"),
    ],
)
def test_bad_loggers_are_told(propensity: np.ndarray, logger: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        mixture_propensity(propensity, logger)
