"""Everything about XGBoost, once: matrices, training, rounds, margins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import xgboost as xgb
from scipy.special import expit

from uplift.arrays import BoolArray, Float32Array, FloatArray, IntArray
from uplift.cross_fit import fold_masks
from uplift.errors import InputError

__all__ = ["BoostParams", "BoostTask", "BoostedModel", "Objective", "train", "train_cross_fitted"]

Objective = Literal["binary:logistic", "reg:squarederror"]

#: Probabilities start no nearer to 0 and 1 than this, should an outcome never or always happen.
_RAREST = 1e-7
_METRIC = {"binary:logistic": "logloss", "reg:squarederror": "rmse"}


@dataclass(frozen=True)
class BoostParams:
    """Parameters of one boosting, under XGBoost's meaning of the names.

    `max_rounds` bounds the rounds; `patience` is the number of rounds without improvement of the
    held-out loss after which a fold stops.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    max_rounds: int = 300
    learning_rate: float = 0.1
    max_depth: int = 4
    min_child_weight: float = 10.0
    reg_lambda: float = 10.0
    subsample: float = 1.0
    max_bin: int = 256
    patience: int = 20
    n_threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"max_rounds": 1, "max_depth": 1, "max_bin": 2, "patience": 1, "n_threads": 0}
        for name, bound in (least | {"seed": 0, "min_child_weight": 0, "reg_lambda": 0}).items():
            if not bound <= getattr(self, name) < 2**31:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least {bound}.")
        for name in ("learning_rate", "subsample"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected it in (0, 1].")


@dataclass(frozen=True)
class BoostTask:
    """What is boosted: an outcome on features, on top of a base margin where there is one.

    Attributes
    ----------
    X : (n, features), NaN is missing
    y : (n,) outcome
    objective : the loss
    types : ``q`` or ``c`` for each feature
    weight : (n,) weights
    base_margin : (n,) margin that the trees add to; not part of the trained model
    intercept : the model's own margin before its first tree; fitted to y when absent
    """

    X: Float32Array
    y: np.ndarray
    objective: Objective
    types: tuple[str, ...]
    weight: FloatArray | None = None
    base_margin: FloatArray | None = None
    intercept: float | None = None

    def rows(self, chosen: BoolArray) -> "BoostTask":
        """Return the task on some of its rows."""
        return replace(
            self,
            X=self.X[chosen],
            y=self.y[chosen],
            weight=None if self.weight is None else self.weight[chosen],
            base_margin=None if self.base_margin is None else self.base_margin[chosen],
        )

    def matrix(self, params: BoostParams, ref: xgb.DMatrix | None = None) -> xgb.QuantileDMatrix:
        """Bin the rows; with `ref`, by the cuts of another matrix."""
        margin = self.base_margin
        if margin is not None and self.intercept is not None:
            margin = margin + self.intercept
        return xgb.QuantileDMatrix(
            self.X,
            self.y,
            weight=self.weight,
            base_margin=margin,
            feature_types=list(self.types),
            enable_categorical=True,
            max_bin=params.max_bin,
            nthread=params.n_threads,
            ref=ref,
        )

    def options(self, params: BoostParams) -> dict[str, Any]:
        """Return the parameters as XGBoost takes them."""
        options = {
            "objective": self.objective,
            "eval_metric": _METRIC[self.objective],
            "tree_method": "hist",
            "learning_rate": params.learning_rate,
            "max_depth": params.max_depth,
            "min_child_weight": params.min_child_weight,
            "reg_lambda": params.reg_lambda,
            "subsample": params.subsample,
            "max_bin": params.max_bin,
            "nthread": params.n_threads,
            "seed": params.seed,
        }
        if self.objective == "binary:logistic":
            mean = self._mean() if self.intercept is None else float(expit(self.intercept))
            options["base_score"] = float(np.clip(mean, _RAREST, 1 - _RAREST))
        elif self.intercept is not None:
            options["base_score"] = self.intercept
        return options

    def _mean(self) -> float:
        return float(np.average(self.y, weights=self.weight))


@dataclass(frozen=True)
class BoostedModel:
    """A trained booster with what is needed to read it: types of the features, base margin."""

    booster: xgb.Booster
    types: tuple[str, ...]

    def margin(self, X: Float32Array, base_margin: FloatArray | None = None) -> FloatArray:
        """Return the (n,) margin: log-odds under the logistic objective, else the mean."""
        margin = self.booster.inplace_predict(
            X, predict_type="margin", base_margin=base_margin, missing=np.nan
        )
        return np.asarray(margin, dtype=np.float64)

    @property
    def rounds(self) -> int:
        """Number of trees."""
        return int(self.booster.num_boosted_rounds())

    def save(self, path: Path) -> None:
        """Write the booster in XGBoost's own format."""
        path.write_bytes(self.booster.save_raw("ubj"))

    @classmethod
    def load(cls, path: Path, types: Sequence[str]) -> "BoostedModel":
        """Read a booster written by `save`."""
        return cls(xgb.Booster(model_file=path), tuple(types))


def train(task: BoostTask, params: BoostParams, rounds: int | None = None) -> BoostedModel:
    """Boost for some rounds, `max_rounds` by default."""
    booster = xgb.train(
        task.options(params),
        task.matrix(params),
        params.max_rounds if rounds is None else rounds,
    )
    return BoostedModel(booster, task.types)


def train_cross_fitted(task: BoostTask, folds: IntArray, params: BoostParams) -> BoostedModel:
    """Boost on all rows for the number of rounds that held-out folds ask for.

    Each fold is held out in turn and scored round by round on a booster of the others; the round
    with the least mean held-out loss, weighted by the folds' rows, is the number kept. No
    improvement over no tree at all means 0 rounds: the intercept alone.
    """
    losses = [
        (int(held.sum()), _held_out_loss(task.rows(~held), task.rows(held), params))
        for held in fold_masks(folds)
        if not held.all()
    ]
    return train(task, params, _best_rounds(losses) if losses else None)


def _held_out_loss(fit: BoostTask, held: BoostTask, params: BoostParams) -> list[float]:
    """Held-out loss after 0, 1, 2, ... rounds, until it has not improved for `patience`."""
    matrix = fit.matrix(params)
    test = held.matrix(params, ref=matrix)
    options, history = fit.options(params), dict[str, Any]()
    nothing = xgb.train(options, matrix, 0).eval(test)
    xgb.train(
        options,
        matrix,
        params.max_rounds,
        evals=[(test, "held")],
        evals_result=history,
        early_stopping_rounds=params.patience,
        verbose_eval=False,
    )
    return [float(nothing.rsplit(":", 1)[1]), *history["held"][_METRIC[fit.objective]]]


def _best_rounds(losses: list[tuple[int, list[float]]]) -> int:
    """Return the rounds of least mean loss; a fold that stopped early keeps its last loss."""
    length = max(len(curve) for _, curve in losses)
    padded = [curve + curve[-1:] * (length - len(curve)) for _, curve in losses]
    return int(np.argmin(np.average(padded, axis=0, weights=[n for n, _ in losses])))
