"""Outcome models of other users' rows, and what MRDR asks of them."""

import numpy as np
import pytest
from eval_policies import Threshold, handmade

from offline_eval.estimators import Decisions, dr
from offline_eval.outcomes import cross_fitted_outcome, mrdr_weights
from offline_eval.policies import walk


def test_mrdr_weights_by_hand() -> None:
    weights = mrdr_weights(np.array([1.0, 0.0, 0.5]), np.array([0.5, 0.2, 0.25]))
    assert weights == pytest.approx([2.0, 0.0, 6.0])


@pytest.mark.parametrize("mrdr", [False, True])
def test_a_cross_fitted_model_serves_dr_as_the_true_one_does(mrdr: bool) -> None:
    rng, n = np.random.default_rng(0), 6000
    user = rng.integers(0, 1500, n)
    f_x = rng.normal(0, 1, 1500)[user]
    arm = (rng.random(n) < 0.3).astype(int)
    propensity = np.where(arm == 1, 0.3, 0.7)
    y = 2 * f_x + arm * (f_x > 0) + rng.normal(0, 0.3, n)
    log = handmade(y=y, arm=arm, propensity=propensity, f_x=f_x, user_id=user)
    pi = walk(Threshold("f_x"), log)
    target = pi[np.arange(n), arm]
    weight = mrdr_weights(target, propensity) if mrdr else None
    outcome = cross_fitted_outcome(log, weight=weight)

    def width(model: np.ndarray) -> float:
        policy = np.einsum("na,na->n", pi, model)
        modelled = (model[np.arange(n), arm], policy)
        return dr.sums(Decisions(y, propensity, target, log.cluster, *modelled)).error

    known = np.stack([2 * f_x, 2 * f_x + (f_x > 0)], axis=1)
    assert width(outcome) < 1.02 * width(known) < 0.9 * width(np.full((n, 2), y.mean()))
