from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import NAMES, trial, true_uplift

from uplift import InputError, qini_curve
from uplift.explain import permutation_importance
from uplift.explain.permutation import _area_terms


@pytest.fixture(scope="module")
def data():
    return trial(2000)


@pytest.fixture(scope="module")
def importance(data):
    return permutation_importance(data.subject(), data.effect, data.cluster)


def by_name(importance, what):
    return dict(zip(importance.names, getattr(importance, what), strict=True))


@pytest.mark.parametrize("what", ["loss", "qini"])
def test_what_drives_the_uplift_is_first_and_what_drives_the_outcome_has_none(importance, what):
    found = by_name(importance, what)
    assert max(found, key=lambda name: found[name].value) == "uplift_only"
    assert found["uplift_only"].lower > found["kind"].value > 0
    for unused in ("outcome_only", "noise"):
        assert (found[unused].lower, found[unused].value, found[unused].upper) == (0, 0, 0)


def test_the_loss_of_the_true_uplift_is_the_variance_it_loses(importance):
    """``E (tau - tau')^2 = 2 Var`` of the shuffled part, its other parts being independent."""
    found = by_name(importance, "loss")
    for name, variance in (("uplift_only", 0.9), ("kind", 0.25 * 2 / 9)):
        assert found[name].lower < 2 * variance < found[name].upper


def test_the_area_is_that_of_the_curve(data, importance):
    curve = qini_curve(data.truth, data.effect, data.cluster)
    assert importance.area.value == pytest.approx(curve.area.value, rel=1e-4)  # 1,000 cells
    width = importance.area.upper - importance.area.lower
    # The curve's ends are quantiles of 200 draws, each known to 13 % of the half-width (1 s.e.).
    assert width == pytest.approx(curve.area.upper - curve.area.lower, rel=0.3)


def area(score, effect):
    curve = qini_curve(score, effect, np.arange(len(score)), draws=1)
    return curve.area.value


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 10_000))
def test_area_terms_have_the_area_as_their_mean_and_do_not_care_for_the_order(n, levels, seed):
    rng = np.random.default_rng(seed)
    score, effect = rng.integers(0, levels, n).astype(float), rng.normal(size=n)
    terms, order = _area_terms(score, effect), rng.permutation(n)
    assert terms.mean() == pytest.approx(area(score, effect), abs=1e-9)
    np.testing.assert_allclose(_area_terms(score[order], effect[order]), terms[order], atol=1e-9)
    np.testing.assert_allclose(_area_terms(3 * score + 1, effect), terms, atol=1e-9)


def test_area_terms_are_the_influence_of_single_points():
    """Leaving out a point changes the area by ``-(term - area) / n``, and by some 1 / n^2 more."""
    rng = np.random.default_rng(0)
    score, effect = rng.normal(size=400), rng.normal(size=400)
    terms, whole = _area_terms(score, effect), area(score, effect)
    without = [area(np.delete(score, i), np.delete(effect, i)) for i in range(50)]
    np.testing.assert_allclose(
        (whole - np.array(without)) * 400, terms[:50] - whole, atol=4 * np.abs(effect).max() / 400
    )


def test_a_model_in_ignorance_has_no_importance_at_all(data):
    blind = data.subject(lambda X: np.full((len(X), 1), 0.3))
    found = permutation_importance(blind, data.effect, data.cluster)
    assert all(e.value == 0 and e.upper == 0 for e in (*found.loss, *found.qini))


def test_an_error_exchanged_for_another_costs_nothing(data):
    wrong = data.subject(lambda X: true_uplift(X) + X[:, :1])
    found = permutation_importance(wrong, data.effect, data.cluster)
    loss = by_name(found, "loss")["outcome_only"]
    assert loss.lower < 0 < loss.upper


def test_a_feature_used_the_wrong_way_round_has_negative_importance(data):
    turned = data.subject(lambda X: -true_uplift(X))
    found = permutation_importance(turned, data.effect, data.cluster)
    assert by_name(found, "loss")["uplift_only"].upper < 0
    assert by_name(found, "qini")["uplift_only"].upper < 0


def test_the_order_of_features_means_nothing_and_the_seed_decides(data):
    turned = replace(
        data.subject(lambda X: true_uplift(X[:, ::-1])),
        X=np.ascontiguousarray(data.X[:, ::-1]),
        names=NAMES[::-1],
    )
    a, b, other = (
        permutation_importance(s, data.effect, data.cluster, repeats=2, seed=seed)
        for s, seed in ((data.subject(), 1), (turned, 1), (data.subject(), 2))
    )
    assert by_name(a, "loss") == by_name(b, "loss")
    assert by_name(a, "qini") == by_name(b, "qini")
    assert by_name(a, "loss") != by_name(other, "loss")


def test_chunks_change_nothing_and_the_rows_stay_as_they_were(data, monkeypatch):
    before = data.X.copy()
    whole = permutation_importance(data.subject(), data.effect, data.cluster, repeats=1)
    monkeypatch.setattr("uplift.explain.subject._CHUNK_ROWS", 777)
    assert permutation_importance(data.subject(), data.effect, data.cluster, repeats=1) == whole
    np.testing.assert_array_equal(data.X, before)


def test_another_arm_is_explained_by_its_own_column(data):
    two = data.subject(lambda X: np.column_stack([np.zeros(len(X)), true_uplift(X)]), arm=2)
    one = permutation_importance(data.subject(), data.effect, data.cluster, repeats=1)
    assert permutation_importance(two, data.effect, data.cluster, repeats=1) == one


def test_the_frame_is_sorted_by_loss(importance):
    frame = importance.to_frame()
    assert frame["feature"].tolist()[:2] == ["uplift_only", "kind"]
    assert frame["loss"].is_monotonic_decreasing
    assert list(frame.columns[1:4]) == ["loss", "loss_lower", "loss_upper"]


def test_one_cluster_tells_nothing_of_the_error(data):
    found = permutation_importance(data.subject(), data.effect, 0 * data.cluster, repeats=1)
    assert found.loss[1].lower == -np.inf


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"effect": np.ones(3)}, r"effect has shape \(3,\); expected \(10000,\)"),
        ({"effect": np.full(10_000, np.nan)}, "finite numbers"),
        ({"cluster": np.full(10_000, -1)}, "expected .* codes 0, 1"),
        ({"repeats": 0}, "repeats is 0; expected at least 1"),
    ],
)
def test_bad_input_is_told(data, changes, sentence):
    given = {"effect": data.effect, "cluster": data.cluster, **changes}
    with pytest.raises(InputError, match=sentence):
        permutation_importance(data.subject(), **given)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_intervals_cover_what_a_huge_log_says(noise):
    """Coverage of 400 trials is at least 95 % less 3 binomial standard errors (3.3 points).

    Without noise only the rows and the shuffling vary; with it, intervals are wide by up to 15 %.
    The target of the loss is known (see above), the area's is that of 200,000 rows.
    """
    huge = trial(40_000, seed=10_000, noise=0.0)
    target = permutation_importance(huge.subject(), huge.effect, huge.cluster)
    want = {"loss": 1.8, "qini": target.qini[1].value}
    hits = dict.fromkeys(want, 0)
    for seed in range(400):
        data = trial(200, seed=seed, noise=noise)
        found = permutation_importance(data.subject(), data.effect, data.cluster, seed=seed)
        for what, value in want.items():
            estimate = getattr(found, what)[1]
            hits[what] += estimate.lower <= value <= estimate.upper
    print(f"noise {noise}: coverage { ({k: v / 400 for k, v in hits.items()}) }")
    assert min(hits.values()) / 400 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)
