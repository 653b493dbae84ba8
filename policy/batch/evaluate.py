"""What a plan would have earned, from a log of any size: whole users at a time, states that add.

The log is read and scored once; what evaluation needs of it, a few columns, is put apart by user.
Each part of the users is then evaluated in memory, and its states are added up.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from offline_eval.assessment import Assessment, baselines
from offline_eval.evaluation import gain_rows
from offline_eval.policies import Policy, walk
from offline_eval.state import EvaluationState
from policy.batch.buckets import Buckets, bucket_count, scratch_folder
from policy.batch.memory import fits, rows_at_once
from policy.batch.overlap import overlapped
from policy.batch.parts import Parts
from policy.batch.score import BatchScorer
from policy.bundle import Bundle
from policy.gate import GateRules
from policy.loop import report_on
from policy.progress import Stages
from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.parquet import batch_frame, read_frame
from uplift.schema import LogSchema

__all__ = [
    "EvaluationScorer",
    "Shard",
    "evaluate_log",
    "evaluate_parts",
    "report_of",
    "shard_states",
    "spent_by",
    "user_column",
]

_ROW_BYTES = 800
"""Memory that evaluation takes for a row: its columns, seven policies, their weights and sums."""


@dataclass(frozen=True)
class Shard:
    """Some users' decisions with what a model expects of each arm there.

    Attributes
    ----------
    log : their rows, without features
    outcome : (n, A + 1) expected outcome under each arm
    """

    log: RequestLog
    outcome: FloatArray

    @classmethod
    def of(cls, frame: Any, schema: LogSchema) -> "Shard":
        """Read a shard from the columns that `EvaluationScorer` makes."""
        told = [f"outcome_{arm}" for arm in schema.arms]
        roles = replace(schema, outcomes=(schema.primary,), features=tuple(told), categorical=())
        return cls(RequestLog(frame, roles), frame[told].to_numpy(dtype=np.float64))

    def policy(self, bundle: Bundle) -> Policy:
        """Return the bundle's plan, on the gains that are known already."""
        assert bundle.plan is not None
        gain = self.outcome[:, 1:] - self.outcome[:, :1]
        return bundle.plan.rule(lambda log: gain, "plan")


class EvaluationScorer:
    """Batches of a log to the columns that evaluation needs, of users that `fit` has not seen.

    Parameters
    ----------
    bundle : whose model scores
    log_schema : roles of the log's columns
    columns : the log's
    all_users : keep users that `fit` may have seen

    Attributes
    ----------
    columns, schema : those that are read; those that are kept, with their types
    """

    def __init__(
        self,
        bundle: Bundle,
        log_schema: LogSchema,
        columns: pa.Schema,
        *,
        all_users: bool = False,
    ) -> None:
        self._score = BatchScorer(bundle.model, columns)
        self._fitted = None if all_users else bundle.evidence.get("fitted")
        self._schema = log_schema
        self._more = [c for c in ("cost", log_schema.primary) if c in columns.names]
        missing = {"arm", "propensity", log_schema.primary} - set(columns.names)
        if missing:
            raise InputError(
                f"columns {sorted(missing)} are not in the log; evaluation needs who got which arm "
                "with what probability, and the outcome."
            )
        self.columns = [c for c in columns.names if c in {*self._score.columns, *self._more}]
        told = [field for field in self._score.schema if not field.name.startswith("uplift_")]
        self.schema = pa.schema(
            [*told, *(columns.field(c).with_metadata(None) for c in self._more)]
        )

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return what is to be kept of a batch."""
        kept = batch.filter(pa.array(self._unseen(batch)))
        scores = self._score(kept)
        told = [scores.column(name) for name in self.schema.names if name not in self._more]
        arrays = [*told, *map(kept.column, self._more)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _unseen(self, batch: pa.RecordBatch) -> np.ndarray:
        if self._fitted is None:
            return np.ones(batch.num_rows, dtype=bool)
        names = [c for c in (self._schema.cluster, "session_id") if c in batch.schema.names]
        log = RequestLog.unchecked(batch_frame(batch.select(names)), self._schema)
        return log.part((self._fitted["share"],), self._fitted["seed"]) > 0


def evaluate_log(
    bundle: Bundle,
    log: str | Path,
    schema: LogSchema,
    *,
    memory: int,
    rules: GateRules | None = None,
    fixed_position: int = 25,
    seed: int = 0,
    stages: Stages | None = None,
) -> dict[str, Any]:
    """Report on a bundle's plan: all of it where the log fits into the memory, else the values.

    Parameters
    ----------
    bundle, schema, rules, fixed_position, seed, stages : as in `policy.loop.report_on`
    log : Parquet file or folder
    memory : bytes that the job may take

    Returns
    -------
    the report of `report_on`, with the gate's verdict; or that of `evaluate_parts`, without
    """
    parts, stages = Parts.of(log), stages or Stages()
    if not fits(parts.rows, len(parts.schema), memory):
        with stages.stage("evaluate") as step:
            return evaluate_parts(
                bundle,
                parts,
                schema,
                memory=memory,
                fixed_position=fixed_position,
                seed=seed,
                progress=step,
            )
    with stages.stage("read") as step:
        whole = RequestLog.read(log, schema, progress=step)
    return report_on(
        bundle, whole, rules=rules, fixed_position=fixed_position, seed=seed, stages=stages
    )


def evaluate_parts(
    bundle: Bundle,
    parts: Parts,
    schema: LogSchema,
    *,
    memory: int,
    fixed_position: int = 25,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Estimate what a bundle's plan and the baselines would have earned on a log of any size.

    Parameters
    ----------
    bundle : model and plan
    parts : of the randomised log
    schema : roles of its columns
    memory : bytes that the job may take
    fixed_position, seed : of the fixed baseline; of a policy that draws
    progress : called with (rows read, rows in all)

    Returns
    -------
    what report.json has under ``log`` (in short), ``value``, ``warnings``

    Raises
    ------
    InputError
        The bundle holds no plan, columns are missing, or values cannot be.
    """
    if bundle.plan is None:
        raise InputError("the bundle holds no plan yet; make one with `request-uplift plan`.")
    scorer = EvaluationScorer(bundle, schema, parts.schema)
    key = user_column(schema, parts.schema.names)
    rows, done = rows_at_once(memory, len(scorer.columns) + 8), 0
    with scratch_folder() as folder:
        with Buckets(folder, key, bucket_count(parts.rows, _ROW_BYTES, memory)) as buckets:

            def put(batch: pa.RecordBatch) -> None:
                nonlocal done
                buckets.add(batch)
                done = done + rows
                if progress is not None:
                    progress(min(done, parts.rows), parts.rows)

            batches = (
                batch for part in parts.parts for batch in part.batches(rows, scorer.columns)
            )
            overlapped(batches, scorer, put)
        paths = buckets.paths()
        if not paths:
            raise InputError("the log holds no rows of users that the model was not fitted on.")
        spent = sum(
            (spent_by(shard, bundle, seed) for shard in _shards(paths, schema)), np.zeros(2)
        )
        states = [
            shard_states(shard, bundle, spent, fixed_position, seed)
            for shard in _shards(paths, schema)
        ]
    return report_of(schema, [reduce(add, of_one) for of_one in zip(*states, strict=True)])


