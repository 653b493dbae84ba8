"""The sample join beside the same join in DuckDB, polars and pandas: time and peak memory.

    python benchmarks/samples.py engines [DECISIONS] [REPEATS]   5,000,000 decisions by default
    python benchmarks/samples.py days [DECISIONS] [DAYS...]      memory as days are added

Per decision there are 4 snapshots (of 7 days) and 0.4 events. Every engine reads the same Parquet
files and writes one: decisions and events told twice are dropped, outcomes are attributed by slot
and time, features joined as of the decision, rows sorted. Each runs in a process of its own; peaks
are those that the system reports of it. Sums of outcomes and features must agree. Ours also keeps
its manifest, for which it reads every file once more.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

START = pd.Timestamp("2026-03-08", tz="UTC")
HISTORY = 6  # days of snapshots before the first day
FEATURES = [f"f_{k}" for k in range(10)]
ENGINES = ("ours", "duckdb", "polars", "pandas")
HOUR = timedelta(hours=1)


# --- data -----------------------------------------------------------------------------------------


def write_world(folder: Path, n: int, days: int = 1) -> None:
    """Write n decisions a day with events and snapshots, one file a day, rows in order of time."""
    rng = np.random.default_rng(0)
    for day in range(-HISTORY, days):
        write(snapshots(rng, 4 * n // (HISTORY + 1), n, day), folder / "snapshots", day)
    for day in range(days):
        made = decisions(rng, n, day)
        write(made, folder / "decisions", day)
        write(events(rng, made), folder / "events", day)


def write(frame: pd.DataFrame, folder: Path, day: int) -> None:
    path = folder / f"dt={START + pd.Timedelta(days=day):%Y-%m-%d}" / "part.parquet"
    path.parent.mkdir(parents=True)
    frame.sort_values("timestamp").to_parquet(path, index=False, row_group_size=1 << 18)


def decisions(rng: np.random.Generator, n: int, day: int) -> pd.DataFrame:
    """Sessions of some 10 decisions over half an hour, a user two sessions a day."""
    session = rng.integers(0, max(1, n // 10), n)
    begin = rng.integers(0, 84_000, max(1, n // 10)) * 1_000_000
    slot = rng.integers(0, 150, n)
    frame = pd.DataFrame({"decision_id": [f"b{day}-{i:x}" for i in range(n)]})
    frame["session_id"] = session + day * (n // 10)
    frame["user_id"] = session // 2
    frame["timestamp"] = moments(
        day, begin[session] + slot * 12_000_000 + rng.integers(0, 9_000_000, n)
    )
    frame["page"], frame["position"] = slot // 50, slot % 50
    frame["arm"], frame["propensity"] = rng.integers(0, 2, n), 0.5
    for name in FEATURES[:5]:
        frame[name] = rng.random(n, dtype=np.float32)
    return pd.concat([frame, frame.iloc[::100]])  # one in a hundred is told twice


def events(rng: np.random.Generator, decisions: pd.DataFrame) -> pd.DataFrame:
    """Within 15 slots and minutes after some decisions; one in ten out of the hour."""
    of = decisions.iloc[rng.integers(0, len(decisions), int(0.4 * len(decisions)))]
    frame = of[["session_id", "page", "position"]].reset_index(drop=True)
    frame["position"] = np.minimum(49, frame["position"] + rng.integers(0, 15, len(frame)))
    late = rng.integers(0, 66 * 60, len(frame))
    at = of["timestamp"].reset_index(drop=True)
    frame["timestamp"] = (at + pd.to_timedelta(late, unit="s")).dt.as_unit("us")
    frame["event_id"] = np.arange(len(frame)) + 1_000_000_000 * int(of["session_id"].min() > 0)
    frame["gmv"] = rng.integers(1, 100, len(frame)).astype(np.float64)
    return pd.concat([frame, frame.iloc[::50]])


def snapshots(rng: np.random.Generator, n: int, decisions: int, day: int) -> pd.DataFrame:
    frame = pd.DataFrame({"user_id": rng.integers(0, max(1, decisions // 18), n)})
    frame["timestamp"] = moments(day, rng.integers(0, 86_400_000_000, n))
    for name in FEATURES[5:]:
        frame[name] = rng.random(n)
    return frame


def moments(day: int, micros: np.ndarray) -> pd.DatetimeIndex:
    return (START + pd.Timedelta(days=day) + pd.to_timedelta(micros, unit="us")).as_unit("us")


# --- engines --------------------------------------------------------------------------------------


def ours(folder: Path, out: Path) -> None:
    from policy.samples.job import make_samples
    from policy.samples.rules import SampleRules
    from uplift.schema import LogSchema

    schema = LogSchema(
        arms=("none", "request"),
        arm_cost=(0.0, 1.0),
        outcomes=("purchase_10", "gmv_10", "gmv_20"),
        primary="purchase_10",
        features=("f_*",),
    )
    make_samples(
        folder / "decisions",
        out,
        schema,
        SampleRules(HOUR, timedelta(days=HISTORY + 1)),
        events=folder / "events",
        snapshots=folder / "snapshots",
        now=START + pd.Timedelta(days=400),
    )


def duckdb(folder: Path, out: Path) -> None:
    import duckdb

    out.mkdir()
    tables = {
        name: f"read_parquet('{folder}/{name}/*/*.parquet', hive_partitioning = false)"
        for name in ("decisions", "events", "snapshots")
    }
    features = ", ".join(FEATURES[5:])
    duckdb.sql(f"""
        copy (
          with d as (select distinct on (decision_id) * from {tables["decisions"]}),
          e as (select distinct on (event_id) * from {tables["events"]}),
          near as (
            select decision_id,
                   (e.page - d.page) * 50 + e.position - d.position as gap, gmv
            from d join e using (session_id)
            where gap >= 0 and gap < 20 and e.timestamp >= d.timestamp
              and e.timestamp <= d.timestamp + interval 1 hour),
          o as (
            select decision_id, (count(*) filter (gap < 10) > 0)::double as purchase_10,
                   coalesce(sum(gmv) filter (gap < 10), 0) as gmv_10, sum(gmv) as gmv_20
            from near group by decision_id),
          s as (select user_id, timestamp as seen, {features} from {tables["snapshots"]}),
          joined as (select d.*, s.* exclude (user_id)
            from d asof left join s on d.user_id = s.user_id and d.timestamp >= s.seen)
          select joined.* exclude (seen), coalesce(purchase_10, 0) as purchase_10,
                 coalesce(gmv_10, 0) as gmv_10, coalesce(gmv_20, 0) as gmv_20
          from joined left join o using (decision_id) order by timestamp, decision_id
        ) to '{out}/samples.parquet'
    """)


def polars(folder: Path, out: Path) -> None:
    import polars as pl

    def read(name: str) -> "pl.LazyFrame":
        return pl.scan_parquet(f"{folder}/{name}/*/*.parquet", hive_partitioning=False)

    out.mkdir()
    d = read("decisions").unique("decision_id")
    e = read("events").unique("event_id")
    place = ["session_id", "page", "position", "timestamp"]
    gap = (pl.col("page_e") - pl.col("page")) * 50 + pl.col("position_e") - pl.col("position")
    late = pl.col("timestamp_e") - pl.col("timestamp")
    near = (
        d.select("decision_id", *place)
        .join(e, on="session_id", suffix="_e")
        .with_columns(gap=gap)
        .filter(pl.col("gap").is_between(0, 19) & late.is_between(pl.duration(), HOUR))
    )
    ten = pl.col("gap") < 10
    outcomes = near.group_by("decision_id").agg(
        purchase_10=ten.any().cast(pl.Float64),
        gmv_10=pl.col("gmv").filter(ten).sum(),
        gmv_20=pl.col("gmv").sum(),
    )
    (
        d.sort("timestamp")
        .join_asof(read("snapshots").sort("timestamp"), on="timestamp", by="user_id")
        .join(outcomes, on="decision_id", how="left")
        .with_columns(pl.col("purchase_10", "gmv_10", "gmv_20").fill_null(0.0))
        .sort("timestamp", "decision_id")
        .sink_parquet(out / "samples.parquet")
    )


def pandas(folder: Path, out: Path) -> None:
    out.mkdir()
    d, e, s = (
        pd.concat([pd.read_parquet(path) for path in sorted((folder / name).glob("*/*"))])
        for name in ("decisions", "events", "snapshots")
    )
    d, e = d.drop_duplicates("decision_id"), e.drop_duplicates("event_id")
    place = ["session_id", "page", "position", "timestamp"]
    near = d[["decision_id", *place]].merge(e, on="session_id", suffixes=("", "_e"))
    near["gap"] = (near["page_e"] - near["page"]) * 50 + near["position_e"] - near["position"]
    late = near["timestamp_e"] - near["timestamp"]
    near = near[near["gap"].between(0, 19) & late.between(timedelta(0), HOUR)]
    ten = near[near["gap"] < 10].groupby("decision_id")["gmv"]
    outcomes = pd.DataFrame({"gmv_20": near.groupby("decision_id")["gmv"].sum()})
    outcomes["gmv_10"], outcomes["purchase_10"] = ten.sum(), (ten.size() > 0).astype(float)
    joined = pd.merge_asof(
        d.sort_values("timestamp"), s.sort_values("timestamp"), on="timestamp", by="user_id"
    ).merge(outcomes, on="decision_id", how="left")
    joined[["purchase_10", "gmv_10", "gmv_20"]] = joined[
        ["purchase_10", "gmv_10", "gmv_20"]
    ].fillna(0.0)
    joined.sort_values(["timestamp", "decision_id"]).to_parquet(out / "samples.parquet")


def one(engine: str, folder: str, out: str) -> None:
    """Run one engine, in a process of its own."""
    globals()[engine](Path(folder), Path(out))


def measured(engine: str, folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return seconds of clock and of processor and peak GiB, and sums of what was written."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    run = subprocess.Popen([sys.executable, __file__, "one", engine, str(folder), str(out)])
    _, status, used = os.wait4(run.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{engine} failed")
    columns = ["purchase_10", "gmv_10", "gmv_20", "f_0", "f_9"]
    parts = [pd.read_parquet(path, columns=columns) for path in out.rglob("*.parquet")]
    sums = pd.concat(parts).astype(np.float64).sum()
    cost = seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
    return cost, (sum(map(len, parts)), *sums)


# --- what is printed ------------------------------------------------------------------------------


def engines(rows: str = "5000000", repeats: str = "3") -> None:
    n = int(rows)
    print(f"{n:,} decisions, {4 * n:,} snapshots, {int(0.4 * n):,} events: medians of {repeats}")
    heads = ("seconds", "of ours", "CPU", "of ours", "peak GiB", "of ours")
    print(f"{'engine':>8}", *(f"{head:>8}" for head in heads))
    with tempfile.TemporaryDirectory() as folder:
        write_world(Path(folder), n)
        found: dict[str, list[tuple[float, ...]]] = {}
        sums: tuple[float, ...] = ()
        for _ in range(int(repeats)):
            for engine in ENGINES:
                try:
                    __import__(engine if engine != "ours" else "policy")
                except ImportError:
                    continue
                cost, told = measured(engine, Path(folder))
                sums = sums or told
                if not np.allclose(told, sums, rtol=1e-9):
                    print(f"{engine} differs: {told}, {sums}")
                found.setdefault(engine, []).append(cost)
    medians = {engine: np.median(runs, axis=0) for engine, runs in found.items()}
    for engine, cost in medians.items():
        pairs = zip(cost, cost / medians["ours"], strict=True)
        print(f"{engine:>8}", *(f"{value:8.2f}" for pair in pairs for value in pair))


def days(rows: str = "1000000", *numbers: str) -> None:
    n = int(rows)
    print(f"ours, {n:,} decisions a day: peak memory as days are added, and a second run")
    print(f"{'days':>5} {'seconds':>8} {'peak GiB':>9} {'again':>6}")
    for count in map(int, numbers or ("1", "2", "4", "8")):
        with tempfile.TemporaryDirectory() as folder:
            write_world(Path(folder), n, count)
            (seconds, _, peak), _ = measured("ours", Path(folder))
            start = time.perf_counter()
            one("ours", folder, f"{folder}/out")
            again = time.perf_counter() - start
        print(f"{count:5} {seconds:8.1f} {peak:9.2f} {again:6.2f}", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
