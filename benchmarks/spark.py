"""The jobs on a local Spark of two threads: scoring beside bare mapInArrow, passes of the planner.

    python benchmarks/spark.py [MILLIONS]      (4)

The bundle and the log of `batch.py`, a million rows a part. Scoring: ours and a function that
hands each batch to two boosters and nothing else, in turns, both writing Parquet, medians of three;
plain pyarrow on one machine beside it (`score_parts`). Planning: seconds of a pass over all
sessions, and of the whole; evaluation: seconds of the whole. Start-up of the session apart.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from batch import PART, linked, parts_of_users, prepared

from policy.batch.parts import Parts
from policy.batch.score import score_parts
from policy.budget import Budget
from policy.bundle import Bundle
from policy.problem import Limits
from policy.spark import plan as on_spark
from policy.spark.evaluate import evaluate_on_spark
from policy.spark.score import score_on_spark
from policy.spark.session import spark_session
from uplift.schema import LogSchema

KEYS = ["session_id", "user_id", "timestamp", "page", "position", "arm", "propensity"]


def timed(do, *arguments, **options):
    begin = time.perf_counter()
    found = do(*arguments, **options)
    return found, time.perf_counter() - begin


def bare(session, folder: Path, out: Path) -> None:
    """Read, predict with two boosters, write; categories come as texts, in the model's order."""
    names = (folder / "names.txt").read_text().split()
    models = sorted(str(p) for p in folder.glob("bundle/model/*.ubj"))
    known = Bundle.load(folder / "bundle").model.encoder.places

    def predict(batches):
        import xgboost as xgb

        boosters = [xgb.Booster(model_file=path) for path in models]
        for batch in batches:
            X = np.empty((batch.num_rows, len(names)), np.float32)
            for k, name in enumerate(names):
                column = batch.column(name)
                if name in known:
                    coded = column.dictionary_encode()
                    table = [known[name].get(v, np.nan) for v in coded.dictionary.to_pylist()]
                    place = coded.indices.fill_null(len(table)).to_numpy()
                    X[:, k] = np.array([*table, np.nan], np.float32)[place]
                else:
                    X[:, k] = column.to_numpy(zero_copy_only=False)
            none, request = (b.inplace_predict(X) for b in boosters)
            told = [pa.array(p.astype(np.float64)) for p in (none, request, request - none)]
            keys = [batch.column(key) for key in KEYS]
            yield pa.RecordBatch.from_arrays(
                [*keys, *told], names=[*KEYS, "outcome_none", "outcome_request", "uplift_request"]
            )

    frame = session.read.parquet(str(folder / "log")).select(*KEYS, *names)
    kinds = {f.name: f.dataType.simpleString() for f in frame.schema}
    told = [f"{key} {kinds[key]}" for key in KEYS]
    told += ["outcome_none double", "outcome_request double", "uplift_request double"]
    frame.mapInArrow(predict, ", ".join(told)).write.parquet(str(out))


def scoring(session, folder: Path, millions: int) -> None:
    times: dict[str, list[float]] = {"bare mapInArrow": [], "ours": [], "one machine": []}
    bundle = Bundle.load(folder / "bundle")
    parts = Parts.of(folder / "log")
    for k in range(4):
        outs = [folder / f"{side}-{k}" for side in ("bare", "ours", "one")]
        seconds = [
            timed(bare, session, folder, outs[0])[1],
            timed(score_on_spark, session, folder / "bundle", folder / "log", outs[1])[1],
            timed(score_parts, bundle.model, parts, outs[2], digest="m", memory=2 << 30)[1],
        ]
        for name, taken in zip(times, seconds, strict=True):
            if k:  # the first warms up
                times[name].append(taken)
    for name, found in times.items():
        print(f"{name:>16}: {millions * PART / np.median(found):10,.0f} rows/s")
    ratios = np.array(times["bare mapInArrow"]) / np.array(times["ours"])
    print(f"ours over bare mapInArrow, rows/s: {np.median(ratios):.2f}", flush=True)


def planning(session, folder: Path, millions: int) -> None:
    scores = folder / "ours-3"
    schema, passes = LogSchema.read(folder / "log.toml"), []
    source = on_spark.SparkSource
    begin = source.worthwhile

    def timed_first(self, price):
        """Few passes need all sessions: three are asked for here, to be timed."""
        passes.extend(timed(source.best_plans, self, price.clip(0))[1] for _ in range(3))
        found, seconds = timed(begin, self, price)
        print(f"points above a floor: {seconds:.2f} s")
        return found

    source.worthwhile = timed_first
    limits = Limits(per_page=2, min_gap=10)
    plan, seconds = timed(
        on_spark.plan_on_spark, session, scores, schema, Budget.share(0.05), limits
    )
    print(
        f"plan: {seconds:.1f} s in all, a pass over all sessions {np.median(passes):.2f} s, "
        f"{millions * PART / np.median(passes):,.0f} points/s, gap {plan.gap:.1e}",
        flush=True,
    )
    found, seconds = timed(
        evaluate_on_spark, session, folder / "bundle", folder / "log", schema, all_users=True
    )
    print(f"evaluate: {seconds:.1f} s, {found['log']['rows'] / seconds:,.0f} rows/s")


def main(millions: int = 4) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        linked(folder, 1)
        parts_of_users(folder, millions)
        session, seconds = timed(spark_session, "local[2]")
        print(f"session: {seconds:.1f} s")
        session.conf.set("spark.sql.shuffle.partitions", "8")
        scoring(session, folder, millions)
        planning(session, folder, millions)
        size = sum(p.stat().st_size for p in (folder / "bundle").rglob("*") if p.is_file())
        rows = pq.ParquetFile(folder / "log" / "part-0000.parquet").metadata.num_rows
        part = (folder / "log" / "part-0000.parquet").stat().st_size
        print(f"bundle {size / 2**20:.1f} MiB; a row of the log {part / rows:.0f} bytes")
        session.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
