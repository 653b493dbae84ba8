from itertools import permutations

import numpy as np
import pytest
from curve_logs import ends, simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from uplift import InputError, qini_curve


def brute_force(score, effect):
    """Mean over all orders of equal scores of the curve at 0, 1/n, .., 1, and its area."""
    n = len(score)
    curves = [
        np.r_[0, np.cumsum(effect[list(order)])] / n
        for order in permutations(range(n))
        if (np.diff(score[list(order)]) <= 0).all()
    ]
    curve = np.mean(curves, axis=0)
    return curve, np.trapezoid(curve, dx=1 / n) - curve[-1] / 2


def curve_of(score, effect, cluster=None, **options):
    score, effect = np.asarray(score, float), np.asarray(effect, float)
    cluster = np.arange(len(score)) if cluster is None else cluster
    return qini_curve(score, effect, cluster, **{"draws": 20, **options})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=1, max_size=6))
def test_the_curve_is_its_definition_ties_in_equal_parts(points):
    score, effect = np.array(points, float).T
    curve, area = brute_force(score, effect)
    found = curve_of(score, effect, percents=(20, 50, 100))
    np.testing.assert_allclose(
        found.gain, np.interp(found.share, np.linspace(0, 1, len(curve)), curve), atol=1e-12
    )
    assert found.area.value == pytest.approx(area, abs=1e-12)
    for percent, estimate in found.uplift_at.items():
        at = np.interp(percent / 100, np.linspace(0, 1, len(curve)), curve)
        assert estimate.value == pytest.approx(at / (percent / 100), abs=1e-12)


def test_everything_tied_is_a_straight_line():
    effect = np.random.default_rng(0).normal(size=500)
    found = curve_of(np.ones(500), effect)
    np.testing.assert_allclose(found.gain, found.share * effect.mean(), atol=1e-12)
    for end in (found.area.lower, found.area.value, found.area.upper):
        assert end == pytest.approx(0, abs=1e-12)


def simulated(n):
    log = simulate(n)
    return log.u, log.effect[:, 0], log.user


def test_the_area_has_the_sign_of_the_ranking():
    score, effect, cluster = simulated(20_000)
    good, bad = (curve_of(s, effect, cluster, draws=100) for s in (score, -score))
    assert good.area.lower > 0 > bad.area.upper
    assert good.area.value == pytest.approx(-bad.area.value)


def test_the_curve_ends_at_the_mean_effect():
    score, effect, cluster = simulated(1000)
    found = curve_of(score, effect, cluster, percents=(100,))
    assert found.gain[-1] == pytest.approx(effect.mean())
    assert found.uplift_at[100].value == pytest.approx(effect.mean())
    assert (found.gain[0], found.share[0], found.share[-1]) == (0, 0, 1)


def test_auuc_is_the_whole_area():
    found = curve_of(*simulated(1000))
    assert found.auuc.value == pytest.approx(found.area.value + found.gain[-1] / 2)
    assert found.auuc.value == pytest.approx(np.trapezoid(found.gain, found.share), abs=1e-3)


def test_uplift_at_k_is_the_mean_of_the_best():
    score, effect, cluster = simulated(1000)
    best = np.argsort(-score)[:100]
    assert curve_of(score, effect, cluster).uplift_at[10].value == pytest.approx(
        effect[best].mean()
    )


@pytest.mark.parametrize("transform", [np.exp, lambda s: 5 * s - 3, lambda s: s**3])
def test_only_the_ranking_counts(transform):
    score, effect, cluster = simulated(1000)
    score = np.round(score, 2)
    a, b = curve_of(score, effect, cluster), curve_of(transform(score), effect, cluster)
    np.testing.assert_array_equal(a.gain, b.gain)
    assert (a.area, a.uplift_at) == (b.area, b.uplift_at)


def test_the_order_of_rows_means_nothing():
    score, effect, cluster = simulated(1000)
    score = np.round(score, 1)
    order = np.random.default_rng(1).permutation(1000)
    a, b = curve_of(score, effect, cluster), curve_of(score[order], effect[order], cluster[order])
    for name in ("gain", "lower", "upper"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-12)


def test_the_seed_decides_the_interval_and_nothing_else():
    score, effect, cluster = simulated(1000)
    a, b, c = (curve_of(score, effect, cluster, seed=s) for s in (0, 0, 1))
    assert a.area == b.area != c.area
    assert a.area.value == c.area.value


def test_a_random_score_has_no_area():
    """Mean over 200 random scores within 4 standard errors of 0."""
    _, effect, cluster = simulated(500)
    rng = np.random.default_rng(1)
    areas = [curve_of(rng.random(500), effect, cluster, draws=0).area.value for _ in range(200)]
    assert abs(np.mean(areas)) < 4 * np.std(areas) / np.sqrt(200)


