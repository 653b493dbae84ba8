"""Each number against its definition, rank by rank, and against the library where it is there."""

import numpy as np
import pandas as pd
import pytest

from uplift import InputError, effect_scores, qini_curve
from uplift.curves import conventions as c
from uplift.curves import multi_arm_curve, toc_curve

N = 300


def trial(seed=0, binary=True, ties=False):
    rng = np.random.default_rng(seed)
    score = rng.random(N)
    arm = rng.integers(0, 2, N)
    chance = 0.3 + 0.3 * score * arm
    y = (rng.random(N) < chance).astype(float) if binary else chance + rng.normal(size=N)
    return y, arm, np.round(score, 1) if ties else score


def by_rank(y, arm, score, number):
    """`number(y, arm)` of the best k, for k = 1 .. n."""
    order = np.argsort(-score, kind="stable")
    return np.array([number(y[order[:k]], arm[order[:k]]) for k in range(1, len(y) + 1)])


def lift(y, arm):
    if arm.all() or not arm.any():
        return np.nan
    return y[arm == 1].mean() - y[arm == 0].mean()


def radcliffe(y, arm):
    if arm.all():
        return np.nan
    return y[arm == 1].sum() - y[arm == 0].sum() * (arm == 1).sum() / (arm == 0).sum()


def filled(curve):
    return pd.Series(np.r_[0.0, curve]).interpolate().to_numpy()


def frame(y, arm, score):
    return pd.DataFrame({"y": y, "w": arm, "model": score})


@pytest.fixture(params=[True, False], ids=["binary", "continuous"])
def data(request):
    return trial(binary=request.param)


@pytest.fixture
def causalml():
    return pytest.importorskip("causalml.metrics", reason="causalml is not installed")


@pytest.fixture
def sklift():
    return pytest.importorskip("sklift.metrics", reason="scikit-uplift is no dependency")


@pytest.mark.parametrize("normalize", [True, False])
def test_causalml_auuc(data, causalml, normalize):
    gain = filled(by_rank(*data, lift)) * np.arange(N + 1)
    expected = gain.mean() / (abs(gain[-1]) if normalize else 1)
    found = c.causalml_auuc(*data, normalize=normalize)
    assert found == pytest.approx(expected)
    theirs = causalml.auuc_score(frame(*data), normalize=normalize)
    assert found == pytest.approx(theirs["model"])


@pytest.mark.parametrize("normalize", [True, False])
def test_causalml_qini(data, causalml, normalize):
    qini = filled(by_rank(*data, radcliffe))
    expected = (qini - np.linspace(0, qini[-1], N + 1)).mean()
    expected /= abs(qini[-1]) if normalize else 1
    found = c.causalml_qini(*data, normalize=normalize)
    assert found == pytest.approx(expected)
    theirs = causalml.qini_score(frame(*data), normalize=normalize)
    assert found == pytest.approx(theirs["model"])


@pytest.mark.parametrize("weighting", ["autoc", "qini"])
def test_causalml_rate(data, causalml, weighting):
    toc = by_rank(*data, lift) - lift(*data[:2])
    toc = np.r_[0.0, np.where(np.isnan(toc), 0.0, toc)]
    middle = (np.arange(N) + 0.5) / N
    weights = {"autoc": 1 / middle, "qini": middle}[weighting]
    expected = (weights * (toc[1:] + toc[:-1]) / 2).sum() / weights.sum()
    found = c.causalml_rate(*data, weighting)
    assert found == pytest.approx(expected)
    assert found == pytest.approx(causalml.rate_score(frame(*data), weighting=weighting)["model"])


def test_causalml_numbers_are_about_ours_over_the_mean_effect():
    """Means within the best k and effect scores differ by noise only: 3 % at 100,000 points."""
    rng = np.random.default_rng(0)
    n = 100_000
    score, arm = rng.random(n), rng.integers(0, 2, n)
    y = score * arm + rng.normal(0, 0.1, n)
    effect = effect_scores(y, arm, np.full(n, 0.5), np.zeros((n, 2)))[:, 0]
    ours = qini_curve(score, effect, np.arange(n), draws=0)
    mean = ours.gain[-1]
    assert c.causalml_auuc(y, arm, score) == pytest.approx(ours.auuc.value / mean, rel=0.03)
    assert c.causalml_qini(y, arm, score) == pytest.approx(ours.area.value / mean, rel=0.1)
    rate = c.causalml_rate(y, arm, score, "qini")
    assert rate == pytest.approx(2 * ours.area.value, rel=0.1)


