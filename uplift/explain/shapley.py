"""How much each feature moves a model's uplift: exact Shapley values of a surrogate."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xgboost as xgb

from uplift.arrays import Float32Array, FloatArray, IntArray
from uplift.clusters import Estimate, ratio_estimate
from uplift.cross_fit import fold_of
from uplift.errors import InputError
from uplift.explain.subject import Subject, check_rows, sample_clusters

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEAST_FIDELITY", "ShapImportance", "Shapley", "Surrogate", "shap_importance"]

#: A surrogate that explains less of the uplift's variance than this is warned of.
LEAST_FIDELITY = 0.8
_FOLDS = 4
_ROUNDS = 200
_OPTIONS = {
    "objective": "reg:squarederror",
    "base_score": 0.0,
    "tree_method": "hist",
    "learning_rate": 0.2,
    "max_depth": 5,
}


class Shapley(NamedTuple):
    """Contributions of features to the uplift of single rows.

    Attributes
    ----------
    contributions : (n, features); with the base they add up to the surrogate's uplift
    base : uplift of a row of which nothing is known
    """

    contributions: FloatArray
    base: float


@dataclass(frozen=True)
class Surrogate:
    """Trees that repeat the uplift of a model of any kind.

    Attributes
    ----------
    booster : trees of the uplift, centred and scaled
    types : XGBoost's type of each feature
    mean, scale : mean and standard deviation of the uplift that the trees were grown on
    """

    booster: xgb.Booster
    types: tuple[str, ...]
    mean: float
    scale: float

    @classmethod
    def fit(cls, subject: Subject, seed: int = 0) -> "Surrogate":
        """Grow trees on predictions, which hold no noise: the rounds are fixed."""
        tau, types = subject.uplift, subject.types
        mean, scale = float(tau.mean()), float(tau.std())
        if np.ptp(tau) == 0:
            mean, scale = float(tau[0]), 0.0
        matrix = _matrix(subject.X, types, (tau - mean) / (scale or 1.0))
        booster = xgb.train({**_OPTIONS, "seed": seed}, matrix, _ROUNDS if scale else 0)
        return cls(booster, types, mean, scale)

    def predict(self, X: Float32Array) -> FloatArray:
        """Return the (n,) uplift as the surrogate has it."""
        margin = self.booster.predict(_matrix(X, self.types), output_margin=True)
        return self.mean + self.scale * margin.astype(np.float64)

    def shapley(self, X: Float32Array) -> Shapley:
        """Return the exact Shapley values of each row (TreeSHAP, path-dependent)."""
        parts = self.booster.predict(_matrix(X, self.types), pred_contribs=True)
        scaled = self.scale * parts.astype(np.float64)
        return Shapley(scaled[:, :-1], self.mean + float(scaled[0, -1]))


@dataclass(frozen=True)
class ShapImportance:
    """How far each feature moves the uplift, on average; in the order of the matrix.

    Attributes
    ----------
    names : the features
    importance : mean absolute Shapley value, outcome per decision point
    fidelity : R^2 of the surrogate against the model's uplift, on clusters that it has not seen
    surrogate : for the Shapley values of any rows: ``surrogate.shapley(X)``
    """

    names: tuple[str, ...]
    importance: tuple[Estimate, ...]
    fidelity: float
    surrogate: Surrogate

    def largest(self, count: int) -> tuple[str, ...]:
        """Return the names of the features of greatest importance, the greatest first."""
        order = np.argsort([-e.value for e in self.importance], kind="stable")
        return tuple(self.names[place] for place in order[:count])

    def to_frame(self) -> "pd.DataFrame":
        """Return a row a feature, the greatest first; the fidelity stands in every row."""
        import pandas as pd

        columns: dict[str, Any] = {
            "feature": self.names,
            "shap": [e.value for e in self.importance],
            "shap_lower": [e.lower for e in self.importance],
            "shap_upper": [e.upper for e in self.importance],
            "fidelity": self.fidelity,
        }
        return pd.DataFrame(columns).sort_values(
            "shap", ascending=False, kind="stable", ignore_index=True
        )


def shap_importance(
    subject: Subject,
    cluster: IntArray,
    *,
    rows: int = 40_000,
    explained: int = 2_000,
    seed: int = 0,
) -> ShapImportance:
    """Measure how far each feature moves the uplift, by Shapley values.

    ``importance_j = mean |phi_ij|``, ``tau(x_i) ~ base + sum_j phi_ij``

    phi are the exact Shapley values (TreeSHAP) of one regression of the predicted uplift on the
    features, boosted with squared error, the same for every learner. Shapley values of a learner's
    outcome models would not do: they tell what moves the outcome, and a feature that sells
    much with or without a request ranks first there, though it says nothing about the request.
    Nor is the difference of the values of two outcome models to be had where the uplift is a
    difference of probabilities, an average over learners or a forest's.

    - Fidelity: R^2 against the model's uplift, on a quarter of the clusters that the regression
      has not seen; the values describe the model as far as this goes. Below 0.8 it warns. A
      constant uplift has importance 0 and fidelity 1.
    - It describes the model, not the world: whether a feature improves the uplift is told by
      `permutation_importance`. Features that say the same share importance by the trees' choice.
    - Intervals: by cluster, over the rows explained; model and surrogate are taken as given.

    Parameters
    ----------
    subject : the uplift and its rows
    cluster : (n,) cluster codes
    rows : about so many rows are drawn for the surrogate and its fidelity, whole clusters each
    explained : about so many of the rows that it has not seen have their values averaged
    seed : of the draws

    Raises
    ------
    InputError
        Shapes differ, or there are too few clusters to keep some unseen.

    Notes
    -----
    Lundberg et al., "From local explanations to global understanding with explainable AI for
    trees", Nature Machine Intelligence 2020.
    """
    check_rows(len(subject.X), cluster)
    if rows < 1 or explained < 1:
        raise InputError(f"rows is {rows}, explained {explained}; expected at least 1.")
    drawn = np.flatnonzero(sample_clusters(cluster, rows, seed))
    unseen = fold_of(cluster[drawn], _FOLDS, seed) == 0
    if unseen.all() or not unseen.any():
        raise InputError(
            f"{len(np.unique(cluster[drawn]))} clusters are too few to keep a quarter of them "
            "unseen; use a larger log."
        )
    surrogate = Surrogate.fit(subject.take(drawn[~unseen]), seed)
    fidelity = _fidelity(surrogate, subject.take(drawn[unseen]))
    chosen = drawn[unseen][sample_clusters(cluster[drawn[unseen]], explained, seed + 1)]
    sizes = np.abs(surrogate.shapley(subject.X[chosen]).contributions)
    one = np.ones(len(chosen))
    importance = tuple(ratio_estimate(column, one, cluster[chosen]) for column in sizes.T)
    return ShapImportance(tuple(subject.names), importance, fidelity, surrogate)


def _fidelity(surrogate: Surrogate, unseen: Subject) -> float:
    error = float(np.square(surrogate.predict(unseen.X) - unseen.uplift).sum())
    spread = float(np.square(unseen.uplift - unseen.uplift.mean()).sum())
    fidelity = 1 - error / spread if spread else float(error == 0)
    if not fidelity >= LEAST_FIDELITY:
        warnings.warn(
            f"the surrogate explains {fidelity:.0%} of the uplift's variance on rows it has not "
            f"seen, less than {LEAST_FIDELITY:.0%}: its Shapley values describe this model only "
            "in part; give it more rows.",
            stacklevel=3,
        )
    return fidelity


def _matrix(X: Float32Array, types: tuple[str, ...], y: FloatArray | None = None) -> xgb.DMatrix:
    return xgb.DMatrix(X, y, feature_types=list(types), enable_categorical=True)