def user_column(schema: LogSchema, columns: Sequence[str]) -> str:
    """Return the column that tells users apart: the schema's cluster, else the session."""
    for name in (schema.cluster, "session_id"):
        if name in columns:
            return name
    raise InputError(f"the log has no column {schema.cluster!r} to tell users apart; add it.")


def _shards(paths: list[Path], schema: LogSchema) -> Iterator[Shard]:
    for path in paths:
        yield Shard.of(read_frame(path), schema)


def spent_by(shard: Shard, bundle: Bundle, seed: int) -> FloatArray:
    """Return requests that the plan spends on a shard, and the shard's decision points, (2,)."""
    pi = walk(shard.policy(bundle), shard.log, seed)
    return np.array([float((pi @ np.asarray(shard.log.schema.arm_cost)).sum()), len(shard.log)])


def shard_states(
    shard: Shard, bundle: Bundle, spent: FloatArray, fixed_position: int, seed: int
) -> list[EvaluationState]:
    """Return the states of the plan and of each baseline on a shard.

    Parameters
    ----------
    shard, bundle : what is evaluated
    spent : (2,) `spent_by` summed over all shards: the random baseline spends as much
    fixed_position, seed : of the fixed baseline; of a policy that draws
    """
    log, outcome, plan = shard.log, shard.outcome, shard.policy(bundle)
    pi = walk(plan, log, seed)
    judged = gain_rows(log, pi, outcome)
    share = float(spent[0] / spent[1] / np.mean(log.schema.arm_cost[1:]))
    states = [EvaluationState.of(log, plan.name, pi, outcome)]
    position = fixed_position if {"page", "position"} & set(log.frame) else None
    for rival in baselines(log.schema, share, position):
        walked = walk(rival, log, seed)
        states.append(EvaluationState.of(log, rival.name, walked, outcome, judged_gain=judged))
    return states


def report_of(schema: LogSchema, states: list[EvaluationState]) -> dict[str, Any]:
    """Return what states say together, under the names of report.json."""
    evaluations = {state.policy: state.evaluation() for state in states}
    sound = {name for name, e in evaluations.items() if e.diagnostics.verdict != "refused"}
    advantages = {
        state.policy: advantage
        for state in states
        if (advantage := state.judged_advantage()) is not None
        and {state.policy, states[0].policy} <= sound
    }
    found = Assessment(evaluations, advantages, {}, [], {}, [])
    about = {
        "rows": states[0].weights.n,
        "users": states[0].gained.count,
        "primary": schema.primary,
    }
    told = {k: v for k, v in found.to_dict().items() if k in ("value", "saving_at_equal_effect")}
    return {"log": about, **told, "warnings": found.warnings}
