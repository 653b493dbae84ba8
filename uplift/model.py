"""UpliftModel: schema, encoder and learner in one; fitted on a log, scoring logs."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.base import clone

from uplift.arrays import FloatArray
from uplift.boosting import BoostedModel, BoostParams
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.learners import LEARNERS, UpliftLearner
from uplift.log import RequestLog
from uplift.schema import LogSchema
from uplift.scores import Scores

__all__ = ["UpliftModel"]

_CHUNK_ROWS = 1 << 18


@dataclass(frozen=True, eq=False)
class UpliftModel:
    """A learner with all that it takes to score a log.

    Attributes
    ----------
    schema : roles of the log's columns
    encoder : features to matrix
    learner : the fitted learner of the primary outcome
    """

    schema: LogSchema
    encoder: FeatureEncoder
    learner: UpliftLearner
    _scored: WeakKeyDictionary[RequestLog, FloatArray] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    @classmethod
    def fit(
        cls,
        log: RequestLog,
        learner: str | UpliftLearner = "s",
        params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
    ) -> "UpliftModel":
        """Fit a learner, by name or as an unfitted object, on the log's primary outcome.

        Raises
        ------
        InputError
            The learner is unknown, or an arm of the schema has no rows in this log.
        """
        encoder = FeatureEncoder.fit(log)
        unfitted = _by_name(learner, params) if isinstance(learner, str) else clone(learner)
        unfitted.set_params(feature_types=encoder.types)
        if int(log.arm.max()) != log.schema.n_arms:
            raise InputError(
                f"arm {log.schema.arms[-1]!r} has no rows to learn from; use a larger log."
            )
        fitted = unfitted.fit(
            encoder.transform(log.frame),
            log.outcome(),
            log.arm,
            propensity=log.propensity,
            groups=log.cluster,
        )
        return cls(log.schema, encoder, fitted)

    def predict_outcome(self, log: RequestLog) -> FloatArray:
        """Return the expected primary outcome under each arm, (n, A + 1).

        A log is scored once, and the answer kept while the log lives: a log's frame is never
        changed in place.
        """
        if log not in self._scored:
            self._scored[log] = self._predict(log)
            self._scored[log].setflags(write=False)
        return self._scored[log]

    def __getstate__(self) -> dict[str, Any]:
        return {"schema": self.schema, "encoder": self.encoder, "learner": self.learner}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _predict(self, log: RequestLog) -> FloatArray:
        outcome = np.empty((len(log), self.schema.n_arms + 1))
        for start in range(0, len(log), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            X = self.encoder.transform(log.frame.iloc[rows])
            outcome[rows] = self.learner.predict_outcome(X)
        return outcome

    def uplift(self, log: RequestLog) -> FloatArray:
        """Return the expected outcome under each arm minus under arm 0, (n, A)."""
        return self.score(log).uplift

    def score(self, log: RequestLog) -> Scores:
        """Return outcomes and uplifts of every decision point of a log."""
        return Scores(log.keys(), self.predict_outcome(log))

    def save(self, folder: Path) -> None:
        """Write boosters in XGBoost's own format and the rest as JSON; no pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, booster in self.learner.boosters_.items():
            booster.save(folder / f"{name}.ubj")
        (folder / "encoder.json").write_text(self.encoder.to_json())
        (folder / "learner.json").write_text(json.dumps(self._description(), indent=1))

    @classmethod
    def load(cls, folder: Path, schema: LogSchema) -> "UpliftModel":
        """Read a model written by `save`."""
        encoder = FeatureEncoder.from_json((folder / "encoder.json").read_text())
        about = json.loads((folder / "learner.json").read_text())
        learner = LEARNERS[about["learner"]](BoostParams(**about["params"]), about["n_folds"])
        learner.feature_types = encoder.types
        learner.objective_, learner.n_arms_ = about["objective"], about["n_arms"]
        learner.boosters_ = {
            name: BoostedModel.load(folder / f"{name}.ubj", types)
            for name, types in about["boosters"].items()
        }
        return cls(schema, encoder, learner)

    def _description(self) -> dict[str, Any]:
        learner = self.learner
        return {
            "learner": learner.name,
            "n_folds": learner.n_folds,
            "params": vars(learner.params),
            "objective": learner.objective_,
            "n_arms": learner.n_arms_,
            "boosters": {name: list(b.types) for name, b in learner.boosters_.items()},
        }


def _by_name(name: str, params: BoostParams) -> UpliftLearner:
    if name not in LEARNERS:
        raise InputError(f"learner {name!r} is unknown; choose among {list(LEARNERS)}.")
    return LEARNERS[name](params)
