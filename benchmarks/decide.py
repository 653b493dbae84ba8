"""One decision, from a dictionary of features to a Decision, beside two calls of XGBoost.

    python benchmarks/decide.py [DECISIONS]

A bundle of a T-learner: two boosters of 100 trees of depth 6 on 30 features, numbers with missing
values and categories; prices by the hour, reserves, at most 2 requests a page. Side by side in
turns: the engine, its parts, `inplace_predict` twice on one row, ONNX Runtime and treelite where
they are installed. One thread; microseconds.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import gc
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import pandas as pd

from policy import Budget, Bundle, DecisionEngine, Limits, SessionState, plan_requests
from policy.forest.layout import read_forest
from uplift import BoostParams, RequestLog, UpliftModel
from uplift.schema import LogSchema

FEATURES, CATEGORIES, ROWS, TURN = 30, 4, 60_000, 1_000
HEAD = f"{'':34} {'median':>8} {'p99':>8} {'p99.9':>8}"


def log(seed: int = 0) -> RequestLog:
    """Rows with a purchase rate and an effect that many features have a part in."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"f_{k}": rng.normal(size=ROWS) for k in range(FEATURES - CATEGORIES)})
    for k in range(CATEGORIES):
        frame[f"c_{k}"] = rng.choice([f"kind {j}" for j in range(20)], ROWS)
    score = frame.iloc[:, :20].to_numpy() @ rng.normal(0, 0.3, 20)
    frame = frame.mask(rng.random(frame.shape) < 0.05)
    arm = rng.integers(0, 2, ROWS)
    chance = 1 / (1 + np.exp(1 - score - 0.5 * arm * (frame["f_1"].fillna(0) > 0)))
    frame["purchase_10"] = (rng.random(ROWS) < chance).astype(float)
    frame["arm"], frame["propensity"] = arm.astype(np.int8), 0.5
    frame["session_id"] = frame["user_id"] = np.arange(ROWS) // 10
    frame["page"], frame["position"] = np.int16(0), (np.arange(ROWS) % 10 * 5).astype(np.int16)
    seconds = pd.to_timedelta(rng.integers(0, 86_400, ROWS // 10).repeat(10), unit="s")
    frame["timestamp"] = pd.Timestamp("2026-11-11", tz="UTC") + seconds
    schema = LogSchema(
        arms=("none", "request"),
        arm_cost=(0.0, 1.0),
        outcomes=("purchase_10",),
        primary="purchase_10",
        features=("f_*", "c_*"),
        categorical=("c_*",),
    )
    return RequestLog(frame, schema)


def made(folder: Path) -> tuple[Bundle, RequestLog]:
    """Fit, plan and save a bundle whose boosters have 100 trees each."""
    rows = log()
    params = BoostParams(max_rounds=100, max_depth=6, patience=100, min_child_weight=1.0)
    model = UpliftModel.fit(rows, "t", params)
    for booster in model.learner.boosters_.values():
        if booster.rounds < 100:
            print(f"(a booster of {booster.rounds} trees)")
    plan = plan_requests(model.score(rows), Budget.share(0.05), Limits(per_page=2, min_gap=10))
    Bundle(model, plan).save(folder)
    return Bundle.load(folder), rows


def onnx(model: UpliftModel) -> Callable[[np.ndarray], object] | None:
    """Return both boosters under ONNX Runtime; nothing where it is not installed."""
    try:
        import onnxruntime
        from onnxmltools import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType
    except ImportError as error:
        print(f"(no ONNX Runtime here: {error})")
        return None
    sessions = []
    for booster in model.learner.boosters_.values():
        kind = [("x", FloatTensorType([1, FEATURES]))]
        graph = convert_xgboost(booster.booster, initial_types=kind).SerializeToString()
        sessions.append(onnxruntime.InferenceSession(graph))
    return lambda row: [s.run(None, {"x": row}) for s in sessions]


def treelite(model: UpliftModel) -> Callable[[np.ndarray], object] | None:
    """Return both boosters under treelite's interpreter; nothing where it is not installed."""
    try:
        import treelite
    except ImportError as error:
        print(f"(no treelite here: {error})")
        return None
    loaded = [treelite.frontend.from_xgboost(b.booster) for b in model.learner.boosters_.values()]
    return lambda row: [treelite.gtil.predict(m, row, nthread=1) for m in loaded]


def agree(bundle: Bundle, folder: Path, X: np.ndarray) -> None:
    """Tell how far the engine's forests are from XGBoost on many rows."""
    for name, booster in bundle.model.learner.boosters_.items():
        forest = read_forest(folder / "model" / f"{name}.ubj")
        ours = np.array([forest.margin(bytearray(row.tobytes())) for row in X])
        apart = abs(ours - booster.margin(X)).max()
        print(f"{name}: largest difference of {len(X):,} margins {apart}")


def main(decisions: int = 100_000) -> None:
    folder = Path(tempfile.mkdtemp()) / "bundle"
    bundle, rows = made(folder)
    engine = DecisionEngine.load(folder, clock=lambda: 43_200.0)
    model = bundle.model
    some = rows.take(np.arange(TURN))
    names = [*some.features, "page", "position", "session_id"]
    table = some.frame[names].to_dict("records")
    X = model.encoder.transform(some.frame)
    np.testing.assert_array_equal([engine.uplift(r) for r in table], model.uplift(some))
    seen = model.encoder.transform(rows.frame)
    agree(bundle, folder, np.concatenate([seen, seen])[:100_000])
    boosters = [b.booster for b in model.learner.boosters_.values()]
    fresh, cells = SessionState(), [X[k : k + 1] for k in range(TURN)]
    turns: dict[str, Callable[[int], object]] = {
        "engine.decide": lambda k: engine.decide(table[k], state=fresh),
        "engine.decide, own session table": lambda k: engine.decide(table[k]),
        "engine.uplift (no rule)": lambda k: engine.uplift(table[k]),
        "row alone": lambda k: engine._row(table[k]),
        "inplace_predict twice": lambda k: [b.inplace_predict(cells[k]) for b in boosters],
    }
    for name, other in (("ONNX Runtime", onnx(model)), ("treelite", treelite(model))):
        if other is not None:
            turns[f"{name}, both boosters"] = lambda k, f=other: f(cells[k])
    print(HEAD)
    found = times(turns, decisions)
    for name, taken in found.items():
        print(
            f"{name:>34} " + " ".join(f"{np.quantile(taken, q):8.1f}" for q in (0.5, 0.99, 0.999))
        )
    ours, bare = found["engine.decide"], found["inplace_predict twice"]
    for name, q in (("median", 0.5), ("p99", 0.99)):
        print(
            f"{name}: 1/{np.quantile(bare, q) / np.quantile(ours, q):.0f} of inplace_predict twice"
        )


def times(turns: dict[str, Callable[[int], object]], decisions: int) -> dict[str, np.ndarray]:
    """Time single calls, microseconds, the sides in turns of a thousand.

    Each round another side is first, and finds the rows out of the caches.
    """
    found: dict[str, list[int]] = {name: [] for name in turns}
    order = list(turns.items())
    gc.disable()
    for _ in range(decisions // TURN):
        order.append(order.pop(0))
        for name, turn in order:
            few = TURN if name.startswith(("engine", "row")) else TURN // 5
            for k in range(few):
                begin = perf_counter_ns()
                turn(k)
                found[name].append(perf_counter_ns() - begin)
        gc.collect()
    return {name: np.array(taken) / 1e3 for name, taken in found.items()}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
