"""A rate followed through counts: as well as can be, jumps at once, noise of any size."""

import numpy as np
import pytest

from policy.random_walk import JUMP, Noise, RandomWalk


def test_the_walk_weighs_counts_by_their_noise():
    rng = np.random.default_rng(2)
    walk, rate = RandomWalk(wander=1e-5), 1000.0
    errors = []
    for _ in range(3000):
        rate *= np.exp(rng.normal(0, np.sqrt(1e-5)))
        walk.go()
        walk.correct(rng.poisson(rate), 1.0)
        errors.append(walk.log - np.log(rate))
    # the steady state of the filter: P^2 / (P + R) = Q, and P R / (P + R) after the count
    q, r = 1e-5, 1 / np.exp(np.mean(np.log(rate)))
    ahead = (q + np.sqrt(q * q + 4 * q * r)) / 2
    assert np.std(errors[100:]) == pytest.approx(np.sqrt(ahead * r / (ahead + r)), rel=0.15)
    assert walk.variance == pytest.approx(ahead * r / (ahead + r), rel=0.15)


@pytest.mark.parametrize("factor", [0.0, 0.1, 8.0])
def test_a_jump_is_followed_at_once_and_is_no_trend(factor):
    walk = RandomWalk(wander=1e-5, log=np.log(500), variance=1e-4)
    walk.correct(500 * factor, 1.0)
    assert walk.move == 0.0
    assert np.exp(walk.log) == pytest.approx(max(500 * factor, 0.5), rel=0.01)


def test_noise_is_learned_from_what_does_not_last():
    rng = np.random.default_rng(8)
    for spread in (0.0, 0.02):
        noise, walk, learned = Noise(), RandomWalk(wander=1e-5), []
        rates = 10_000 * np.exp(0.0003 * np.arange(4000))  # a trend that is not followed
        for observed in rng.poisson(rates * np.exp(rng.normal(0, spread, 4000))):
            walk.go()
            walk.correct(observed, 1.0, noise.value)
            noise.learn(walk.surprise)
            learned.append(noise.value / (1 + spread**2 * np.exp(walk.log)))
        # a walk that follows each count by K = 0.27 makes surprises differ by 1 + K + K^2 more
        assert 0.85 < np.mean(learned[500:]) < 1.5
        assert np.std(learned[500:]) < 0.3


def test_no_single_request_is_a_jump():
    walk = RandomWalk(wander=1e-5, log=np.log(0.02), variance=1e-4)
    walk.correct(1.0, 1.0)
    assert abs(walk.log - np.log(0.02)) < 0.01
    assert 2 * (np.sqrt(1.375) - np.sqrt(0.395)) < JUMP


def test_without_exposure_a_count_tells_nothing():
    walk = RandomWalk(wander=1e-5)
    walk.correct(0.0, 1.0)
    assert np.isnan(walk.log)
    walk.correct(100.0, 10.0)
    walk.correct(0.0, 0.0)
    assert np.exp(walk.log) == pytest.approx(10)
