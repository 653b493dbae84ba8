"""econml's DR-learner and causal forest."""

import warnings
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from uplift.adapters.models import GivenPropensity
from uplift.adapters.peer import PeerLearner, PeerRows
from uplift.arrays import Float32Array, FloatArray
from uplift.clusters import LEVEL
from uplift.cross_fit import Boosted
from uplift.errors import InputError
from uplift.learners.base import Boosters
from uplift.learners.training import Training

__all__ = ["EconMLDRLearner", "EconMLForest"]


class EconMLDRLearner(PeerLearner):
    """econml's ``DRLearner`` on boosters of `params`.

    ``uplift_a = argmin_tau sum_i (phi_a,i - tau(x_i))^2`` with the doubly robust score phi of our
    own DR-learner. One model of the outcome on X and arm gives all ``mu_a``, cross-fitted over
    our folds by user. Outcomes that are only 0 and 1 are boosted under the logistic loss, as
    probabilities.
    """

    name = "econml_dr"

    def _fit_peer(self, rows: PeerRows) -> Any:
        from econml.dr import DRLearner

        arms, features = self.n_arms_, rows.X.shape[1]
        with_arm = (*range(features), *range(features + arms + 1, features + 2 * arms + 1))
        peer = self._built(
            DRLearner,
            model_propensity=GivenPropensity(arms + 1),
            model_regression=self._booster(rows, rows.objective, with_arm, arms),
            model_final=self._booster(rows, "reg:squarederror"),
            cv=rows.splits,
            min_propensity=0.0,
            allow_missing=True,
            random_state=self.params.seed,
        )
        return peer.fit(rows.y, rows.arm, X=rows.X, W=rows.known, sample_weight=rows.weight)

    def _effect(self, peer: Any, X: Float32Array) -> FloatArray:
        effect: FloatArray = peer.const_marginal_effect(X)
        return effect


class EconMLForest(PeerLearner):
    """econml's causal forest on residuals (``CausalForestDML``), with honest intervals.

    ``y - m(x) = sum_a (1{arm = a} - e_a(x)) uplift_a(x) + noise``, solved locally in the leaves of
    honest trees: one half of a tree's rows places the splits, the other fills the leaves. m is
    boosted and cross-fitted over our folds by user. The forest takes no missing values: they
    enter as a number below their column's least, categories as their codes.
    """

    name = "econml_forest"
    clustered_: bool

    def predict_interval(self, X: Any) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper ends of intervals of 95 % for each uplift, (n, A) each.

        From the bootstrap of little bags (Athey, Tibshirani and Wager 2019): they cover the
        sampling spread of the forest, and its bias only as far as the trees grow deep.

        Raises
        ------
        InputError
            The forest was fitted with groups of several rows. It draws rows, not groups, and its
            intervals would be too short; use `half_sample_intervals`.
        """
        check_is_fitted(self, "clustered_")
        if self.clustered_:
            raise InputError(
                "the forest was fitted with groups of several rows, but its intervals take rows "
                "for independent and would be too short; use half_sample_intervals instead."
            )
        pieces = list(self._in_chunks(X, self._interval))
        return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        self.clustered_ = len(np.unique(data.groups)) < len(data.groups)
        return super()._fit_boosters(data)

    def _fit_peer(self, rows: PeerRows) -> Any:
        from econml.dml import CausalForestDML

        features = rows.X.shape[1]
        peer = self._built(
            CausalForestDML,
            model_y=self._booster(rows, rows.objective, range(features)),
            model_t=GivenPropensity(self.n_arms_ + 1),
            discrete_treatment=True,
            cv=rows.splits,
            n_estimators=400,
            n_jobs=self.params.n_threads or -1,
            random_state=self.params.seed,
        )
        below = _below(rows.X)
        X = _filled(rows.X, below)
        return peer.fit(rows.y, rows.arm, X=X, W=rows.known, sample_weight=rows.weight), below

    def _effect(self, peer: Any, X: Float32Array) -> FloatArray:
        forest, below = peer
        effect: FloatArray = forest.const_marginal_effect(_filled(X, below))
        return effect

    def _interval(self, boosters: Boosters, X: Float32Array) -> tuple[FloatArray, FloatArray]:
        forest, below = self.peer_
        with warnings.catch_warnings(action="ignore"):
            ends = forest.const_marginal_effect_interval(_filled(X, below), alpha=1 - LEVEL)
        lower, upper = (np.asarray(end).reshape(len(X), self.n_arms_) for end in ends)
        return lower, upper


def _below(X: Float32Array) -> Float32Array:
    """Return a number below each column's least; 0 where there is none."""
    known = np.where(np.isnan(X), np.inf, X).min(axis=0)
    least: Float32Array = np.where(np.isfinite(known), known - np.abs(known) * 0.01 - 1, 0)
    return least.astype(np.float32)


def _filled(X: Float32Array, below: Float32Array) -> Float32Array:
    return np.where(np.isnan(X), below, X)
