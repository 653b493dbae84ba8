"""Plan the requests of scores of any size.

All sessions are planned in hindsight, streaming, with the certificate of all; the rule that a
service takes, which needs sessions in memory, is tuned on some of them: prices for a share of the
sessions at that share of the budget are those of all, up to the noise of the sample.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from policy.batch.buckets import Buckets, bucket_count, scratch_folder
from policy.batch.demand import Counts, DemandRows, sort_sessions
from policy.batch.memory import fits, rows_at_once
from policy.batch.overlap import overlapped
from policy.batch.parts import Parts
from policy.budget import Budget
from policy.plan import RequestPlan, demand_of, plan_requests
from policy.planner.decomposition import solve_stream
from policy.planner.narrowing import Source
from policy.planner.result import Solution
from policy.planner.rows import Rows
from policy.planner.shards import DemandShards, ShardSource
from policy.problem import Demand, Limits
from uplift.errors import InputError
from uplift.schema import LogSchema
from uplift.scores import Scores

__all__ = ["plan_parts", "plan_scores", "plan_source", "sample_points"]

_SAMPLE_POINTS = 2_000_000
_SAMPLE_BYTES = 1_000
"""Memory that a decision point takes while the rule is tuned on it."""
_ROW_BYTES = 200
_GROUP_ROWS = 1 << 18


def sample_points(memory: int) -> int:
    """Return how many decision points the rule may be tuned on."""
    return min(_SAMPLE_POINTS, memory // _SAMPLE_BYTES)


def plan_parts(
    parts: Parts,
    schema: LogSchema,
    budget: Budget,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    *,
    memory: int,
    window_seconds: float = 3600.0,
    gap: float = 1e-4,
    progress: Callable[[int, int], None] | None = None,
) -> RequestPlan:
    """Plan scores of any size in bounded memory.

    Parameters
    ----------
    parts : scores of `score_parts`
    schema : of their model
    budget, limits, window_seconds, gap : as in `plan_requests`
    memory : bytes that the job may take
    progress : called with (rows read, rows in all), then with the passes

    Raises
    ------
    InputError
        The scores lack columns or hold no rows, or the budget does not fit them.
    """
    if not parts.rows:
        raise InputError(f"{str(parts.folder)!r} holds no rows; score a log that does.")
    share = sample_points(memory) / parts.rows
    rows_of = DemandRows(schema, parts.schema, window_seconds, share)
    with scratch_folder() as folder:
        files, counts = _laid_out(parts, rows_of, folder, memory, progress)
        if "timestamp" not in parts.schema.names:
            counts = counts.without_time()
        sample = Scores.read(folder / "sample", schema)
        shards = DemandShards(files, rows_of.gains, rows_of.cost, rows_of.n_windows)
        return plan_source(
            lambda some, rows: ShardSource(shards, some, limits, rows),
            sample,
            counts,
            budget,
            limits,
            window_seconds=window_seconds,
            gap=gap,
            progress=progress,
        )


def plan_scores(
    path: str | Path,
    schema: LogSchema,
    budget: Budget,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    *,
    memory: int,
    decided: bool = False,
    window_seconds: float = 3600.0,
    progress: Callable[[int, int], None] | None = None,
) -> RequestPlan:
    """Plan scores as a whole where they fit into the memory, else part by part.

    Parameters
    ----------
    path : scores, a file or a folder
    schema, budget, limits, window_seconds, progress : as in `plan_parts`
    memory : bytes that the job may take
    decided : the arm of every row is asked for, which only the whole has

    Raises
    ------
    InputError
        As `plan_parts`; or decisions are asked of what does not fit.
    """
    parts = Parts.of(path)
    if fits(parts.rows, len(parts.schema), memory):
        return plan_requests(
            Scores.read(path, schema),
            budget,
            limits,
            window_seconds=window_seconds,
            progress=None if progress is None else lambda i, upper, lower: progress(i, 100),
        )
    if decided:
        raise InputError(
            f"{parts.rows:,} rows are not planned as a whole in {memory / 2**30:g} GiB, and only "
            "then is there a decision for each; raise --memory, or leave --out out."
        )
    return plan_parts(
        parts,
        schema,
        budget,
        limits,
        memory=memory,
        window_seconds=window_seconds,
        progress=progress,
    )


def plan_source(
    source: Callable[[Demand, Rows], Source],
    sample: Scores,
    counts: Counts,
    budget: Budget,
    limits: Limits,
    *,
    window_seconds: float,
    gap: float = 1e-4,
    progress: Callable[[int, int], None] | None = None,
) -> RequestPlan:
    """Plan sessions wherever they are, with a rule that is tuned on a sample of them.

    Parameters
    ----------
    source : makes the source of passes from the sample's demand and the budget's rows
    sample : scores of some of the sessions
    counts : of all
    budget, limits, window_seconds, gap : as in `plan_requests`
    progress : called with the passes that were made, and a hundred
    """
    share = len(sample.log) / len(counts)
    windows = counts.windows(window_seconds, sample.log.schema)
    capacity = budget.capacity(counts, windows)
    plan = plan_requests(
        sample,
        budget.of_part(share),
        limits,
        window_seconds=window_seconds,
        gap=max(gap, 1e-3),
    )
    of_sample = sample.log.windows(window_seconds)
    cost = np.asarray(sample.log.schema.arm_cost[1:])
    some = demand_of(sample.log, of_sample, sample.uplift, cost)[0]
    rows = Rows.of(capacity, some)
    solution = solve_stream(
        source(some, rows),
        some,
        rows,
        limits,
        share=share,
        gap=gap,
        progress=None if progress is None else lambda i, upper, lower: progress(i, 100),
    )
    return _for_all(plan, solution, budget, capacity.window, len(counts), share)


def _for_all(
    plan: RequestPlan,
    solution: Solution,
    budget: Budget,
    capacity: Any,
    points: int,
    share: float,
) -> RequestPlan:
    """Put the hindsight plan of all sessions in the place of the sample's."""
    wider = plan.sensitivity
    if wider is not None:
        wider = replace(
            wider,
            requests=wider.requests / share,
            gain=wider.gain / share,
            marginal=wider.marginal / share,
        )
    return replace(
        plan,
        budget=budget,
        capacity=capacity,
        spend=solution.spend,
        gain=solution.gain,
        upper_bound=solution.upper_bound,
        gap=solution.gap,
        decision_points=points,
        iterations=solution.iterations,
        reason=solution.reason,
        rule_spend=plan.rule_spend / share,
        rule_gain=plan.rule_gain / share,
        as_logged=plan.as_logged / share,
        sensitivity=wider,
        arm=None,
    )


