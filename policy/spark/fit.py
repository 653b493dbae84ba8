"""Fitting on Spark: the boosters of a learner trained by xgboost.spark on all executors.

What the boosters rest on is what it is on one machine: outcomes that a second stage uses are
predicted for each half of the users by boosters of the other half, and users that no booster has
seen say when to stop. Categories and calibration come from as many users as fit the driver.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from policy.spark.score import arrow_schema, map_batches
from policy.spark.session import read_log, told
from uplift.arrays import Float32Array, FloatArray, IntArray
from uplift.boosting import BoostedModel, BoostParams, BoostTask, Objective, to_mean
from uplift.calibration import fit_calibration
from uplift.effects import effect_scores
from uplift.errors import InputError
from uplift.features import FeatureEncoder
from uplift.learners import LEARNERS
from uplift.learners.training import fitted_shift
from uplift.log import RequestLog
from uplift.model import UpliftModel
from uplift.names import CalibrationMethod
from uplift.parquet import batch_frame
from uplift.schema import LogSchema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SPARK_LEARNERS", "fit_on_spark"]

_HALVES, _HELD, _CALIBRATED = 2, 0.1, 0.1
_FOLD_SEED, _HELD_SEED = 0xF01D, 0x4E1D
_ROW_BYTES = 100
"""Bytes of the driver's memory that a cell of its users' rows may take."""


@dataclass(frozen=True)
class _Rows:
    """Encoded rows on the executors, and what is known of them here.

    Attributes
    ----------
    frame : DataFrame of ``x0 ...``, ``y``, ``arm``, ``propensity``, ``half``, ``held``
    names, types : of the features
    params, objective : of every booster
    n_arms, workers : arms beside none; tasks that train together
    """

    frame: Any
    names: tuple[str, ...]
    types: tuple[str, ...]
    params: BoostParams
    objective: Objective
    n_arms: int
    workers: int
    boosters: dict[str, BoostedModel] = field(default_factory=dict)

    @property
    def arms(self) -> range:
        """Arms beside none."""
        return range(1, self.n_arms + 1)

    def boost(
        self,
        where: str | None = None,
        *,
        frame: Any = None,
        label: str = "y",
        objective: Objective | None = None,
        margin: str | None = None,
        intercept: float | None = None,
        with_arm: bool = False,
    ) -> BoostedModel:
        """Train one booster on the rows that a condition picks.

        On top of a margin that a column tells, `intercept` is what of it is the booster's own.
        """
        from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor

        rows, goal = self.frame if frame is None else frame, objective or self.objective
        rows = rows if where is None else rows.where(where)
        names = [*self.names, "arm"] if with_arm else list(self.names)
        types = (*self.types, "c") if with_arm else self.types
        kind = SparkXGBClassifier if goal == "binary:logistic" else SparkXGBRegressor
        options = {**self.params.to_xgboost(), "n_estimators": self.params.max_rounds}
        for unknown in ("nthread", "seed"):
            options.pop(unknown)
        if margin is not None:
            start = to_mean(np.array([intercept or 0.0]), goal)[0]
            options |= {"base_margin_col": margin, "base_score": float(start)}
        estimator = kind(
            features_col=names,
            label_col=label,
            validation_indicator_col="held",
            early_stopping_rounds=self.params.patience,
            feature_types=list(types),
            num_workers=self.workers,
            random_state=self.params.seed,
            missing=float("nan"),
            **options,
        )
        booster = estimator.fit(rows).get_booster()
        best = int(booster.attr("best_iteration") or booster.num_boosted_rounds() - 1)
        kept = booster[: best + 1]
        kept.feature_names = None
        return BoostedModel(kept, types)

    def with_column(self, name: str, work: Callable[[pa.RecordBatch], FloatArray]) -> Any:
        """Return the rows with one number more, worked out batch by batch."""
        schema = arrow_schema(self.frame).append(pa.field(name, pa.float64()))
        return map_batches(self.frame, partial(_added, name, work), schema)


def _s(rows: _Rows, sample: "_Sample") -> dict[str, BoostedModel]:
    return {"outcome": rows.boost(with_arm=True)}


def _t(rows: _Rows, sample: "_Sample") -> dict[str, BoostedModel]:
    return {f"outcome_{a}": rows.boost(f"arm = {a}") for a in range(rows.n_arms + 1)}


def _logit(rows: _Rows, sample: "_Sample") -> dict[str, BoostedModel]:
    """Boost each arm on the margin that arm 0 has for users that its booster has not seen."""
    control = rows.boost("arm = 0")
    halves = [rows.boost(f"arm = 0 and half != {half}") for half in range(_HALVES)]
    base = sample.of_halves([model.margin for model in halves])
    boosted = {"control": control}
    for arm in rows.arms:
        task = BoostTask(sample.y, rows.objective, base_margin=base)
        shift = fitted_shift(task, base, sample.arm == arm)
        frame = rows.with_column(
            "margin", partial(_margin_of_halves, rows.names, halves, shift)
        ).persist()
        effect = rows.boost(f"arm = {arm}", frame=frame, margin="margin", intercept=shift)
        frame.unpersist()
        boosted[f"effect_{arm}"] = effect
    return boosted


def _dr(rows: _Rows, sample: "_Sample") -> dict[str, BoostedModel]:
    """Boost the doubly robust scores, whose outcomes come from users not scored."""
    control = rows.boost("arm = 0")
    arms = range(rows.n_arms + 1)
    halves = [
        [rows.boost(f"arm = {arm} and half != {half}") for arm in arms] for half in range(_HALVES)
    ]
    boosted = {"control": control}
    for arm in rows.arms:
        work = partial(_scores, rows.names, halves, rows.objective, arm)
        frame = rows.with_column("score", work).persist()
        boosted[f"effect_{arm}"] = rows.boost(
            frame=frame, label="score", objective="reg:squarederror"
        )
        frame.unpersist()
    return boosted


SPARK_LEARNERS: Mapping[str, Callable[[_Rows, "_Sample"], dict[str, BoostedModel]]] = {
    "s": _s,
    "t": _t,
    "logit": _logit,
    "dr": _dr,
}


@dataclass(frozen=True)
class _Sample:
    """Rows of some users, in the driver's memory."""

    log: RequestLog
    X: Float32Array

    @property
    def y(self) -> FloatArray:
        """(n,) outcome."""
        return self.log.outcome()

    @property
    def arm(self) -> IntArray:
        """(n,) logged arm."""
        return self.log.arm

    def of_halves(self, work: Sequence[Callable[[Float32Array], FloatArray]]) -> FloatArray:
        """Return what is worked out of each row by the function of its half of the users."""
        half = self.log.part([1 / _HALVES] * _HALVES, _FOLD_SEED)
        found = np.empty(len(self.X))
        for k, one in enumerate(work):
            found[half == k] = one(self.X[half == k])
        return found


