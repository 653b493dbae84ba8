"""The contract of every learner: outcomes under each arm, and their differences."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator

from uplift.arrays import Float32Array, FloatArray, IntArray
from uplift.boosting import BoostedModel, BoostParams, BoostTask, Objective, train_cross_fitted
from uplift.contract import LARGEST, check_propensity
from uplift.cross_fit import fold_of
from uplift.errors import InputError

__all__ = ["Training", "UpliftLearner"]


@dataclass(frozen=True)
class Training:
    """Checked training data: the outcome to boost, who got which arm, and the folds."""

    task: BoostTask
    treatment: IntArray
    folds: IntArray
    params: BoostParams

    @property
    def n_arms(self) -> int:
        """Number of arms beside arm 0."""
        return int(self.treatment.max())

    def boost(self, task: BoostTask | None = None, arm: int | None = None) -> BoostedModel:
        """Boost a task on all rows, or on the rows of one arm (the task then has just these)."""
        if arm is None:
            return train_cross_fitted(task or self.task, self.folds, self.params)
        rows = self.treatment == arm
        return train_cross_fitted(task or self.task.rows(rows), self.folds[rows], self.params)


class UpliftLearner(BaseEstimator, ABC):
    """Learn the outcome under every arm; uplift is the difference to arm 0.

    ``uplift[i, a - 1] = E[y | x_i, arm a] - E[y | x_i, arm 0]``

    A binary outcome (only 0 and 1) is boosted under the logistic loss and always comes back as a
    probability; any other outcome under squared error.

    Parameters
    ----------
    params : boosting parameters
    n_folds : folds by group that choose the number of rounds
    feature_types : ``q`` or ``c`` for each column of X; all quantities by default

    Attributes
    ----------
    boosters_ : the trained boosters by name
    objective_ : the loss that was boosted
    n_arms_ : number of arms beside arm 0
    """

    name: ClassVar[str]
    boosters_: dict[str, BoostedModel]
    objective_: Objective
    n_arms_: int

    def __init__(
        self,
        params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
        n_folds: int = 3,
        feature_types: Sequence[str] | None = None,
    ) -> None:
        self.params = params
        self.n_folds = n_folds
        self.feature_types = feature_types

    def fit(
        self,
        X: Any,
        y: Any,
        treatment: Any,
        *,
        propensity: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Fit on n decision points.

        Parameters
        ----------
        X : (n, features) numbers; NaN is missing
        y : (n,) finite outcome
        treatment : (n,) arm, 0 .. A; every arm must occur
        propensity : (n,) probability of the logged arm; S, T and logit condition on X instead
            and do not use it
        sample_weight : (n,) weights >= 0
        groups : (n,) clusters that folds must not divide; each row its own by default

        Raises
        ------
        InputError
            Shapes, types or values do not fit this contract.
        """
        if propensity is not None:
            check_propensity(_vector(propensity, "propensity", len(X)))
        data = self._training(X, y, treatment, sample_weight, groups)
        self.objective_, self.n_arms_ = data.task.objective, data.n_arms
        self.boosters_ = self._fit_boosters(data)
        return self

    def predict_outcome(self, X: Any) -> FloatArray:
        """Return the expected outcome under each arm, (n, A + 1)."""
        margins = self._margins(_matrix(X))
        return expit(margins) if self.objective_ == "binary:logistic" else margins

    def predict(self, X: Any) -> FloatArray:
        """Return the uplift of each arm over arm 0, (n, A)."""
        outcome = self.predict_outcome(X)
        return outcome[:, 1:] - outcome[:, :1]

    @abstractmethod
    def _fit_boosters(self, data: Training) -> dict[str, BoostedModel]:
        """Train the boosters that the learner consists of."""

    @abstractmethod
    def _margins(self, X: Float32Array) -> FloatArray:
        """Return the margin of the outcome under each arm, (n, A + 1)."""

    def _training(self, X: Any, y: Any, treatment: Any, weight: Any, groups: Any) -> Training:
        X32, outcome = _matrix(X), _vector(y, "y", len(X))
        arm = np.asarray(treatment)
        if arm.shape != outcome.shape or arm.dtype.kind not in "iub":
            raise InputError(
                f"treatment has shape {arm.shape} and type {arm.dtype}; expected {outcome.shape} "
                "whole numbers 0 .. A."
            )
        arm = arm.astype(np.int64, copy=False)
        sizes = None if weight is None else _vector(weight, "sample_weight", len(X32), low=0.0)
        _check_arms(arm, sizes)
        rows = np.arange(len(X32)) if groups is None else np.asarray(groups)
        if rows.shape != outcome.shape:
            raise InputError(f"groups has shape {rows.shape}; expected {outcome.shape}.")
        if self.n_folds < 2:
            raise InputError(f"n_folds is {self.n_folds}; expected at least 2.")
        binary = bool(np.isin(outcome, (0.0, 1.0)).all())
        task = BoostTask(
            X32,
            outcome,
            "binary:logistic" if binary else "reg:squarederror",
            self._types(X32.shape[1]),
            sizes,
        )
        return Training(task, arm, fold_of(rows, self.n_folds, self.params.seed), self.params)

    def _types(self, n_features: int) -> tuple[str, ...]:
        types = ("q",) * n_features if self.feature_types is None else tuple(self.feature_types)
        if len(types) != n_features:
            raise InputError(f"feature_types has {len(types)} entries; X has {n_features} columns.")
        return types


def _matrix(X: Any) -> Float32Array:
    try:
        matrix = np.asarray(X, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"X is not numbers ({error}); encode it first.") from None
    if matrix.ndim != 2:
        raise InputError(f"X has shape {matrix.shape}; expected (rows, features).")
    if np.isinf(matrix).any():
        raise InputError("X holds infinite values; use finite numbers, or NaN where unknown.")
    return matrix


def _vector(values: Any, what: str, n: int, low: float = -np.inf) -> FloatArray:
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (n,):
        raise InputError(f"{what} has shape {vector.shape}; expected ({n},) as X has {n} rows.")
    if not ((np.abs(vector) < LARGEST) & (vector >= low)).all():
        raise InputError(
            f"{what} holds values that are not finite, beyond {LARGEST:g} or below {low:g}."
        )
    return vector


def _check_arms(arm: IntArray, weight: FloatArray | None) -> None:
    counts = np.bincount(arm, weight) if arm.size and arm.min() >= 0 else np.zeros(1)
    if len(counts) < 2 or (counts == 0).any():
        raise InputError(
            f"treatment holds the arms {np.unique(arm).tolist()[:10]}; expected 0, 1, .. A with "
            "rows of some weight in each."
        )
