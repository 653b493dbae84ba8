import numpy as np
import pytest
from scipy.stats import t as student

from uplift import InputError
from uplift.clusters import ratio_estimate
from uplift.curves import CurveState, QiniCurve
from uplift.curves.drawn import Drawn

VALUES = np.array([[3.0, 1.0, 2.0, 6.0], [0.0, 0.0, 0.0, 0.0]])


def test_the_interval_by_hand():
    """Spread of 1, 2, 6 is sqrt(7); 9 clusters and 3 draws have 1 / (1/8 + 1/2) = 1.6 degrees."""
    lower, upper = Drawn(VALUES, np.ones(4), 9).interval()
    half = student.ppf(0.975, 1.6) * np.sqrt(7 * 9 / 8)
    np.testing.assert_allclose([lower, upper], [[3 - half, 0], [3 + half, 0]])


def test_infinitely_many_clusters_add_no_uncertainty():
    lower, _ = Drawn(VALUES, np.ones(4), np.inf).interval()
    assert lower[0] == pytest.approx(3 - student.ppf(0.975, 2) * np.sqrt(7))


@pytest.mark.parametrize(
    "drawn",
    [
        Drawn(VALUES, np.ones(4), 1.0),
        Drawn(VALUES[:, :1], np.ones(1), 50),
        Drawn(np.array([[3.0, np.nan, np.nan]]), np.ones(3), 50),
        Drawn(np.array([[np.nan, 1.0, 2.0]]), np.ones(3), 1.0),
    ],
)
def test_what_is_not_known_is_infinite(drawn):
    lower, upper = drawn.interval()
    assert lower[0] == -np.inf
    assert upper[0] == np.inf


def test_other_rows_do_not_subtract():
    with pytest.raises(InputError, match="not of the same rows"):
        Drawn(VALUES, np.ones(4), 9) - Drawn(VALUES, 2 * np.ones(4), 9)


def test_the_interval_of_a_mean_is_the_analytic_one():
    """1,024 draws know a standard deviation to 1 / sqrt(2 x 1024) = 2.2 %; the bound is 4 times."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(400), rng.integers(1, 9, 400))
    effect = 1 + rng.normal(size=400)[user] + rng.normal(size=len(user))
    state = CurveState.of(rng.random(len(user)), effect, user, draws=1024)
    found = QiniCurve.of(state, (100,)).uplift_at[100]
    exact = ratio_estimate(effect, np.ones(len(user)), user)
    assert found.value == pytest.approx(exact.value)
    assert found.upper - found.value == pytest.approx(exact.upper - exact.value, rel=0.09)