def fit_on_spark(
    session: "SparkSession",
    log: str | Path,
    schema: LogSchema,
    learner: str = "s",
    params: BoostParams = BoostParams(),  # noqa: B008  (frozen)
    calibration: CalibrationMethod = "isotonic",
    *,
    share: float = 0.7,
    seed: int = 0,
    workers: int | None = None,
    memory: int = 4 << 30,
) -> UpliftModel:
    """Fit a learner on a share of a log's users, on all executors.

    A tenth of these users is kept from the boosters: the calibration is fitted on their doubly
    robust scores.

    Parameters
    ----------
    session : of a cluster
    log, schema : Parquet that the cluster can read, with propensities; the roles of its columns
    learner : out of `SPARK_LEARNERS`
    params, calibration : as in `UpliftModel.fit`
    share, seed : of the users that are fitted on, as `RequestLog.split` has them
    workers : tasks that train together; by default as many as Spark runs at once
    memory : bytes of the driver for rows of some users

    Raises
    ------
    InputError
        The learner is not trained on Spark, or the log breaks its contract.
    """
    if learner not in SPARK_LEARNERS:
        raise InputError(
            f"learner {learner!r} is not fitted on Spark; choose among {list(SPARK_LEARNERS)}, or "
            "fit on the users that one machine holds."
        )
    with told():
        frame = read_log(session, log)
        points, columns = frame.count(), arrow_schema(frame)
        if "propensity" not in columns.names:
            raise InputError("the log has no column 'propensity', which fitting on Spark needs.")
        some = min(1.0, memory / (_ROW_BYTES * len(columns)) / max(points, 1))
        picked = partial(_picked, schema, share, seed, some)
        table = map_batches(frame, picked, columns).toArrow().combine_chunks()
        if not table.num_rows:
            raise InputError(f"{str(log)!r} holds no rows to fit on.")
        known = RequestLog(batch_frame(table.to_batches()[0]), schema)
        encoder = FeatureEncoder.fit(known)
        sample = _Sample(known, encoder.transform(known.frame))
        binary = bool(np.isin(sample.y, (0.0, 1.0)).all())
        rows = _Rows(
            _encoded(frame, encoder, schema, share, seed).persist(),
            tuple(f"x{k}" for k in range(len(encoder.names))),
            encoder.types,
            params,
            "binary:logistic" if binary else "reg:squarederror",
            schema.n_arms,
            workers or session.sparkContext.defaultParallelism,
        )
        try:
            boosters = SPARK_LEARNERS[learner](rows, sample)
        finally:
            rows.frame.unpersist()
    fitted = _described(learner, rows, boosters)
    return _calibrated(schema, encoder, fitted, sample, calibration)


