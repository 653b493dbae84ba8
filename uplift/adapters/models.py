"""The models that a peer is given: our boosters, and propensities that are known already."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from uplift.arrays import Float32Array, FloatArray
from uplift.binned import BinnedRows
from uplift.boosting import BoostedModel, BoostParams, BoostTask, Objective, to_mean, train

__all__ = ["GivenPropensity", "PeerBooster"]


class PeerBooster(BaseEstimator):
    """A booster as the peers take one; under the logistic loss it predicts the probability.

    Parameters
    ----------
    params, objective : of the boosting
    types : ``q`` or ``c`` for each column that is used
    columns : places of these in what the peer hands over; all by default
    """

    def __init__(
        self,
        params: BoostParams,
        objective: Objective,
        types: Sequence[str],
        columns: Sequence[int] | None = None,
    ) -> None:
        self.params, self.objective, self.types, self.columns = params, objective, types, columns

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Boost for all of `max_rounds`."""
        matrix, index, params = self._matrix(X), np.arange(len(X)), self.params
        task = BoostTask(np.ravel(y).astype(np.float64), self.objective, sample_weight)
        rows = BinnedRows(matrix, self.types, max_bin=params.max_bin, n_threads=params.n_threads)
        booster = train(task, rows.matrix("all", index), index, params, params.max_rounds)
        self.model_ = BoostedModel(booster, tuple(self.types))
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the mean outcome, (n,)."""
        return to_mean(self.model_.margin(self._matrix(X)), self.objective)

    def _matrix(self, X: Any) -> Float32Array:
        matrix = np.asarray(X, dtype=np.float32)
        return matrix if self.columns is None else matrix[:, list(self.columns)]


class GivenPropensity(BaseEstimator):
    """A "classifier" of the arm that reads known propensities from the last n columns."""

    def __init__(self, n: int) -> None:
        self.n = n

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn nothing."""
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the last n columns of X."""
        return np.asarray(X, dtype=np.float64)[:, -self.n :]
