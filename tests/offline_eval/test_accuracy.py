"""AUC of predicted purchases."""

import numpy as np
import pytest
from eval_policies import handmade
from sklearn.metrics import roc_auc_score

from offline_eval.accuracy import auc, purchase_auc
from uplift.errors import InputError


def test_auc_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    score, hit = rng.integers(0, 6, 400).astype(float), rng.random(400) < 0.3
    found = auc(score, hit, np.arange(400))
    assert found.value == pytest.approx(roc_auc_score(hit, score))
    assert found.lower < found.value < found.upper


@pytest.mark.slow
def test_intervals_cover_with_clusters() -> None:
    rng, covered = np.random.default_rng(1), []
    for _ in range(600):
        user = np.repeat(np.arange(150), 4)
        mood = rng.normal(0, 1, 150)[user]
        hit = rng.random(600) < 0.3
        estimate = auc(mood + rng.normal(0, 0.3, 600), hit, user)
        covered.append(estimate.lower <= 0.5 <= estimate.upper)
    assert abs(np.mean(covered) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 600)


def test_overall_and_by_arm() -> None:
    rng, n = np.random.default_rng(2), 2000
    arm = rng.integers(0, 2, n)
    chance = np.stack([rng.random(n) * 0.3, rng.random(n) * 0.6], axis=1)
    y = (rng.random(n) < chance[np.arange(n), arm]).astype(float)
    log = handmade(arm=arm, y=y)
    found = purchase_auc(log, chance)
    assert list(found) == ["overall", "none", "request"]
    assert found["request"].value == pytest.approx(roc_auc_score(y[arm == 1], chance[arm == 1, 1]))


def test_an_arm_without_buyers_is_left_out() -> None:
    log = handmade(arm=np.array([0, 0, 1, 1]), y=np.array([0.0, 0.0, 1.0, 0.0]))
    assert list(purchase_auc(log, np.random.default_rng(0).random((4, 2)))) == [
        "overall",
        "request",
    ]


def test_what_has_no_auc_is_told() -> None:
    log = handmade(arm=np.zeros(3, int), y=np.array([0.0, 0.5, 1.0]))
    with pytest.raises(InputError, match="is not binary"):
        purchase_auc(log, np.ones((3, 2)))
    with pytest.raises(InputError, match="outcome has shape"):
        purchase_auc(log, np.ones((3, 3)))
    with pytest.raises(InputError, match="rows of both kinds"):
        auc(np.ones(3), np.ones(3, bool), np.arange(3))
