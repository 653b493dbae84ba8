import numpy as np
import pytest
from curve_logs import ends, simulate

from uplift import InputError, qini_curve
from uplift.curves import CostCurve, CurveState, cost_curve


def curve_of(log, score=None, **options):
    score = log.u if score is None else score
    return cost_curve(score, log.effect[:, 0], log.cost, log.user, **options)


def test_aucc_by_hand():
    """Gains 3, 1 at costs 1, 2, then a tie of (0, 1) and (1, 0): corners (1, 3) (3, 4) (4, 5)."""
    score, gain = np.array([0.9, 0.5, 0.1, 0.1]), np.array([3.0, 1.0, 0.0, 1.0])
    cost = np.array([1.0, 2.0, 1.0, 0.0])
    found = cost_curve(score, gain, cost, np.arange(4))
    assert found.aucc.value == pytest.approx((1.5 + 7 + 4.5) / (4 * 5))
    np.testing.assert_allclose(found.spend[[0, 25, 50, 75, 100]], np.array([0, 1, 3, 3.5, 4]) / 4)
    np.testing.assert_allclose(found.gain[[0, 25, 50, 75, 100]], np.array([0, 3, 4, 4.5, 5]) / 4)


def test_a_constant_cost_gives_the_area_of_the_gain_curve():
    log = simulate(2000)
    qini = qini_curve(log.u, log.effect[:, 0], log.user)
    found = cost_curve(log.u, log.effect[:, 0], np.full(2000, 3.0), log.user)
    assert found.aucc.value == pytest.approx(qini.auuc.value / qini.gain[-1])
    np.testing.assert_allclose(found.gain, qini.gain)


def test_a_score_that_tells_nothing_has_one_half():
    found = curve_of(simulate(2000), np.ones(2000))
    np.testing.assert_allclose(ends(found.aucc), 0.5)


@pytest.mark.parametrize("nothing", ["effect", "cost"])
def test_relative_to_an_end_that_may_be_0_it_is_unknown(nothing):
    noise = np.random.default_rng(0).normal(size=2000)
    columns = {"effect": noise + 1, "cost": noise + 1, nothing: noise}
    score, users = np.random.default_rng(1).random(2000), np.arange(2000)
    found = cost_curve(score, columns["effect"], columns["cost"], users)
    assert (found.aucc.lower, found.aucc.upper) == (-np.inf, np.inf)
    other = cost_curve(-score, columns["effect"], columns["cost"], users)
    assert (found - other).aucc.upper == np.inf


def test_no_cost_at_all_is_unknown():
    found = cost_curve(np.arange(9.0), np.ones(9), np.zeros(9), np.arange(9))
    assert np.isnan(found.aucc.value)
    assert (found.aucc.lower, found.aucc.upper) == (-np.inf, np.inf)


def test_units_of_cost_and_gain_mean_nothing():
    log = simulate(2000)
    scaled = cost_curve(log.u, 7 * log.effect[:, 0], 0.1 * log.cost, log.user)
    np.testing.assert_allclose(ends(scaled.aucc), ends(curve_of(log).aucc))


def test_differences_are_paired():
    log = simulate(20_000)
    a, b = curve_of(log), curve_of(log, log.noisy)
    better = (a - b).aucc
    assert better.value == pytest.approx(a.aucc.value - b.aucc.value)
    assert better.upper - better.lower < a.aucc.upper - a.aucc.lower


def test_a_state_without_cost_is_refused():
    log = simulate(100)
    with pytest.raises(InputError, match="holds no cost"):
        CostCurve.of(CurveState.of(log.u, log.effect[:, 0], log.user))
