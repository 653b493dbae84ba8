"""Folders of Parquet beyond memory: scored beside bare pyarrow and XGBoost, planned, evaluated.

    python benchmarks/batch.py score [MILLIONS ...]      (1 10 100)
    python benchmarks/batch.py plan [MILLIONS]           (100)
    python benchmarks/batch.py evaluate [MILLIONS]       (100)

The bundle of `decide.py`: two boosters of 100 trees of depth 6, 30 features with missing values
and categories. A part has a million rows. For `score` all parts are one file under many names,
which costs no disk; both sides read, predict with two boosters and write the same columns, each
in a process of its own, in turns. For `plan` and `evaluate` every part has users of its own.
Rows per second, and the peak memory of the process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PART = 1_000_000
ROUNDS = 3

OURS = """
import sys
from policy.cli import main
folder, out = sys.argv[1:3]
sys.argv = ["request-uplift", "score", folder + "/log", "--bundle", folder + "/bundle",
            "--out", out, "--memory", "2GiB", "--json"]
main()
"""
BARE = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq, xgboost as xgb
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
names = (folder / "names.txt").read_text().split()
boosters = [xgb.Booster(model_file=str(p)) for p in sorted(folder.glob("bundle/model/*.ubj"))]
keys = ["session_id", "user_id", "timestamp", "page", "position", "arm", "propensity"]
out.mkdir()
for part in sorted((folder / "log").glob("*.parquet")):
    with pq.ParquetFile(part) as file:
        writer = None
        for batch in file.iter_batches(1 << 18, columns=keys + names):
            X = np.empty((batch.num_rows, len(names)), np.float32)
            for k, name in enumerate(names):
                column = batch.column(name)
                if pa.types.is_dictionary(column.type):
                    column = column.indices
                X[:, k] = column.to_numpy(zero_copy_only=False)
            none, request = (b.inplace_predict(X) for b in boosters)
            told = [pa.array(none), pa.array(request), pa.array(request - none)]
            table = pa.RecordBatch.from_arrays(
                [*(batch.column(key) for key in keys), *told],
                names=[*keys, "outcome_none", "outcome_request", "uplift_request"])
            writer = writer or pq.ParquetWriter(out / part.name, table.schema)
            writer.write_batch(table)
        writer.close()
"""
RUN = """
import resource, sys, threading, time
sys.path.insert(0, {benchmarks!r})
begin = time.perf_counter()
try:
    exec({code!r})
except SystemExit as stop:
    if stop.code:
        raise
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(time.perf_counter() - begin, peak, file=sys.stderr)
"""


def prepared(folder: Path) -> None:
    """Save a bundle, and one part of the log with dictionary-coded categories."""
    from decide import made

    bundle, rows = made(folder / "bundle")
    frame = rows.frame
    for column in (c for c in frame if str(c).startswith("c_")):
        # In the order of the model's vocabulary, so that the bare side's codes are the model's.
        frame[column] = frame[column].astype("category")
    (folder / "names.txt").write_text("\n".join(bundle.model.encoder.names))
    tiled = frame.iloc[np.arange(PART) % len(frame)].reset_index(drop=True)
    tiled["session_id"] = tiled["user_id"] = np.arange(PART) // 10
    tiled.to_parquet(folder / "part.parquet", index=False, row_group_size=1 << 18)
    rows.schema.write(folder / "log.toml")


def linked(folder: Path, millions: int) -> None:
    """Lay a log of so many parts out, all of them one file."""
    log = folder / "log"
    log.mkdir(exist_ok=True)
    for old in log.glob("*"):
        old.unlink()
    for k in range(millions):
        os.link(folder / "part.parquet", log / f"part-{k:04}.parquet")


