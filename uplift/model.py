"""UpliftModel: schema, encoder, learner and calibration in one; fitted on a log, scoring logs."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.base import clone

from uplift.arrays import Float32Array, FloatArray
from uplift.boosting import BoostedModel, BoostParams
from uplift.calibration import UpliftCalibration, fit_calibration
from uplift.effects import effect_scores
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.learners import LEARNERS, AutoLearner, Prediction, UpliftLearner
from uplift.log import RequestLog
from uplift.names import CalibrationMethod
from uplift.parquet import Progress
from uplift.schema import LogSchema
from uplift.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

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
    calibration : from the learner's uplift to one of the right size
    """

    schema: LogSchema
    encoder: FeatureEncoder
    learner: UpliftLearner
    calibration: UpliftCalibration
    _scored: WeakKeyDictionary[RequestLog, Prediction] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    @classmethod
    def fit(
        cls,
        log: RequestLog,
        learner: str | UpliftLearner = "s",
        params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
        calibration: CalibrationMethod = "isotonic",
        progress: Progress | None = None,
        earlier: "UpliftModel | None" = None,
    ) -> "UpliftModel":
        """Fit as `fit_out_of_fold` does, and return the model alone."""
        return cls.fit_out_of_fold(log, learner, params, calibration, progress, earlier)[0]

    @classmethod
    def fit_out_of_fold(
        cls,
        log: RequestLog,
        learner: str | UpliftLearner = "s",
        params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
        calibration: CalibrationMethod = "isotonic",
        progress: Progress | None = None,
        earlier: "UpliftModel | None" = None,
    ) -> tuple["UpliftModel", Prediction]:
        """Fit a learner, by name or as an unfitted object, on the log's primary outcome.

        The calibration is fitted on what the learner predicts of each row without its user, and
        on the row's doubly robust score, which takes the log's propensities as they are (the
        learner's `clip` is its own).

        Parameters
        ----------
        log : the randomised log
        learner, params : name of a learner and its boosting parameters, or an unfitted learner
        calibration : how predicted uplift is mapped to its right size
        progress : called by the learner ``auto`` with (candidates done, candidates in all); by
            default the learner's own
        earlier : a model of the same learner and features, fitted on an earlier log: its boosters
            are gone on from, and its encoder is kept, to which a category that it has not seen is
            missing. The calibration is fitted anew

        Returns
        -------
        the model, and what its learner predicts of each row without its user, before calibration

        Raises
        ------
        InputError
            The learner is unknown, an arm of the schema has no rows in this log, or the earlier
            model does not fit it.
        """
        encoder = FeatureEncoder.fit(log) if earlier is None else earlier.encoder
        fitted = _by_name(learner, params) if isinstance(learner, str) else clone(learner)
        fitted.set_params(feature_types=encoder.types)
        if isinstance(fitted, AutoLearner):
            fitted.progress = progress or fitted.progress
        if int(log.arm.max()) != log.schema.n_arms:
            raise InputError(
                f"arm {log.schema.arms[-1]!r} has no rows to learn from; use a larger log."
            )
        found = fitted.fit_out_of_fold(
            encoder.transform(log.frame),
            log.outcome(),
            log.arm,
            propensity=log.propensity,
            groups=log.cluster,
            earlier=None if earlier is None else earlier.learner,
        )
        if isinstance(fitted, AutoLearner):
            fitted.progress = None  # what listens to a fit has no place in a model
        effect = effect_scores(log.outcome(), log.arm, log.propensity, found.outcome)
        maps = fit_calibration(found.uplift, effect, log.cluster, method=calibration)
        return cls(log.schema, encoder, fitted, maps), found

    def faded(self, keep: float) -> "UpliftModel":
        """Return the model to go on from, whose trees say a share of what they said."""
        return UpliftModel(self.schema, self.encoder, self.learner.faded(keep), self.calibration)

    def predict(self, X: Float32Array) -> FloatArray:
        """Return the calibrated uplift of each arm, (n, A), of encoded rows."""
        return self._sized(X)[0].uplift

    def predict_outcome(self, log: RequestLog) -> FloatArray:
        """Return the expected primary outcome under each arm, (n, A + 1).

        The outcome under arm 0 is the learner's, the others lie above it by the calibrated
        uplift; see `Prediction.on` for probabilities at their bounds. A log is scored once, and the
        answer kept while the log lives: a log's frame is never changed in place.
        """
        return self._predict(log).outcome

    def outcome_of(self, frame: "pd.DataFrame") -> FloatArray:
        """Return the same of bare rows of features, at once and without keeping the answer."""
        return self._sized(self.encoder.transform(frame))[0].outcome

    def raw_uplift(self, log: RequestLog) -> FloatArray:
        """Return the learner's uplift of each arm before calibration, (n, A)."""
        return self._predict(log).uplift

    def uplift(self, log: RequestLog) -> FloatArray:
        """Return the expected outcome under each arm minus under arm 0, (n, A)."""
        return self.score(log).uplift

    def score(self, log: RequestLog) -> Scores:
        """Return outcomes and uplifts of every decision point of a log."""
        return Scores(log.keys(), self.predict_outcome(log))

    def save(self, folder: Path) -> None:
        """Write boosters in XGBoost's own format and the rest as JSON; no pickle.

        Raises
        ------
        InputError
            The learner is another library's, which has no format but a pickle.
        """
        if self.learner.name not in LEARNERS:
            raise InputError(
                f"learner {self.learner.name!r} cannot be saved without a pickle; choose among "
                f"{list(LEARNERS)} for a model that is to be saved."
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name, booster in self.learner.boosters_.items():
            booster.save(folder / f"{name}.ubj")
        (folder / "encoder.json").write_text(self.encoder.to_json())
        (folder / "calibration.json").write_text(self.calibration.to_json())
        (folder / "learner.json").write_text(json.dumps(self.learner.describe(), indent=1))

    @classmethod
    def load(cls, folder: Path, schema: LogSchema) -> "UpliftModel":
        """Read a model written by `save`."""
        encoder = FeatureEncoder.from_json((folder / "encoder.json").read_text())
        calibration = UpliftCalibration.from_json((folder / "calibration.json").read_text())
        about = json.loads((folder / "learner.json").read_text())
        boosters = {
            name: BoostedModel.load(folder / f"{name}.ubj", types)
            for name, types in about["boosters"].items()
        }
        learner = LEARNERS[about["learner"]].described(about, boosters, encoder.types)
        return cls(schema, encoder, learner, calibration)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("schema", "encoder", "learner", "calibration")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _predict(self, log: RequestLog) -> Prediction:
        """Return calibrated outcomes beside the learner's own uplifts."""
        if log not in self._scored:
            outcome = np.empty((len(log), self.schema.n_arms + 1))
            uplift = np.empty((len(log), self.schema.n_arms))
            for start in range(0, len(log), _CHUNK_ROWS):
                rows = slice(start, start + _CHUNK_ROWS)
                sized, raw = self._sized(self.encoder.transform(log.frame.iloc[rows]))
                outcome[rows], uplift[rows] = sized.outcome, raw.uplift
            for array in (outcome, uplift):
                array.setflags(write=False)
            self._scored[log] = Prediction(outcome, uplift)
        return self._scored[log]

    def _sized(self, X: Float32Array) -> tuple[Prediction, Prediction]:
        """Return what is expected of encoded rows, after and before calibration."""
        raw = self.learner.predict_both(X)
        uplift = self.calibration.apply(raw.uplift)
        return Prediction.on(raw.outcome[:, 0], uplift, self.learner.objective_), raw


def _by_name(name: str, params: BoostParams) -> UpliftLearner:
    if name not in LEARNERS:
        raise InputError(f"learner {name!r} is unknown; choose among {list(LEARNERS)}.")
    return LEARNERS[name](params)
