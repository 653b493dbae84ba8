from itertools import pairwise

import numpy as np
import pytest
from curve_logs import ends, simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from uplift import qini_curve
from uplift.curves import toc_curve
from uplift.curves.conventions import grf_rate


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(-5, 5), st.integers(1, 3)),
        min_size=1,
        max_size=8,
    )
)
def test_autoc_is_the_integral_of_its_definition(points):
    """Against numeric quadrature between the corners of Q, which ties make straight."""
    score, effect, weight = np.array(points, float).T
    levels = np.unique(-score)
    share = np.array([0, *(weight[-score <= level].sum() for level in levels)]) / weight.sum()
    gain = [(weight * effect)[-score <= level].sum() for level in levels]
    gain = np.array([0, *gain]) / weight.sum()

    def toc(s):
        return np.interp(s, share, gain) / s - gain[-1]

    expected = sum(quad(toc, max(a, 1e-12), b)[0] for a, b in pairwise(share))
    found = toc_curve(score, effect, np.arange(len(score)), weight=weight, draws=0)
    assert found.autoc.value == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(found.toc, [toc(s) for s in found.share], atol=1e-9)


def test_qini_weighting_is_the_area_of_the_qini_curve():
    log = simulate(2000)
    toc = toc_curve(log.u, log.effect[:, 0], log.user)
    assert toc.qini == qini_curve(log.u, log.effect[:, 0], log.user).area
    assert toc.toc[-1] == pytest.approx(0, abs=1e-12)


def test_the_integral_is_grfs_sum_but_for_its_steps():
    log = simulate(20_000)
    effect = log.effect[:, 0]
    found = toc_curve(log.u, effect, log.user)
    close = 0.02 * (found.autoc.upper - found.autoc.value)
    assert found.autoc.value == pytest.approx(grf_rate(log.u, effect), abs=close)
    assert found.qini.value == pytest.approx(grf_rate(log.u, effect, "qini"), abs=close)


def test_a_constant_score_has_no_toc():
    effect = np.random.default_rng(0).normal(size=200)
    found = toc_curve(np.ones(200), effect, np.arange(200))
    np.testing.assert_allclose(found.toc, 0, atol=1e-12)
    np.testing.assert_allclose([*ends(found.autoc), *ends(found.qini)], 0, atol=1e-12)


def test_differences_are_paired():
    log = simulate(20_000)
    a, b = (toc_curve(score, log.effect[:, 0], log.user) for score in (log.u, log.noisy))
    better = a - b
    assert better.autoc.value == pytest.approx(a.autoc.value - b.autoc.value)
    assert better.autoc.lower > 0
    assert better.autoc.upper - better.autoc.lower < a.autoc.upper - a.autoc.lower
