import numpy as np
import pytest

from offline_eval.estimators import ESTIMATORS, Decisions, mixture_propensity
from uplift.errors import InputError


def test_mixture_by_hand() -> None:
    propensity = np.array([[0.5, 0.1], [0.2, 0.4], [1.0, 0.0]])
    found = mixture_propensity(propensity, np.array([0, 1, 0]))
    np.testing.assert_allclose(found, [(1.0 + 0.1) / 3, (0.4 + 0.4) / 3, 2 / 3])


def test_two_loggers_as_one_are_unbiased_and_less_noisy() -> None:
    """One logger nearly never does what the policy always does."""
    rng, chance = np.random.default_rng(0), np.array([0.02, 0.5])
    errors = []
    for _ in range(500):
        logger = rng.integers(0, 2, 1000)
        arm = rng.random(1000) < chance[logger]
        reward = np.where(arm, 2.0, 1.0) + rng.normal(0, 0.1, 1000)
        of_arm = np.where(arm[:, None], chance, 1 - chance)
        own = of_arm[np.arange(1000), logger]
        columns = reward, arm.astype(float), np.arange(1000)
        errors.append(
            [
                ESTIMATORS["ips"].value(Decisions(columns[0], p, *columns[1:])) - 2.0
                for p in (own, mixture_propensity(of_arm, logger))
            ]
        )
    mean, spread = np.mean(errors, axis=0), np.std(errors, axis=0)
    assert (np.abs(mean) < 4 * spread / np.sqrt(500)).all()
    assert spread[1] < 0.5 * spread[0]


def test_bad_loggers_are_told() -> None:
    propensity = np.array([[0.5, 0.1], [0.0, 0.4]])
    for logger in (np.array([0, 2]), np.array([0]), np.array([-1, 0])):
        with pytest.raises(InputError, match="numbers from 0 to 1"):
            mixture_propensity(propensity, logger)
    with pytest.raises(InputError, match="gives its arm the propensity 0"):
        mixture_propensity(propensity, np.array([0, 0]))


def test_no_decisions_are_told() -> None:
    nothing = np.zeros(0)
    with pytest.raises(InputError, match="at least one decision"):
        Decisions(nothing, nothing, nothing, nothing.astype(int))