def process(code: str, *arguments: object) -> tuple[float, float]:
    """Return seconds and peak GiB of a process."""
    run = RUN.format(code=code, benchmarks=str(Path(__file__).parent))
    command = [sys.executable, "-c", run, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, peak = done.stderr.split()[-2:]
    return float(seconds), float(peak)


def score(folder: Path, sizes: list[int]) -> None:
    print(f"{'rows':>12} {'side':>6} {'seconds':>8} {'rows/s':>9} {'GiB':>6}")
    for millions in sizes:
        linked(folder, millions)
        times: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
        for _ in range(ROUNDS if millions <= 10 else 1):
            for name, code in (("bare", BARE), ("ours", OURS)):
                with tempfile.TemporaryDirectory(dir=folder) as out:
                    times[name].append(process(code, folder, Path(out) / "scores"))
        for name, found in times.items():
            seconds, peak = np.median(found, axis=0)
            rate = millions * PART / seconds
            print(f"{millions * PART:12,} {name:>6} {seconds:8.1f} {rate:9,.0f} {peak:6.2f}")
        ratios = [b[0] / o[0] for b, o in zip(times["bare"], times["ours"], strict=True)]
        print(f"{'':>12} ours over bare, rows/s: {np.median(ratios):.2f}", flush=True)


def parts_of_users(folder: Path, millions: int) -> None:
    """Lay a log of so many parts out, each with users of its own."""
    log, table = folder / "log", pq.read_table(folder / "part.parquet")
    log.mkdir(exist_ok=True)
    for old in log.glob("*"):
        old.unlink()
    for k in range(millions):
        ids = pa.array(np.arange(k * PART, (k + 1) * PART) // 10)
        for name in ("session_id", "user_id"):
            table = table.set_column(table.schema.get_field_index(name), name, ids)
        pq.write_table(table, log / f"part-{k:04}.parquet", row_group_size=1 << 18)


COMMAND = """
import sys
from policy.cli import main
sys.argv = ["request-uplift", *sys.argv[1:]]
main()
"""


def plan(folder: Path, millions: int) -> None:
    """Plan scores; they are made without a model: keys of their own, outcomes of one part."""
    linked(folder, 1)
    process(OURS, folder, folder / "one")
    table, scores = pq.read_table(folder / "one" / "part-0000.parquet"), folder / "scores"
    scores.mkdir()
    for k in range(millions):
        ids = pa.array(np.arange(k * PART, (k + 1) * PART) // 10)
        table = table.set_column(table.schema.get_field_index("session_id"), "session_id", ids)
        pq.write_table(table, scores / f"part-{k:04}.parquet")
    limits = ("--max-per-page", 2, "--min-gap", 10, "--share", 0.05)
    seconds, peak = process(
        COMMAND,
        "plan",
        scores,
        "--bundle",
        folder / "bundle",
        *limits,
        "--memory",
        "4GiB",
        "--json",
    )
    about = json.loads((folder / "bundle" / "plan.json").read_text())
    print(
        f"plan of {millions * PART:,} rows: {seconds:.1f} s, {millions * PART / seconds:,.0f} "
        f"rows/s, peak {peak:.2f} GiB, gap {about['gap']:.1e}, {about['iterations']} passes"
    )


def evaluate(folder: Path, millions: int) -> None:
    parts_of_users(folder, millions)
    log = (folder / "log", "--bundle", folder / "bundle", "--schema", folder / "log.toml")
    options = ("--memory", "4GiB", "--all-users", "--out", folder / "report", "--json")
    seconds, peak = process(COMMAND, "evaluate", *log, *options)
    about = json.loads((folder / "report" / "report.json").read_text())
    gain = about["value"]["plan"]["gain"]
    print(
        f"evaluate of {millions * PART:,} rows: {seconds:.1f} s, {millions * PART / seconds:,.0f} "
        f"rows/s, peak {peak:.2f} GiB; the plan's gain {gain['value']:.5f} "
        f"[{gain['lower']:.5f}, {gain['upper']:.5f}], {about['log']['users']:,} users"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["score", "plan", "evaluate"])
    parser.add_argument("millions", type=int, nargs="*")
    asked = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        if asked.what == "score":
            score(folder, asked.millions or [1, 10, 100])
        else:
            {"plan": plan, "evaluate": evaluate}[asked.what](folder, *asked.millions or [100])
    print(f"({time.perf_counter() - begin:.0f} s in all)")


if __name__ == "__main__":
    main()
