from dataclasses import replace

import numpy as np
import pytest
from planted import trial, true_uplift

from uplift import InputError
from uplift.explain import shap_importance
from uplift.explain.shapley import Surrogate


@pytest.fixture(scope="module")
def data():
    return trial(1200)


@pytest.fixture(scope="module")
def importance(data):
    return shap_importance(data.subject(), data.cluster)


def test_what_drives_the_uplift_is_first_and_what_drives_the_outcome_is_nothing(importance):
    found = dict(zip(importance.names, importance.importance, strict=True))
    assert importance.largest(2) == ("uplift_only", "kind")
    for unused in ("outcome_only", "noise"):
        assert found[unused].value < 0.02 * found["uplift_only"].value


def test_importance_is_the_mean_size_of_what_an_additive_feature_adds(data, importance):
    """Shapley values of an additive uplift are its centred parts, as far as R^2 goes."""
    part = np.nan_to_num(data.X[:, 1])
    found = importance.importance[1]
    assert found.value == pytest.approx(np.abs(part - part.mean()).mean(), rel=0.1)
    assert found.lower < found.value < found.upper


def test_contributions_add_up_to_the_surrogate_and_nearly_to_the_model(data, importance):
    contributions, base = importance.surrogate.shapley(data.X[:500])
    told = importance.surrogate.predict(data.X[:500])
    np.testing.assert_allclose(contributions.sum(axis=1) + base, told, atol=1e-5)
    assert contributions.shape == (500, 4)
    assert importance.fidelity > 0.95
    assert 1 - np.var(told - data.truth[:500]) / np.var(data.truth[:500]) > 0.95


def test_contributions_are_shaps_own(data, importance):
    """The shap package's explainer of the same trees, in the units of the trees."""
    shap = pytest.importorskip("shap")
    surrogate = Surrogate.fit(replace(data.subject(), vocabulary={}))  # it takes no categories
    explainer = shap.TreeExplainer(surrogate.booster, feature_perturbation="tree_path_dependent")
    theirs = surrogate.scale * explainer.shap_values(data.X[:100])
    np.testing.assert_allclose(surrogate.shapley(data.X[:100]).contributions, theirs, atol=1e-4)


def test_uplifts_of_any_size_are_explained_alike(data, importance):
    """Purchases per point are small: 1e-6 times the uplift has 1e-6 times the importance."""
    small = data.subject(lambda X: 1e-6 * true_uplift(X))
    found = shap_importance(small, data.cluster)
    assert found.fidelity == pytest.approx(importance.fidelity, abs=1e-3)
    assert found.importance[1].value == pytest.approx(
        1e-6 * importance.importance[1].value, rel=0.01
    )


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_a_constant_uplift_has_no_importance(data, level):
    found = shap_importance(data.subject(lambda X: np.full((len(X), 1), level)), data.cluster)
    assert found.fidelity == 1
    assert all(e.value == e.upper == 0 for e in found.importance)
    assert found.surrogate.shapley(data.X[:3]).base == pytest.approx(level)


def test_a_surrogate_that_cannot_follow_is_warned_of(data):
    def rugged(X):
        return np.sin(1e4 * X[:, :1].astype(float))

    with pytest.warns(UserWarning, match="explains -?[0-9]+% of the uplift's variance"):
        found = shap_importance(data.subject(rugged), data.cluster)
    assert found.fidelity < 0.8


def test_the_seed_decides(data):
    a, b, c = (
        shap_importance(data.subject(), data.cluster, rows=1000, seed=seed) for seed in (1, 1, 2)
    )
    assert a.importance == b.importance
    assert a.importance != c.importance


def test_the_frame_is_sorted_and_carries_the_fidelity(importance):
    frame = importance.to_frame()
    assert frame["feature"].tolist()[:2] == ["uplift_only", "kind"]
    assert (frame["fidelity"] == importance.fidelity).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cluster": np.zeros(6000, int)}, "1 clusters are too few to keep a quarter"),
        ({"cluster": np.zeros(3, int)}, r"cluster has shape \(3,\)"),
        ({"rows": 0}, "rows is 0, explained 2000"),
    ],
)
def test_bad_input_is_told(data, options, sentence):
    with pytest.raises(InputError, match=sentence):
        shap_importance(data.subject(), **{"cluster": data.cluster, **options})