def area_of_corners(y, arm, score, number):
    """Trapezoids over the corners at the ends of equal scores, less the chord's triangle."""
    corners = [(0, 0.0)]
    for level in np.unique(-score):
        best = -score <= level
        corners.append((best.sum(), number(y[best], arm[best])))
    x, height = np.array(corners, float).T
    return np.trapezoid(height, x) - height[-1] * len(y) / 2


def mean_or_0(outcomes):
    return outcomes.mean() if len(outcomes) else 0.0


def uplift_height(y, arm):
    return len(y) * (mean_or_0(y[arm == 1]) - mean_or_0(y[arm == 0]))


def qini_height(y, arm):
    return y[arm == 1].sum() - (arm == 1).sum() * mean_or_0(y[arm == 0])


@pytest.mark.filterwarnings("ignore:Function stable_cumsum:FutureWarning")
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("control_buys", [0.3, 0.9])
def test_scikit_uplift_areas(sklift, ties, control_buys):
    y, arm, score = trial(ties=ties)
    y = np.where(arm == 0, np.random.default_rng(1).random(N) < control_buys, y)
    order = np.select([(y == 1) & (arm == 1), (y == 0) & (arm == 0)], [2.0, 2.0])
    by_outcome = ((y == 1) & (arm == 0)).sum() > ((y == 0) & (arm == 1)).sum()
    perfect = order + (y if by_outcome else arm)
    expected = area_of_corners(y, arm, score, uplift_height)
    expected /= area_of_corners(y, arm, perfect, uplift_height)
    assert c.scikit_uplift_auc(y, arm, score) == pytest.approx(expected)
    assert expected == pytest.approx(sklift.uplift_auc_score(y, score, arm))
    expected = area_of_corners(y, arm, score, qini_height)
    expected /= area_of_corners(y, arm, np.select([y * arm > 0, y > 0], [1.0, -1.0]), qini_height)
    assert c.scikit_uplift_qini(y, arm, score) == pytest.approx(expected)
    assert expected == pytest.approx(sklift.qini_auc_score(y, score, arm))


@pytest.mark.parametrize("k", [0.1, 0.3])
def test_scikit_uplift_at_k(sklift, k):
    y, arm, score = trial()
    best = score >= np.sort(score)[::-1][int(N * k) - 1]
    assert c.scikit_uplift_at_k(y, arm, score, k) == pytest.approx(lift(y[best], arm[best]))
    means = []
    for a in (1, 0):
        order = np.argsort(-score[arm == a])[: int((arm == a).sum() * k)]
        means.append(y[arm == a][order].mean())
    by_group = c.scikit_uplift_at_k(y, arm, score, k, "by_group")
    assert by_group == pytest.approx(means[0] - means[1])
    for strategy in ("overall", "by_group"):
        theirs = sklift.uplift_at_k(y, score, arm, strategy=strategy, k=k)
        assert c.scikit_uplift_at_k(y, arm, score, k, strategy) == pytest.approx(theirs)


def test_a_missing_arm_among_the_best_is_nan():
    y, arm, score = np.ones(10), np.r_[np.ones(5), np.zeros(5)].astype(int), -np.arange(10.0)
    assert np.isnan(c.scikit_uplift_at_k(y, arm, score, 0.3))


@pytest.mark.parametrize("kind", ["qini", "cgains", "aqini"])
def test_pylift(kind):
    y, arm, score = trial()
    treated, control = arm.sum(), N - arm.sum()
    height = {
        "qini": lambda y, a: y[a == 1].sum() / treated - y[a == 0].sum() / control,
        "cgains": lambda y, a: uplift_height(y, a) / N,
        "aqini": lambda y, a: qini_height(y, a) / treated,
    }[kind]
    curve = np.r_[0.0, by_rank(y, arm, score, height)]
    expected = ((curve[1:] + curve[:-1]) / 2).sum() / N - curve[-1] / 2
    assert c.pylift_qini(y, arm, score, kind) == pytest.approx(expected)


def test_pylift_qini_is_our_area_by_inverse_propensity_weighting(data):
    y, arm, score = data
    share = arm.mean()
    propensity = np.where(arm == 1, share, 1 - share)
    effect = effect_scores(y, arm, propensity, np.zeros((N, 2)))[:, 0]
    ours = qini_curve(score, effect, np.arange(N), draws=0)
    assert c.pylift_qini(y, arm, score) == pytest.approx(ours.area.value)


