"""causalml's X-learner and uplift random forest."""

from typing import Any

import numpy as np

from uplift.adapters.peer import PeerLearner, PeerRows
from uplift.arrays import Float32Array, FloatArray
from uplift.errors import InputError
from uplift.learners.training import Training
from uplift.propensity import of_logged, pair_share

__all__ = ["CausalMLForest", "CausalMLXLearner"]


class CausalMLXLearner(PeerLearner):
    """causalml's X-learner (``BaseXRegressor``) on boosters of `params`.

    ``uplift_a(x) = e tau_0(x) + (1 - e) tau_1(x)``, with ``tau_0`` fitted on ``mu_a(x) - y`` of
    arm 0's rows and ``tau_1`` on ``y - mu_0(x)`` of arm a's. The mu are in-sample: each imputes
    outcomes of the other arm's rows, but of the same users. e is a propensity, which a row to be
    scored does not have; the training rows' mean stands in for it. Outcomes that are only 0 and 1
    are boosted under the logistic loss, as probabilities. Weights are refused: it takes none.
    """

    name = "causalml_x"

    def _check(self, data: Training) -> None:
        if data.weight is not None:
            raise InputError("sample_weight is given; causalml's X-learner takes none: leave it.")

    def _fit_peer(self, rows: PeerRows) -> Any:
        from causalml.inference.meta import BaseXRegressor

        outcome = self._booster(rows, rows.objective)
        effect = self._booster(rows, "reg:squarederror")
        peer = self._built(
            BaseXRegressor,
            control_outcome_learner=outcome,
            treatment_outcome_learner=outcome,
            control_effect_learner=effect,
            treatment_effect_learner=effect,
        )
        shares = {arm: pair_share(rows.known, arm) for arm in range(1, self.n_arms_ + 1)}
        peer.fit(rows.X, treatment=rows.arm, y=rows.y, p=shares)
        mean = {arm: float(share.mean()) for arm, share in shares.items()}
        return peer, mean

    def _effect(self, peer: Any, X: Float32Array) -> FloatArray:
        learner, mean = peer
        shares = {arm: np.full(len(X), share) for arm, share in mean.items()}
        effect: FloatArray = learner.predict(X, p=shares)
        return effect


class CausalMLForest(PeerLearner):
    """causalml's uplift random forest (``UpliftRandomForestClassifier``).

    Trees whose splits drive the arms' outcome rates apart; a leaf's uplift is the difference of
    its rates. Binary outcomes only. Trees draw rows, not users, and there are no nuisances to
    fold. The forest has no propensities: given ones enter as weights ``P(arm) / P(arm | x)``, all
    1 where the propensities are constant; without them it conditions on X, as S and T do.
    Categories enter as their codes.
    """

    name = "causalml_forest"
    needs_propensity = False

    def _check(self, data: Training) -> None:
        if data.objective != "binary:logistic":
            raise InputError(
                "y holds values beside 0 and 1; causalml's uplift forest takes binary outcomes "
                "only: choose another learner."
            )

    def _training(self, *given: Any) -> Training:
        data = super()._training(*given)
        return data if data.propensity is None else data.with_propensities()

    def _fit_peer(self, rows: PeerRows) -> Any:
        from causalml.inference.tree import UpliftRandomForestClassifier

        peer = self._built(
            UpliftRandomForestClassifier,
            control_name=0,
            n_estimators=100,
            random_state=self.params.seed,
            n_jobs=self.params.n_threads or -1,
        )
        weight = _stabilised(rows)
        return peer.fit(rows.X, treatment=rows.arm, y=rows.y.astype(int), sample_weight=weight)

    def _effect(self, peer: Any, X: Float32Array) -> FloatArray:
        effect: FloatArray = peer.predict(X)
        return effect


def _stabilised(rows: PeerRows) -> FloatArray | None:
    """Return the rows' weights times ``P(arm) / P(arm | x)``."""
    if rows.propensity is None:
        return rows.weight
    weight = np.ones(len(rows.y)) if rows.weight is None else rows.weight
    share = np.average(rows.propensity, axis=0, weights=weight)
    return weight * share[rows.arm] / of_logged(rows.propensity, rows.arm)
