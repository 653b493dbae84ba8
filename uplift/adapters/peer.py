"""What all learners of other libraries share: rows, propensities, folds, a control booster."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from uplift.adapters.models import PeerBooster
from uplift.arrays import Float32Array, FloatArray, IntArray
from uplift.boosting import BoostParams, Objective
from uplift.cross_fit import Boosted, fold_masks
from uplift.errors import InputError
from uplift.learners.base import Boosters, Prediction
from uplift.learners.effect import EffectLearner
from uplift.learners.training import Training

__all__ = ["PeerLearner", "PeerRows"]


@dataclass(frozen=True, eq=False)
class PeerRows:
    """The rows of a training that a peer is fitted on."""

    X: Float32Array
    types: tuple[str, ...]
    y: FloatArray
    arm: IntArray
    folds: IntArray
    propensity: FloatArray | None
    weight: FloatArray | None
    objective: Objective

    @classmethod
    def of(cls, data: Training, index: Any = slice(None)) -> "PeerRows":
        """Take some rows of a training, all by default."""
        X, types, folds = data.rows.binned.X, data.rows.binned.types, data.rows.folds
        propensity, weight = (v if v is None else v[index] for v in (data.propensity, data.weight))
        y, arm = data.y[index], data.treatment[index]
        return cls(X[index], types, y, arm, folds[index], propensity, weight, data.objective)

    @property
    def known(self) -> FloatArray:
        """Propensities of every arm."""
        if self.propensity is None:
            raise RuntimeError("the learner's training holds no propensities.")
        return self.propensity

    @property
    def splits(self) -> list[tuple[IntArray, IntArray]]:
        """Rows to fit and rows to predict, fold by fold."""
        if len(np.unique(self.folds)) < 2:
            raise InputError(
                f"the {len(self.folds)} rows left to fit fall in one fold, and nuisances need two: "
                "use more users, or n_folds of at least 3 to predict out of fold."
            )
        return [(np.flatnonzero(~held), np.flatnonzero(held)) for held in fold_masks(self.folds)]


class PeerLearner(EffectLearner):
    """Another library's estimate of the effect, beside a booster of arm 0's outcome.

    Inputs are read, checked and folded as for our own learners, and propensities are those that
    they would use: as given, or cross-fitted and calibrated; clipped. What the peer has no place
    for is refused, never dropped. Such a learner cannot be saved in a bundle: a peer has no
    format but a pickle. `fit_out_of_fold` fits the peer once more without each fold.

    Parameters
    ----------
    params : boosting parameters, of the peer's boosters too; these run for all of `max_rounds`,
        because the peers hold nothing out to choose fewer
    n_folds, feature_types, clip : as in `UpliftLearner`
    options : further arguments of the peer's own constructor

    Attributes
    ----------
    peer_ : the other library's fitted estimator
    """

    needs_propensity = True
    goes_on = False
    peer_: Any

    def __init__(
        self,
        params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
        n_folds: int = 3,
        feature_types: Sequence[str] | None = None,
        clip: float = 0.01,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params, n_folds, feature_types, clip)
        self.options = options

    @abstractmethod
    def _fit_peer(self, rows: PeerRows) -> Any:
        """Fit the other library's estimator."""

    @abstractmethod
    def _effect(self, peer: Any, X: Float32Array) -> FloatArray:
        """Return the uplift of each arm by the other library's estimator, (n, A)."""

    def _check(self, data: Training) -> None:
        """Refuse what the peer has no place for."""

    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        self._check(data)
        self.peer_ = self._fit_quietly(PeerRows.of(data))
        return {"control": data.boost("control", data.outcome_task, 0)}

    def _fit_quietly(self, rows: PeerRows) -> Any:
        with warnings.catch_warnings(action="ignore"):
            return self._fit_peer(rows)

    def _uplift(self, boosters: Boosters, X: Float32Array) -> FloatArray:
        with warnings.catch_warnings(action="ignore"):
            effect = np.asarray(self._effect(self.peer_, X), dtype=np.float64)
        return effect.reshape(len(X), self.n_arms_)

    def _predict_folds(self, data: Training, boosted: Mapping[str, Boosted]) -> Prediction:
        """Predict each fold by the peer fitted again without it."""
        n, folds, without = len(data.y), data.rows.folds, copy(self)
        found = Prediction(np.empty((n, data.n_arms + 1)), np.empty((n, data.n_arms)))
        for held in fold_masks(folds):
            models = {name: b.without[int(folds[held][0])] for name, b in boosted.items()}
            without.peer_ = self._fit_quietly(PeerRows.of(data, ~held))
            X = data.rows.binned.X[held]
            both = without._both(models, X)
            found.outcome[held], found.uplift[held] = both.outcome, both.uplift
        return found

    def _built(self, kind: Any, **options: Any) -> Any:
        """Build a peer from our options, overruled by the user's."""
        try:
            return kind(**{**options, **(self.options or {})})
        except TypeError as error:
            raise InputError(f"options do not fit {kind.__name__}: {error}.") from None

    def _booster(
        self,
        rows: PeerRows,
        objective: Objective,
        columns: Sequence[int] | None = None,
        arms: int = 0,
    ) -> PeerBooster:
        return PeerBooster(self.params, objective, (*rows.types, *("q",) * arms), columns)