def test_clusters_widen_the_interval():
    score, effect, _ = simulated(500)
    twice = [np.repeat(v, 4) for v in (score, effect)]
    rows, users = (curve_of(*twice, c, draws=400) for c in (np.arange(2000), np.arange(2000) // 4))
    ratio = (users.area.upper - users.area.lower) / (rows.area.upper - rows.area.lower)
    assert 1.7 < ratio < 2.3  # 2 = sqrt(4 copies); 448 draws know a width to 3.3 %, a ratio to 5 %


@pytest.mark.parametrize(
    ("score", "effect", "cluster", "sentence"),
    [
        ([1.0, 2.0], [1.0], [0, 1], "shapes differ"),
        ([1.0, 2.0], [1.0, 2.0], [0], "shapes differ"),
        ([1.0, np.nan], [1.0, 2.0], [0, 1], "must be finite"),
        ([1.0, 2.0], [1.0, np.inf], [0, 1], "must be finite"),
        ([], [], [], "no rows"),
    ],
)
def test_what_cannot_be_ranked_is_refused(score, effect, cluster, sentence):
    with pytest.raises(InputError, match=sentence):
        qini_curve(np.array(score), np.array(effect), np.array(cluster, dtype=int))


@pytest.mark.parametrize("percents", [(0,), (101,), (10, -5)])
def test_uplift_at_an_impossible_percentage_is_refused(percents):
    with pytest.raises(InputError, match="percentages above 0 up to 100"):
        curve_of([1.0, 2.0], [1.0, 2.0], percents=percents)


def test_a_weight_of_2_is_the_row_twice():
    """Everything agrees, intervals too: the draws keep whole clusters."""
    score, effect, cluster = simulated(1000)
    weight = np.random.default_rng(1).integers(0, 4, 1000)
    again = [np.repeat(column, weight) for column in (score, effect, cluster)]
    a, b = curve_of(score, effect, cluster, weight=weight.astype(float)), curve_of(*again)
    for name in ("gain", "lower", "upper"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-9)
    np.testing.assert_allclose(ends(a.area), ends(b.area))


@pytest.mark.parametrize("weight", [[1.0, -1.0], [0.0, 0.0], [1.0, np.nan]])
def test_impossible_weights_are_refused(weight):
    with pytest.raises(InputError, match="must be"):
        curve_of([1.0, 2.0], [1.0, 2.0], weight=np.array(weight))


def test_one_cluster_or_no_draws_tell_nothing_of_the_error():
    score, effect, cluster = simulated(1000)
    for found in (curve_of(score, effect, 0 * cluster), curve_of(score, effect, cluster, draws=0)):
        assert (found.area.lower, found.area.upper) == (-np.inf, np.inf)
        assert np.isfinite(found.area.value)


def test_one_row_is_a_curve():
    found = curve_of([0.5], [3.0])
    assert (found.gain[-1], found.area.value) == (3, 0)
    assert found.uplift_at[5].value == pytest.approx(3)


def test_the_difference_of_a_score_to_itself_is_nothing():
    curve = curve_of(*simulated(1000))
    assert ends((curve - curve).area) == [0, 0, 0]


def test_a_difference_is_narrower_than_two_curves_apart():
    log = simulate(20_000)
    a, b = (curve_of(s, log.effect[:, 0], log.user, draws=200) for s in (log.u, log.noisy))
    better = a - b
    assert better.area.value == pytest.approx(a.area.value - b.area.value)
    np.testing.assert_allclose(better.gain, a.gain - b.gain)
    apart = np.hypot(a.area.upper - a.area.value, b.area.upper - b.area.value)
    assert better.area.lower > 0
    assert better.area.upper - better.area.value < 0.6 * apart


def test_curves_of_other_rows_seeds_or_percentages_do_not_subtract():
    score, effect, cluster = simulated(1000)
    curve = curve_of(score, effect, cluster)
    for other in (
        curve_of(score[:500], effect[:500], cluster[:500]),
        curve_of(score, effect, cluster, seed=1),
        curve_of(score, effect, cluster, draws=100),
        curve_of(score, effect, cluster[::-1] // 2),
    ):
        with pytest.raises(InputError, match="not of the same rows and draws"):
            curve - other
    with pytest.raises(InputError, match="different percentages"):
        curve - curve_of(score, effect, cluster, percents=(7,))


def test_a_thousand_cells_are_enough():
    """Beyond 1,000 scores the order inside a cell is lost; no more than the docstring says."""
    log = simulate(200_000)
    score, effect = log.u, log.effect[:, 0]
    share, gain = np.arange(200_001) / 200_000, np.r_[0, np.cumsum(effect[np.argsort(-score)])]
    exact = np.trapezoid(gain, share) / 200_000 - gain[-1] / 400_000
    found = curve_of(score, effect, log.user, draws=200)
    assert abs(found.area.value - exact) < 0.01 * (found.area.upper - found.area.value)
    np.testing.assert_allclose(found.gain, gain[::2000] / 200_000, atol=1e-9)
