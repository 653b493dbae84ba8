"""The contract of every learner: outcomes under each arm, and their differences."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from uplift.arrays import Float32Array, FloatArray
from uplift.binned import CHUNK_ROWS, chunks
from uplift.boosting import BoostedModel, BoostParams, Objective
from uplift.cross_fit import MOST_FOLDS, Boosted
from uplift.errors import InputError
from uplift.learners.columns import Columns
from uplift.learners.inputs import to_columns
from uplift.learners.training import Training

__all__ = ["Boosters", "Prediction", "UpliftLearner"]

Boosters = Mapping[str, BoostedModel]
T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """What a learner expects of n rows.

    Attributes
    ----------
    outcome : (n, A + 1) expected outcome under each arm
    uplift : (n, A) uplift of each arm over arm 0
    """

    outcome: FloatArray
    uplift: FloatArray

    @classmethod
    def of(cls, outcome: FloatArray) -> "Prediction":
        """Take the uplift of each arm from outcomes, (n, A + 1)."""
        return cls(outcome, outcome[:, 1:] - outcome[:, :1])

    @classmethod
    def on(cls, control: FloatArray, uplift: FloatArray, objective: Objective) -> "Prediction":
        """Put uplifts, (n, A), on the outcome under arm 0, (n,).

        Where a probability would leave [0, 1], the outcome under arm 0 gives way and not the
        uplift, which is what was estimated and is ranked by.
        """
        if objective == "binary:logistic":
            low, high = (-uplift).max(axis=1), 1 - uplift.max(axis=1)
            control = control.clip(low, np.maximum(low, high)).clip(0.0, 1.0)
        outcome = np.column_stack([control, control[:, None] + uplift])
        return cls(outcome.clip(0.0, 1.0) if objective == "binary:logistic" else outcome, uplift)


class UpliftLearner(BaseEstimator, ABC):
    """Learn the outcome under every arm; uplift is the difference to arm 0.

    ``uplift[i, a - 1] = E[y | x_i, arm a] - E[y | x_i, arm 0]``

    A binary outcome (only 0 and 1) is boosted under the logistic loss and always comes back as a
    probability; any other outcome under squared error. X may be an array of numbers, or a pandas
    or polars frame: its columns are found by name, its texts and categories are categories. At
    predict a frame may hold its columns in any order and others beside them; after a fit on an
    array, the columns of a frame are read by position.

    Parameters
    ----------
    params : boosting parameters
    n_folds : folds by group, for the number of rounds and for out-of-fold nuisances
    feature_types : ``q`` (quantity) or ``c`` (category) for each column of X; in an array all are
        quantities by default, and categories are codes 0, 1, ..; a frame's texts are categories
        whatever is said here
    clip : propensities are held between this and 1 minus this, in (0, 0.5)

    Attributes
    ----------
    boosters_ : the trained boosters by name
    constants_ : numbers beside the boosters that a prediction needs
    objective_ : the loss of the outcome
    n_arms_ : number of arms beside arm 0
    columns_ : how the columns of X are read
    n_features_in_ : their number
    feature_names_in_ : their names, where X was a frame
    """

    name: ClassVar[str]
    #: Boosters rest on out-of-fold predictions of others: those have seen the fold left out.
    two_stage: ClassVar[bool] = False
    needs_propensity: ClassVar[bool] = False
    #: Boosters of an earlier fit can be gone on from.
    goes_on: ClassVar[bool] = True
    boosters_: dict[str, BoostedModel]
    objective_: Objective
    n_arms_: int
    columns_: Columns
    constants_: dict[str, float]

    def __init__(
        self,
        params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
        n_folds: int = 3,
        feature_types: Sequence[str] | None = None,
        clip: float = 0.01,
    ) -> None:
        self.params = params
        self.n_folds = n_folds
        self.feature_types = feature_types
        self.clip = clip

    @property
    def n_features_in_(self) -> int:
        """Number of columns of X."""
        return len(self.columns_.types)

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns of X, where it was a frame."""
        if self.columns_.encoder is None:
            raise AttributeError("feature_names_in_: the learner was not fitted on a frame.")
        return np.array(self.columns_.encoder.names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        treatment: Any,
        *,
        propensity: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        earlier: "UpliftLearner | None" = None,
    ) -> Self:
        """Fit on n decision points.

        Parameters
        ----------
        X : (n, features) numbers, or a frame; NaN is missing
        y : (n,) finite outcome
        treatment : (n,) arm, 0 .. A; every arm must occur
        propensity : (n,) probability of the logged arm, or (n, A + 1) of every arm; estimated
            out-of-fold and calibrated when left out. S, T, X and logit condition on X instead
            and do not use it
        sample_weight : (n,) weights >= 0
        groups : (n,) clusters, such as users, that folds must not divide; each row its own by
            default, by its place, so that the order of the rows then decides the folds
        earlier : a learner of this kind fitted before, on other rows of the same columns, arms and
            kind of outcome: its boosters are gone on from (a warm start). `params.max_rounds`
            bounds what is added, and the held-out folds may ask for none. Nuisances that a learner
            does not keep are fitted anew

        Raises
        ------
        InputError
            Shapes, types or values do not fit this contract, or the earlier learner not these rows.
        """
        self._learn(self._training(X, y, treatment, propensity, sample_weight, groups, earlier))
        return self

    def fit_out_of_fold(
        self,
        X: Any,
        y: Any,
        treatment: Any,
        *,
        propensity: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        earlier: "UpliftLearner | None" = None,
    ) -> Prediction:
        """Fit as `fit` does; return what is predicted of each row without its user's fold.

        For s, t, proportional and class_transform it costs predictions, no trainings: the boosters
        are those that chose the number of rounds. The others rest on nuisance models, and are
        fitted once more without each fold. All that has seen every fold is the number of rounds
        (of the former), `constants_`, and propensities where they are estimated; of `earlier`, the
        rows that it was fitted on.
        """
        data = self._training(X, y, treatment, propensity, sample_weight, groups, earlier)
        return self._learn_out_of_fold(data)

    def fit_many(
        self,
        X: Any,
        Y: Any,
        treatment: Any,
        *,
        propensity: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> list[Self]:
        """Fit a copy of this learner on each column of Y, (n, outcomes).

        The rows are binned once for all of them, whatever part of them a booster is trained on,
        and stay so in memory meanwhile. Each copy is what `fit` would have made.
        """
        outcomes = to_columns(Y, "Y")
        first = clone(self)
        data = first._training(X, outcomes[0], treatment, propensity, sample_weight, groups)
        for rows in (data.rows, data.rows_with_arm):
            rows.binned.keep = True
        fitted = [first, *(clone(self) for _ in outcomes[1:])]
        for learner, y in zip(fitted, outcomes, strict=True):
            learner.columns_ = first.columns_
            learner._learn(data.with_outcome(y))
        return fitted

    def predict_outcome(self, X: Any) -> FloatArray:
        """Return the expected outcome under each arm, (n, A + 1)."""
        return np.concatenate([p.outcome for p in self._in_chunks(X, self._both)])

    def predict(self, X: Any) -> FloatArray:
        """Return the uplift of each arm over arm 0, (n, A)."""
        return np.concatenate(list(self._in_chunks(X, self._uplift)))

    def predict_both(self, X: Any) -> Prediction:
        """Return outcomes and uplifts, for the price of one of them."""
        pieces = list(self._in_chunks(X, self._both))
        return Prediction(
            np.concatenate([p.outcome for p in pieces]), np.concatenate([p.uplift for p in pieces])
        )

    def faded(self, keep: float) -> Self:
        """Return a copy of a fitted learner whose trees say a share of what they said.

        To go on from: ``fit(..., earlier=fitted.faded(0.5))``. All of an earlier fit (1) carries
        its noise along; half of it and as much of the new rows is about the mean of both.

        Raises
        ------
        InputError
            The share is not in (0, 1].
        """
        if not 0 < keep <= 1:
            raise InputError(f"keep is {keep}; expected a share in (0, 1], or fit anew.")
        check_is_fitted(self, "boosters_")
        copied = copy(self)
        copied.boosters_ = {name: b.faded(keep) for name, b in self.boosters_.items()}
        return copied

    def describe(self) -> dict[str, Any]:
        """Return all of a fitted learner but its boosters, as plain values for JSON."""
        arguments = self.get_params(deep=False)
        del arguments["params"], arguments["feature_types"]
        return {
            "learner": self.name,
            "params": vars(self.params),
            "arguments": arguments,
            "objective": self.objective_,
            "n_arms": self.n_arms_,
            "constants": self.constants_,
            "boosters": {name: list(b.types) for name, b in self.boosters_.items()},
        }

    @classmethod
    def described(
        cls, about: Mapping[str, Any], boosters: Boosters, types: tuple[str, ...]
    ) -> Self:
        """Rebuild a fitted learner from `describe`, its boosters and the types of its features."""
        params = BoostParams(**about["params"])
        learner = cls(params=params, feature_types=types, **about["arguments"])
        learner.columns_ = Columns(types)
        learner.objective_, learner.n_arms_ = about["objective"], about["n_arms"]
        learner.constants_, learner.boosters_ = about["constants"], dict(boosters)
        return learner

    @abstractmethod
    def _fit_boosters(self, data: Training) -> dict[str, Boosted]:
        """Train the boosters that the learner consists of."""

    @abstractmethod
    def _both(self, boosters: Boosters, X: Float32Array) -> Prediction:
        """Return outcomes and uplifts of a chunk of rows."""

    def _uplift(self, boosters: Boosters, X: Float32Array) -> FloatArray:
        """Return the uplift of each arm, (n, A), where outcomes cost extra without them."""
        return self._both(boosters, X).uplift

    def _learn(self, data: Training) -> dict[str, Boosted]:
        self._begin(data)
        boosted = self._fit_boosters(data)
        self._end(boosted)
        return boosted

    def _learn_out_of_fold(self, data: Training) -> Prediction:
        return self._predict_folds(data, self._learn(data))

    def _begin(self, data: Training) -> None:
        self.objective_, self.n_arms_, self.constants_ = data.objective, data.n_arms, {}

    def _end(self, boosted: Mapping[str, Boosted]) -> None:
        self.boosters_ = {n: b.whole for n, b in boosted.items() if b.whole is not None}

    def _predict_folds(self, data: Training, boosted: Mapping[str, Boosted]) -> Prediction:
        """Predict each fold by boosters that have not seen its users, nor has what they rest on."""
        n, folds = len(data.y), data.rows.folds
        found = Prediction(np.empty((n, data.n_arms + 1)), np.empty((n, data.n_arms)))
        for fold in map(int, np.unique(folds)):
            models = self._without(data, boosted, fold)
            for rows in chunks(np.flatnonzero(folds == fold)):
                both = self._both(models, data.rows.binned.gather(rows))
                found.outcome[rows], found.uplift[rows] = both.outcome, both.uplift
        return found

    def _without(self, data: Training, boosted: Mapping[str, Boosted], fold: int) -> Boosters:
        """Return the boosters without a fold: those of the fit, or of a fit without the fold."""
        if not self.two_stage:
            return {name: b.without[fold] for name, b in boosted.items()}
        if len(np.unique(data.rows.folds)) < 3:
            raise InputError(
                f"the rows fall in fewer than 3 folds (n_folds is {self.n_folds}); what learner "
                f"{self.name!r} predicts out of fold needs 3, as its nuisances are out of fold too."
            )
        again = copy(self)
        again._begin(data)  # constants of its own, or it would write into these
        fitted = again._fit_boosters(data.outside(fold))
        return {name: b.whole for name, b in fitted.items() if b.whole is not None}

    def _in_chunks(self, X: Any, predict: Callable[[Boosters, Float32Array], T]) -> Iterator[T]:
        """Predict piece by piece: what is held beside X and the answer does not grow with n."""
        check_is_fitted(self, "boosters_")
        matrix = self.columns_.read(X, type(self).__name__)
        if len(matrix) == 0:
            raise InputError("X has no rows; expected at least one to predict.")
        for start in range(0, len(matrix), CHUNK_ROWS):
            yield predict(self.boosters_, matrix[start : start + CHUNK_ROWS])

    def _training(
        self,
        X: Any,
        y: Any,
        treatment: Any,
        propensity: Any,
        weight: Any,
        groups: Any,
        earlier: "UpliftLearner | None" = None,
    ) -> Training:
        self._check_arguments()
        self.columns_, matrix = self._columns(X, earlier)
        data = Training.of(
            matrix,
            self.columns_.types,
            y,
            treatment,
            propensity=propensity,
            weight=weight,
            groups=groups,
            n_folds=self.n_folds,
            params=self.params,
            clip=self.clip,
        )
        if earlier is not None:
            self._check_same_task(earlier, data)
            data = replace(data, earlier=earlier.boosters_)
        return data.with_propensities() if self.needs_propensity else data

    def _columns(self, X: Any, earlier: "UpliftLearner | None") -> tuple[Columns, Float32Array]:
        """Read X as it comes, or as the earlier learner read it."""
        if earlier is None:
            return Columns.of(X, self.feature_types)
        if type(earlier) is not type(self) or not self.goes_on:
            raise InputError(
                f"earlier is a learner {earlier.name!r}; {self.name!r} goes on "
                + ("from its own kind alone." if self.goes_on else "from none: fit it anew.")
            )
        check_is_fitted(earlier, "boosters_")
        return earlier.columns_, earlier.columns_.read(X, self.name)

    def _check_same_task(self, earlier: "UpliftLearner", data: Training) -> None:
        asked, known = (data.n_arms, data.objective), (earlier.n_arms_, earlier.objective_)
        if asked != known:
            raise InputError(
                f"the earlier learner has {known[0]} arms beside arm 0 and the loss {known[1]!r}, "
                f"these rows {asked[0]} and {asked[1]!r}; fit anew."
            )

    def _check_arguments(self) -> None:
        if not isinstance(self.params, BoostParams):
            raise InputError(f"params is {self.params!r}; expected BoostParams.")
        if not isinstance(self.n_folds, Integral) or not 2 <= self.n_folds < MOST_FOLDS:
            raise InputError(f"n_folds is {self.n_folds}; expected 2, 3, .. {MOST_FOLDS - 1}.")
        if not 0 < self.clip < 0.5:
            raise InputError(f"clip is {self.clip}; expected it in (0, 0.5).")
