"""Everything about XGBoost, once: parameters, objectives, training, trained boosters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import xgboost as xgb
from scipy.special import expit

from uplift.arrays import Float32Array, FloatArray, IntArray
from uplift.errors import InputError
from uplift.joining import RAREST, faded, joined

__all__ = [
    "BoostParams",
    "BoostTask",
    "BoostedModel",
    "Objective",
    "to_mean",
    "train",
    "train_watched",
]

Objective = Literal["binary:logistic", "reg:squarederror"]

_METRIC = {"binary:logistic": "logloss", "reg:squarederror": "rmse"}


def to_mean(margin: FloatArray, objective: Objective) -> FloatArray:
    """Turn margins into expected outcomes: probabilities under the logistic loss."""
    return expit(margin) if objective == "binary:logistic" else margin


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

    def to_xgboost(self) -> dict[str, Any]:
        """Return the parameters as XGBoost takes them."""
        ours = ("max_rounds", "patience", "n_threads")
        options = {name: value for name, value in vars(self).items() if name not in ours}
        return {**options, "nthread": self.n_threads, "tree_method": "hist"}


@dataclass(frozen=True)
class BoostTask:
    """What is boosted: an outcome, on top of a base margin where there is one.

    The arrays are as long as the rows that were binned; a training reads those of its own rows.

    Attributes
    ----------
    y : (n,) outcome
    objective : the loss
    weight : (n,) weights
    base_margin : (n,) margin that the trees add to; not part of the trained model
    intercept : the model's own margin before its first tree; when absent that of the weighted
        mean of y, or 0 on top of a base margin
    """

    y: np.ndarray
    objective: Objective
    weight: np.ndarray | None = None
    base_margin: FloatArray | None = None
    intercept: float | None = None

    def label(self, matrix: xgb.DMatrix, index: IntArray) -> xgb.DMatrix:
        """Put the outcome, weight and margin of the rows of an index on their matrix."""
        nothing = np.empty(0, np.float32)
        margin = nothing if self.base_margin is None else self.base_margin[index]
        matrix.set_info(
            label=self.y[index],
            weight=nothing if self.weight is None else self.weight[index],
            base_margin=margin + (self.intercept or 0.0),
        )
        return matrix

    def options(self, params: BoostParams, index: IntArray) -> dict[str, Any]:
        """Return what XGBoost is told to train on the rows of an index."""
        told = {"objective": self.objective, "eval_metric": _METRIC[self.objective]}
        return params.to_xgboost() | told | {"base_score": self._start(index)}

    def _start(self, index: IntArray) -> float:
        """Return XGBoost's base score: a probability under the logistic loss, else a mean.

        Its own would be fitted only in the first round, and be 0.5 where there is none.
        """
        probability = self.objective == "binary:logistic"
        if self.intercept is None and self.base_margin is None:
            start = self._mean(index)
        else:
            margin = self.intercept or 0.0
            start = float(expit(margin)) if probability else margin
        return float(np.clip(start, RAREST, 1 - RAREST)) if probability else start

    def _mean(self, index: IntArray) -> float:
        weight = None if self.weight is None else self.weight[index]
        return float(np.average(self.y[index], weights=weight))


@dataclass(frozen=True)
class BoostedModel:
    """A trained booster with what is needed to read it: the types of its features."""

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

    def followed_by(self, later: "BoostedModel") -> "BoostedModel":
        """Return the booster whose margin is this one's and the later one's together."""
        return BoostedModel(joined(self.booster, later.booster), self.types)

    def faded(self, keep: float) -> "BoostedModel":
        """Return the booster whose trees say a share of what they said, see `joining.faded`."""
        return BoostedModel(faded(self.booster, keep), self.types)

    def save(self, path: Path) -> None:
        """Write the booster in XGBoost's own format."""
        path.write_bytes(self.booster.save_raw("ubj"))

    @classmethod
    def load(cls, path: Path, types: Sequence[str]) -> "BoostedModel":
        """Read a booster written by `save`."""
        return cls(xgb.Booster(model_file=path), tuple(types))


def train(
    task: BoostTask, matrix: xgb.DMatrix, index: IntArray, params: BoostParams, rounds: int
) -> xgb.Booster:
    """Boost a task on the binned rows of an index for some rounds."""
    booster = xgb.train(task.options(params, index), task.label(matrix, index), rounds)
    return booster.reset()  # the booster lets go of its rows


def train_watched(
    task: BoostTask,
    matrix: xgb.DMatrix,
    index: IntArray,
    held: xgb.DMatrix,
    held_index: IntArray,
    params: BoostParams,
) -> tuple[xgb.Booster, list[float]]:
    """Boost until the loss of held-out rows has not improved for `patience` rounds.

    Returns
    -------
    the booster, and the held-out loss after 0, 1, 2, ... rounds
    """
    options = task.options(params, index)
    task.label(matrix, index)
    task.label(held, held_index)
    booster = xgb.Booster(options, [matrix, held])
    losses = [_loss(booster, held)]
    for rounds in range(params.max_rounds):
        booster.update(matrix, rounds)
        losses.append(_loss(booster, held))
        if len(losses) - 1 - int(np.argmin(losses)) >= params.patience:
            break
    return booster.reset(), losses


def _loss(booster: xgb.Booster, held: xgb.DMatrix) -> float:
    return float(booster.eval(held).rsplit(":", 1)[1])
