import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import NAMES, VOCABULARY, trial

from uplift import InputError
from uplift.explain import best_linear_projection

SLOPES = (0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def data():
    return trial(1500)


def project(data, places=(0, 1, 2, 3), **options):
    names = [NAMES[p] for p in places]
    X = data.X[:, list(places)]
    return best_linear_projection(
        X, names, data.effect, data.cluster, vocabulary=VOCABULARY, **options
    )


def known(data, places=(0, 2)):
    """Columns without missing values, and the regression's matrix."""
    X = data.X[:, list(places)].astype(np.float64)
    return X, np.column_stack([np.ones(len(X)), X])


def test_it_is_statsmodels_with_clustered_errors(data):
    api = pytest.importorskip("statsmodels.api")
    theirs = api.OLS(data.effect, known(data)[1]).fit(
        cov_type="cluster", cov_kwds={"groups": data.cluster}, use_t=True
    )
    ours = project(data, (0, 2))
    frame = ours.to_frame()
    np.testing.assert_allclose(ours.coefficient, theirs.params, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.covariance, theirs.cov_params(), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ours.t, theirs.tvalues, rtol=1e-8)
    np.testing.assert_allclose(ours.p_value, theirs.pvalues, rtol=1e-8)
    np.testing.assert_allclose(frame[["lower", "upper"]], theirs.conf_int(), rtol=1e-8)
    joint = theirs.f_test(np.eye(3)[1:])
    assert ours.heterogeneity_p_value == pytest.approx(float(joint.pvalue))


def test_it_is_the_formula(data):
    """The same without statsmodels: a loop over clusters."""
    Z = known(data)[1]
    bread = np.linalg.inv(Z.T @ Z)
    beta = bread @ Z.T @ data.effect
    scores = [
        Z[rows].T @ (data.effect - Z @ beta)[rows]
        for rows in (data.cluster == c for c in range(data.cluster.max() + 1))
    ]
    n, k, count = len(Z), 3, len(scores)
    meat = sum(np.outer(s, s) for s in scores)
    V = count / (count - 1) * (n - 1) / (n - k) * bread @ meat @ bread
    ours = project(data, (0, 2))
    np.testing.assert_allclose(ours.coefficient, beta, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(ours.covariance, V, rtol=1e-9, atol=1e-12)


def test_planted_slopes_are_found_and_the_others_are_not(data):
    frame = project(data).to_frame().set_index("feature")
    assert frame.index.tolist() == [
        "intercept",
        "outcome_only",
        "uplift_only",
        "noise",
        *frame.index[4:6],
        "uplift_only is missing",
    ]
    assert frame.loc["uplift_only", "lower"] < 1 < frame.loc["uplift_only", "upper"]
    assert frame.loc["uplift_only", "p_value"] < 1e-6
    assert frame.loc[["outcome_only", "noise"], "p_value"].min() > 0.01
    assert project(data).heterogeneity_p_value < 1e-6


def test_categories_are_compared_with_the_most_frequent(data):
    frame = project(data, (3,)).to_frame().set_index("feature")
    count = np.bincount(data.X[:, 3].astype(int))
    base = data.effect[data.X[:, 3] == count.argmax()].mean()
    for code, letter in enumerate("abc"):
        if code == count.argmax():
            assert frame.loc["intercept", "coefficient"] == pytest.approx(base)
        else:
            mean = data.effect[data.X[:, 3] == code].mean()
            assert frame.loc[f"kind = {letter}", "coefficient"] == pytest.approx(mean - base)


def test_rare_categories_are_put_together(data):
    code = (np.arange(len(data.X)) % 15).astype(np.float32)
    code[:1000] = 0
    many = {"kind": tuple("abcdefghijklmno")}
    ours = best_linear_projection(
        code[:, None], ["kind"], data.effect, data.cluster, vocabulary=many
    )
    assert len(ours.terms) == 11
    assert ours.terms[-1] == "kind = other"


def test_features_missing_in_the_same_rows_share_a_column(data):
    X = data.X[:, :3].copy()
    X[:, 2][np.isnan(X[:, 1])] = np.nan
    ours = best_linear_projection(X, NAMES[:3], data.effect, data.cluster)
    assert ours.terms[-1] == "uplift_only, noise is missing"


def test_a_missing_value_has_the_effect_of_its_rows(data):
    """With one feature and its indicator, the line through the known rows is left as it is."""
    rows = ~np.isnan(data.X[:, 1])
    with_missing = project(data, (1,))
    without = best_linear_projection(
        data.X[rows][:, [1]], ["x"], data.effect[rows], data.cluster[rows]
    )
    np.testing.assert_allclose(with_missing.coefficient[:2], without.coefficient, rtol=1e-6)


def test_standardised_coefficients_are_per_standard_deviation(data):
    raw, standard = project(data), project(data, standardise=True)
    np.testing.assert_allclose(raw.t[1:], standard.t[1:], rtol=1e-8)
    assert raw.heterogeneity_p_value == pytest.approx(standard.heterogeneity_p_value)
    sd = data.X[:, 0].astype(float).std()
    assert standard.coefficient[1] == pytest.approx(sd * raw.coefficient[1])
    assert standard.coefficient[0] == pytest.approx(data.effect.mean())


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 100), st.floats(-1e4, 1e4), st.integers(0, 1000))
def test_units_and_order_mean_nothing(scale, shift, seed):
    data = trial(30, seed % 7)
    X, order = known(data)[0], np.random.default_rng(seed).permutation(len(data.X))
    a = best_linear_projection(X, ["a", "b"], data.effect, data.cluster)
    b = best_linear_projection(
        (X * [scale, 1] + [shift, 0])[order],
        ["a", "b"],
        data.effect[order],
        99 - data.cluster[order],
    )
    np.testing.assert_allclose(b.t[1:], a.t[1:], rtol=1e-5)
    np.testing.assert_allclose(b.coefficient[1:] * [scale, 1], a.coefficient[1:], rtol=1e-5)
    np.testing.assert_allclose(b.effective_clusters[1:], a.effective_clusters[1:], rtol=1e-5)