def _described(learner: str, rows: _Rows, boosters: dict[str, BoostedModel]) -> Any:
    blank = LEARNERS[learner](rows.params).set_params(feature_types=rows.types)
    blank.objective_, blank.n_arms_, blank.constants_ = rows.objective, rows.n_arms, {}
    blank.boosters_ = boosters
    return LEARNERS[learner].described(blank.describe(), boosters, rows.types)


def _calibrated(
    schema: LogSchema,
    encoder: FeatureEncoder,
    learner: Any,
    sample: _Sample,
    method: CalibrationMethod,
) -> UpliftModel:
    """Map the learner's uplift to its right size on users that no booster has seen."""
    kept = sample.log.part((_CALIBRATED,), _HELD_SEED + 1) == 0
    log = sample.log.take(kept)
    found = learner.predict_both(sample.X[kept])
    effect = effect_scores(log.outcome(), log.arm, log.propensity, found.outcome)
    maps = fit_calibration(found.uplift, effect, log.cluster, method=method)
    return UpliftModel(schema, encoder, learner, maps)


def _picked(
    schema: LogSchema,
    share: float,
    seed: int,
    some: float,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of some of the users that are fitted on."""
    for batch in batches:
        log = _users(batch, schema)
        picked = (log.part((share,), seed) == 0) & (log.part((some,), _HELD_SEED + 2) == 0)
        yield batch.filter(pa.array(picked))


def _users(batch: pa.RecordBatch, schema: LogSchema) -> RequestLog:
    names = [c for c in (schema.cluster, "session_id") if c in batch.schema.names]
    return RequestLog.unchecked(batch_frame(batch.select(names or batch.schema.names[:1])), schema)


def _encoded(
    frame: Any, encoder: FeatureEncoder, schema: LogSchema, share: float, seed: int
) -> Any:
    """Return the rows that boosters see: those fitted on, without the users for calibration."""
    names = [pa.field(f"x{k}", pa.float32()) for k in range(len(encoder.names))]
    numbers = [pa.field(n, pa.float64()) for n in ("y", "propensity")]
    marks = [
        pa.field("arm", pa.int32()),
        pa.field("half", pa.int32()),
        pa.field("held", pa.bool_()),
    ]
    told_of = pa.schema([*names, *numbers, *marks])
    return map_batches(
        frame, partial(_encoded_rows, encoder, schema, share, seed, told_of), told_of
    )


def _encoded_rows(
    encoder: FeatureEncoder,
    schema: LogSchema,
    share: float,
    seed: int,
    columns: pa.Schema,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        users = _users(batch, schema)
        mine = users.part((share,), seed) == 0
        mine &= users.part((_CALIBRATED,), _HELD_SEED + 1) > 0
        kept = batch.filter(pa.array(mine))
        if not kept.num_rows:
            continue
        log = RequestLog.unchecked(batch_frame(kept), schema)
        X = encoder.transform(log.frame)
        marks = [
            log.arm.astype(np.int32),
            log.part([1 / _HALVES] * _HALVES, _FOLD_SEED).astype(np.int32),
            log.part((_HELD,), _HELD_SEED) == 0,
        ]
        arrays = [*X.T.copy(), log.outcome(), log.propensity, *marks]
        yield pa.RecordBatch.from_arrays(list(map(pa.array, arrays)), schema=columns)


def _added(
    name: str,
    work: Callable[[pa.RecordBatch], FloatArray],
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        columns, names = [*batch.columns, pa.array(work(batch))], [*batch.schema.names, name]
        yield pa.RecordBatch.from_arrays(columns, names=names)


def _matrix(batch: pa.RecordBatch, names: Sequence[str]) -> Float32Array:
    columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
    return np.column_stack(columns).astype(np.float32, copy=False)


def _margin_of_halves(
    names: Sequence[str], halves: Sequence[BoostedModel], shift: float, batch: pa.RecordBatch
) -> FloatArray:
    X, half = _matrix(batch, names), batch.column("half").to_numpy()
    margins = np.column_stack([model.margin(X) for model in halves])
    chosen: FloatArray = margins[np.arange(len(X)), half] + shift
    return chosen


def _scores(
    names: Sequence[str],
    halves: Sequence[Sequence[BoostedModel]],
    objective: Objective,
    arm: int,
    batch: pa.RecordBatch,
) -> FloatArray:
    X, half = _matrix(batch, names), batch.column("half").to_numpy()
    means = [
        np.column_stack([to_mean(model.margin(X), objective) for model in models])
        for models in halves
    ]
    outcome = np.stack(means)[half, np.arange(len(X))]
    y, logged, propensity = (batch.column(n).to_numpy() for n in ("y", "arm", "propensity"))
    scores: FloatArray = effect_scores(y, logged, propensity, outcome)[:, arm - 1]
    return scores