def _laid_out(
    parts: Parts,
    rows_of: DemandRows,
    folder: Path,
    memory: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Path], Counts]:
    """Write the demand session by session, and the sample; return the files of the first."""
    at_once, done = rows_at_once(memory, len(parts.schema.names) + 8), 0
    (folder / "sample").mkdir()
    with (
        Buckets(folder, "session", bucket_count(parts.rows, _ROW_BYTES, memory)) as buckets,
        pq.ParquetWriter(folder / "sample" / "rows.parquet", parts.schema) as sample,
    ):

        def worked(item: tuple[int, pa.RecordBatch]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            before, batch = item
            demand = rows_of(batch, before)
            return demand, rows_of.sampled(batch, demand)

        def put(made: tuple[pa.RecordBatch, pa.RecordBatch]) -> None:
            nonlocal done
            buckets.add(made[0])
            sample.write_batch(made[1])
            done += made[0].num_rows
            if progress is not None:
                progress(done, parts.rows)

        overlapped(_numbered(parts, at_once), worked, put)
    counts = [_sort_file(path) for path in buckets.paths()]
    return buckets.paths(), sum(counts[1:], counts[0])


def _numbered(parts: Parts, rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield all rows, so many at once, with the number of those before."""
    before = 0
    for part in parts.parts:
        for batch in part.batches(rows, parts.schema.names):
            yield before, batch
            before += batch.num_rows


def _sort_file(path: Path) -> Counts:
    table, counts = sort_sessions(pq.read_table(path))
    pq.write_table(table, path, row_group_size=_GROUP_ROWS, compression="lz4")
    return counts