@pytest.mark.parametrize("ties", [False, True])
def test_grf_rate(ties):
    """Rank by rank, with the mean effect of a tie in place of its members'."""
    rng = np.random.default_rng(0)
    score, effect, weight = rng.random(N), rng.normal(size=N), 0.5 + rng.random(N)
    score = np.round(score, 1) if ties else score
    for w in (None, weight):
        used = np.ones(N) if w is None else w
        tied = [np.average(effect[score == s], weights=used[score == s]) for s in score]
        tied, order = np.array(tied), np.argsort(-score, kind="stable")
        sums = {"autoc": 0.0, "qini": 0.0}
        for k in range(1, N + 1):
            best = order[:k]
            toc = np.average(tied[best], weights=used[best]) - np.average(effect, weights=used)
            sums["autoc"] += toc * used[order[k - 1]] / used.sum()
            share = used[best].sum() / used.sum()
            sums["qini"] += toc * share * used[order[k - 1]] / used.sum()
        for weighting, expected in sums.items():
            found = c.grf_rate(score, effect, weighting, weight=w)
            assert found == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["toc", "qini"])
def test_econml(metric):
    utils = pytest.importorskip("econml.validate.utils", reason="econml is not installed")
    rng = np.random.default_rng(0)
    score, train, effect = rng.random(N), rng.random(N), rng.normal(size=N)
    grid, expected = np.linspace(5, 95, 50), 0.0
    for percentile in grid[:-1]:
        best = score >= np.percentile(train, percentile)
        toc = effect[best].mean() - effect.mean()
        expected += toc * (best.mean() if metric == "qini" else 1) * (90 / 49) / 100
    found = c.econml_uplift(score, effect, metric, score_train=train)
    assert found == pytest.approx(expected)
    theirs, _, _ = utils.calc_uplift(train, score, effect, grid, metric, n_bootstrap=2)
    assert found == pytest.approx(theirs)


def test_econml_qini_is_about_ours_but_for_its_ends():
    """Riemann steps of 1.8 % and q TOC left out in the outer 5 %, where it is near 0: 5 %."""
    score = np.random.default_rng(0).random(20_000)
    ours = toc_curve(score, 2 * score, np.arange(20_000), draws=0)
    assert c.econml_uplift(score, 2 * score) == pytest.approx(ours.qini.value, rel=0.05)
    assert c.econml_uplift(score, 2 * score, "toc") < ours.autoc.value


def test_maq_is_our_multi_arm_curve():
    """The worked path of three units and two arms, unit by unit as maq allocates it.

    Ratios: unit 0 to arm 0 at 4, unit 1 to arm 1 at 3, unit 2 to arm 0 at 2, then 0 to 1 at 1.
    """
    reward = np.array([[4.0, 5.0], [1.0, 6.0], [2.0, 2.5]])
    cost, scores = np.array([1.0, 2.0]), np.array([[1.0, 4.0], [9.0, 2.0], [5.0, -1.0]])
    spends = np.cumsum([1.0, 2.0, 1.0, 1.0, 1.0]) / 3
    gains = np.cumsum([1.0, 2.0, 5.0, 3.0, -6.0]) / 3
    found = multi_arm_curve(reward, cost, scores, np.arange(3), budgets=spends, draws=0)
    np.testing.assert_allclose(found.gain, gains)
    assert found.gain_at((spends[0] + spends[1]) / 2).value == pytest.approx(gains[:2].mean())


@pytest.mark.parametrize(
    ("y", "arm", "score", "sentence"),
    [
        ([1.0, 0.0], [1], [1.0, 2.0], "shapes differ"),
        ([1.0, np.nan], [1, 0], [1.0, 2.0], "must be finite"),
        ([1.0, 0.0], [1, 1], [1.0, 2.0], "both arms"),
        ([1.0, 0.5], [1, 0], [1.0, 2.0], "outcomes 0 and 1"),
    ],
)
def test_what_has_no_number_is_refused(y, arm, score, sentence):
    with pytest.raises(InputError, match=sentence):
        c.scikit_uplift_qini(np.array(y), np.array(arm), np.array(score))
    if "outcomes" not in sentence:
        with pytest.raises(InputError, match=sentence):
            c.causalml_auuc(np.array(y), np.array(arm), np.array(score))
