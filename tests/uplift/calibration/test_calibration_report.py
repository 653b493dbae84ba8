import json

import numpy as np
import pytest

from uplift.calibration import calibration_change, calibration_report, fit_calibration
from uplift.errors import InputError


def simulated(n, seed, *, slope=1.0, intercept=0.0):
    """E[effect | prediction] = intercept + slope x prediction; 5 rows a user that share noise."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) // 5
    truth = 0.3 + 0.2 * (rng.normal(size=n) + 0.7 * rng.normal(size=n // 5)[cluster])
    effect = truth + rng.normal(size=n) + rng.normal(size=n // 5)[cluster]
    return (truth - intercept) / slope, effect, cluster


def binned_error(prediction, truth, bins=10):
    """Root mean square over bins of equal size of the gap of truth to prediction."""
    parts = np.array_split(np.argsort(prediction, kind="stable"), bins)
    return np.sqrt(np.mean([(truth[p] - prediction[p]).mean() ** 2 for p in parts]))


def test_slope_and_intercept_are_least_squares():
    u, e, cluster = simulated(1000, 0, slope=0.5)
    weight = np.random.default_rng(1).random(1000)
    found = calibration_report(u, e, cluster, weight=weight)
    design = np.column_stack([np.ones(1000), u])
    bread = np.linalg.inv(design.T @ (weight[:, None] * design))
    beta = bread @ design.T @ (weight * e)
    residual = (weight * (e - design @ beta))[:, None] * design
    sums = np.array([np.bincount(cluster, column) for column in residual.T])
    covariance = 200 / 199 * bread @ (sums @ sums.T) @ bread
    for estimate, value, variance in zip(
        (found.intercept, found.slope), beta, np.diag(covariance), strict=True
    ):
        assert estimate.value == pytest.approx(value)
        half = 1.9719565442518 * np.sqrt(variance)  # t of 199 degrees of freedom
        assert estimate.upper - estimate.value == pytest.approx(half)


def test_bins_by_hand():
    u = np.array([3.0, 1.0, 2.0, 4.0])
    found = calibration_report(u, np.array([1.0, 5, 5, 3]), np.arange(4), bins=2)
    assert [b.points for b in found.bins] == [2, 2]
    assert [b.share for b in found.bins] == [0.5, 0.5]
    assert [b.predicted for b in found.bins] == [1.5, 3.5]
    assert [b.effect.value for b in found.bins] == [5.0, 2.0]
    frame = found.to_frame()
    assert list(frame.columns) == ["points", "share", "predicted", "effect", "lower", "upper"]


def test_equal_predictions_share_a_bin():
    u = np.repeat([0.0, 1.0, 2.0], [7, 1, 2])
    e = np.random.default_rng(0).normal(size=10)
    assert [b.points for b in calibration_report(u, e, np.arange(10)).bins] == [7, 1, 2]


def test_the_error_is_the_plain_one_without_its_noise():
    u, e, cluster = np.zeros(400), np.random.default_rng(0).normal(1, 1, 400), np.arange(400)
    found = calibration_report(u, e, cluster).error
    assert found.value == pytest.approx(np.sqrt(e.mean() ** 2 - e.var(ddof=1) / 400))


def test_shift_and_scale_show():
    """The bound on the shift is 3 standard errors of a mean: sqrt((1 + 5) / 20,000) = 0.017."""
    u, e, cluster = simulated(20_000, 0)
    wide = calibration_report(3 * u, e, cluster)
    assert wide.slope.upper < 0.5
    assert wide.error.lower > 0.3
    shifted = calibration_report(u + 0.5, e, cluster)
    assert shifted.error.value == pytest.approx(0.5, abs=0.05)
    assert shifted.slope.value == pytest.approx(calibration_report(u, e, cluster).slope.value)


def test_rows_may_be_weighted():
    u, e, cluster = simulated(1000, 0)
    heavy = np.arange(1000) < 300
    weighed = calibration_report(u, e, cluster, weight=1.0 + heavy)
    twice = calibration_report(*(np.r_[v, v[heavy]] for v in (u, e, cluster)))
    for name in ("slope", "intercept", "error"):
        a, b = (list(getattr(r, name).to_dict().values()) for r in (weighed, twice))
        np.testing.assert_allclose(a, b, rtol=1e-6)
    dropped = calibration_report(u, e, cluster, weight=1.0 - heavy)
    assert dropped == calibration_report(u[~heavy], e[~heavy], cluster[~heavy])


def test_predictions_all_the_same_have_no_slope():
    found = calibration_report(np.full(50, 0.1), np.arange(50.0), np.arange(50))
    assert np.isnan(found.slope.value)
    assert found.slope.upper == np.inf
    assert found.to_dict()["slope"] == {"value": None, "lower": None, "upper": None}
    assert len(found.bins) == 1


def test_one_cluster_tells_nothing_of_its_error():
    found = calibration_report(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([7, 7]), bins=1)
    assert (found.error.value, found.error.lower, found.error.upper) == (1, 0, np.inf)
    assert found.slope.upper == np.inf
    calibration_report(np.array([0.5]), np.array([1.0]), np.array([0]))


def test_predictions_that_are_the_truth_have_no_error():
    u = np.linspace(0, 1, 40)
    found = calibration_report(u, u, np.arange(40))
    assert found.error.upper == 0
    assert found.slope.value == pytest.approx(1)


def test_before_and_after_stand_in_the_same_bins():
    (u, e, cluster), new = simulated(20_000, 0, slope=0.3), simulated(20_000, 1, slope=0.3)
    calibration = fit_calibration(u[:, None], e[:, None], cluster)
    after = calibration.apply(new[0][:, None])[:, 0]
    change = calibration_change(new[0], after, *new[1:])
    assert change.before == calibration_report(*new)
    assert [b.effect for b in change.before.bins] == [b.effect for b in change.after.bins]
    assert change.before.slope.upper < 0.5
    assert change.after.slope.lower < 1 < change.after.slope.upper
    assert change.after.error.value < 0.5 * change.before.error.value
    columns = ["points", "share", "before", "after", "effect", "lower", "upper"]
    assert list(change.to_frame().columns) == columns
    plain = json.loads(json.dumps(change.to_dict(), allow_nan=False))
    assert set(plain) == {"before", "after"}
    assert set(plain["after"]) == {"bins", "slope", "intercept", "error"}
    assert set(plain["after"]["bins"][0]["effect"]) == {"value", "lower", "upper"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"uplift": np.array([0, np.nan])}, "uplift holds 1 values"),
        ({"effect": np.array([0, np.inf])}, "effect holds 1 values"),
        ({"effect": np.zeros(3)}, "shapes differ"),
        ({"cluster": np.arange(3)}, "shapes differ"),
        ({"uplift": np.zeros((2, 1)), "effect": np.zeros((2, 1))}, "one arm at a time"),
        ({"bins": 0}, "at least 1"),
        ({"uplift": np.zeros(0), "effect": np.zeros(0), "cluster": np.arange(0)}, "no rows"),
    ],
)
def test_what_cannot_be_used_is_refused(change, sentence):
    rows = {"uplift": np.zeros(2), "effect": np.zeros(2), "cluster": np.arange(2)}
    with pytest.raises(InputError, match=sentence):
        calibration_report(**rows | change)


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (1 / 3, 0.0), (1.0, -0.15)])
def test_intervals_cover(slope, intercept):
    """1,000 simulations of 2,000 rows of 400 users, 3 binomial standard errors.

    Slope and intercept around 95 %. The error at least 95 %: at 0, where its interval is
    one-sided, it is 97.5 %, and elsewhere it allows for the worst direction.
    """
    n, hits = 1000, np.zeros(3)
    for seed in range(n):
        u, e, cluster = simulated(2000, seed, slope=slope, intercept=intercept)
        found = calibration_report(u, e, cluster)
        truth = binned_error(u, intercept + slope * u)
        pairs = ((found.slope, slope), (found.intercept, intercept), (found.error, truth))
        hits += [a.lower <= value + 1e-12 and value <= a.upper for a, value in pairs]
    print(f"slope {slope:.2f}, intercept {intercept}: coverage {hits / n}")
    bound = 3 * np.sqrt(0.95 * 0.05 / n)
    assert (np.abs(hits[:2] / n - 0.95) < bound).all()
    assert hits[2] / n > 0.95 - bound


def test_clusters_may_be_identifiers():
    u, e, cluster = simulated(500, 0)
    by_code, by_id = (calibration_report(u, e, c) for c in (cluster, 10**12 + 7 * cluster))
    assert by_id == by_code