def test_equal_clusters_all_count_and_a_coefficient_of_one_has_no_error(data):
    """CR1 tells almost no error for the indicator of one cluster, whose mean is as good as unknown:

    the mean of 5 rows with shared noise has a standard deviation of 1.4, CR1 says 0.02.
    """
    ours = best_linear_projection(
        np.column_stack([data.cluster == 3, data.X[:, 0]]).astype(float),
        ["one_user", "x"],
        data.effect,
        data.cluster,
    )
    assert np.sqrt(ours.covariance[1, 1]) < 0.1
    assert ours.effective_clusters[1] == pytest.approx(1, abs=0.1)
    row = ours.to_frame().iloc[1]
    assert (row["lower"], row["upper"], row["p_value"]) == (-np.inf, np.inf, 1)
    alternating = np.tile([-1.0, 0, 0, 0, 1], len(data.X) // 5)[:, None]
    even = best_linear_projection(alternating, ["x"], data.effect, data.cluster)
    np.testing.assert_allclose(even.effective_clusters, 1500)
    alone = best_linear_projection(
        (data.cluster == 3).astype(float)[:, None], ["one_user"], data.effect, data.cluster
    )
    assert alone.heterogeneity_p_value == 1


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda X: X[:5], r"X has shape \(5, 3\); expected \(7500, 3\)"),
        (lambda X: np.where(X > 3, np.inf, X), "without infinities"),
        (lambda X: X * [0, 1, 1], r"features \['outcome_only'\] are the same in every row"),
        (lambda X: X[:, [0, 0, 2]], r"columns \['outcome_only', 'uplift_only'\] tell each other"),
        (lambda X: np.where([True, False, False], np.nan, X), "'outcome_only' is missing in every"),
    ],
)
def test_bad_features_are_told(data, spoil, sentence):
    with pytest.raises(InputError, match=sentence):
        best_linear_projection(spoil(data.X[:, :3]), NAMES[:3], data.effect, data.cluster)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"effect": np.full(7500, np.nan)}, "effect has shape .* finite numbers"),
        ({"effect": np.ones(7500)}, "effect scores differ"),
        ({"cluster": np.arange(7500) % 3}, "3 clusters cannot tell the error of 3 coefficients"),
        ({"cluster": np.arange(4)}, r"cluster has shape \(4,\)"),
        ({"X": np.empty((7500, 0)), "names": []}, "a line needs a feature"),
    ],
)
def test_bad_rows_are_told(data, changes, sentence):
    roles = {"X": data.X[:, [0, 2]], "names": ["a", "b"], "effect": data.effect}
    with pytest.raises(InputError, match=sentence):
        best_linear_projection(**{**roles, "cluster": data.cluster, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_intervals_cover_the_best_line_of_a_crooked_uplift(shape):
    """tau = x^2 / 2 or tau = 2 e^-x: the best slope is cov(x, tau) / var(x), known from moments.

    Of a normal x that is 0; of an exponential one ``2 (1/4 - 1/2) = -1/2``. 1,000 trials of 2,000
    users (an exponential x has 235 effective ones among them; with 400 users it covered 92.8 %);
    coverage lies within 3 binomial standard errors (2.1 points) of 95 %.
    """
    hits, rng, n_users = 0, np.random.default_rng(0), 2000
    cluster = np.repeat(np.arange(n_users), 5)
    for _ in range(1000):
        shared = rng.normal(size=n_users)[cluster]
        if shape == "normal":
            x, target = rng.normal(size=n_users)[cluster], 0.0
            truth = x**2 / 2
        else:
            x, target = rng.exponential(size=n_users)[cluster], -0.5
            truth = 2 * np.exp(-x)
        effect = truth + 4 * shared + 4 * rng.normal(size=len(cluster))
        row = best_linear_projection(x[:, None], ["x"], effect, cluster).to_frame().iloc[1]
        hits += row["lower"] <= target <= row["upper"]
    print(f"coverage of the slope of {shape} x: {hits / 1000:.4f}")
    assert abs(hits / 1000 - 0.95) < 0.021
