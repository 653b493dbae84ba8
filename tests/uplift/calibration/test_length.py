import numpy as np
import pytest

from uplift.calibration.length import length_estimate


def test_without_noise_it_is_the_length():
    found = length_estimate(np.array([3.0, 4.0]), np.zeros((2, 2)))
    assert (found.lower, found.value, found.upper) == (5, 5, 5)


def test_one_number_far_from_0_is_a_normal_interval():
    found = length_estimate(np.array([10.0]), np.array([[0.04]]))
    assert found.value == pytest.approx(10, abs=0.01)
    assert found.lower == pytest.approx(10 - 1.96 * 0.2, abs=0.01)
    assert found.upper == pytest.approx(10 + 1.96 * 0.2, abs=0.01)


@pytest.mark.parametrize("seen", [0.0, 1e-6, 0.5])
def test_less_than_noise_is_no_length_and_no_precision(seen):
    found = length_estimate(np.full(4, seen), np.eye(4))
    assert (found.lower, found.value) == (0, 0)
    assert found.upper > 1


def test_the_unit_is_that_of_the_vector():
    seen, noise = np.array([1.0, -2.0, 0.3]), np.diag([0.1, 0.3, 0.2])
    one, small = length_estimate(seen, noise), length_estimate(1e-5 * seen, 1e-10 * noise)
    np.testing.assert_allclose(
        [*small.to_dict().values()], [1e-5 * v for v in one.to_dict().values()], rtol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("kind", ["equal", "unequal", "worst"])
def test_intervals_cover(length, kind):
    """2,000 draws in 10 dimensions: each end is missed by at most 2.5 % and 3 standard errors.

    Where noise is unequal m points at random, or to where it is greatest.
    """
    rng, n = np.random.default_rng(0), 2000
    noise = np.full(10, 0.3) if kind == "equal" else np.linspace(0.1, 0.6, 10)
    middle = rng.normal(size=10)
    middle = middle * (np.arange(10) == 9) if kind == "worst" else middle
    middle *= length / np.linalg.norm(middle)
    found = [
        length_estimate(middle + noise * rng.normal(size=10), np.diag(noise**2)) for _ in range(n)
    ]
    below = np.mean([length < f.lower for f in found])
    above = np.mean([length > f.upper for f in found])
    print(f"length {length}, {kind} noise: missed below {below:.4f}, above {above:.4f}")
    bound = 0.025 + 3 * np.sqrt(0.025 * 0.975 / n)
    assert below < bound
    assert above < bound
