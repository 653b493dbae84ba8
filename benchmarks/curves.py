"""Uplift curves beside their peers: ``python benchmarks/curves.py [ROWS]``, 10 million by default.

First, at ROWS: a Qini curve with a 200-draw clustered interval over one plain curve (numpy argsort
and cumulative sum). Then, at 1 million rows or ROWS if that is less: ours, causalml, scikit-uplift
and econml on the same scores. Contenders alternate, medians of runs; kernels are compiled before.
Memory is the peak of what a call allocates (tracemalloc, in a run of its own).
"""

import sys
import tracemalloc
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from uplift.curves import qini_curve
from uplift.effects import effect_scores

PEER_ROWS = 1_000_000
LINE = "{:<58}{:>10.3f}{:>9.2f}{:>12.0f}"


def trial(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw purchases of 2 % rising by up to 4 % with the score, half of the points treated."""
    rng = np.random.default_rng(seed)
    score, arm = rng.random(n), rng.integers(0, 2, n)
    y = (rng.random(n) < 0.02 + 0.04 * score**2 * arm).astype(np.float64)
    effect = effect_scores(y, arm, np.full(n, 0.5), np.zeros((n, 2)))[:, 0]
    users = rng.integers(0, max(n // 10, 1), n)
    return {"score": score, "arm": arm, "y": y, "effect": effect, "users": users}


def plain(score: np.ndarray, effect: np.ndarray) -> np.ndarray:
    return np.cumsum(effect[np.argsort(-score)])


def compare(title: str, contenders: dict[str, Callable[[], object]], runs: int) -> None:
    """Print median seconds, ratio to the first contender, and peak memory in MB."""
    print(f"\n{title:<58}{'seconds':>10}{'ratio':>9}{'peak MB':>12}")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, run in contenders.items():
            start = perf_counter()
            run()
            seconds[name].append(perf_counter() - start)
    base = median(next(iter(seconds.values())))
    for name, run in contenders.items():
        middle = median(seconds[name])
        print(LINE.format(name, middle, middle / base, peak(run)))


def peak(run: Callable[[], object]) -> float:
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def ours(log: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    score, effect, users = log["score"], log["effect"], log["users"]
    rows = np.arange(len(score))
    return {
        "plain curve: argsort, cumulative sum": lambda: plain(score, effect),
        "uplift qini_curve, no interval": lambda: qini_curve(score, effect, users, draws=0),
        "uplift qini_curve, 200 draws, 10 rows a user": lambda: qini_curve(score, effect, users),
        "uplift qini_curve, 200 draws, each row a user": lambda: qini_curve(score, effect, rows),
    }


def peers(log: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    """Name the peers' calls; those that are not installed are left out."""
    score, effect, y, arm = log["score"], log["effect"], log["y"], log["arm"]
    frame = pd.DataFrame({"y": y, "w": arm, "model": score})
    found: dict[str, Callable[[], object]] = {}
    try:
        from causalml.metrics import qini_score

        found["causalml qini_score"] = lambda: qini_score(frame)
        found["causalml qini_score, 10-draw interval, no clusters"] = lambda: qini_score(
            frame, return_ci=True, n_bootstrap=10, random_state=0
        )
    except ImportError as error:
        print(f"causalml left out: {error}")
    try:
        from sklift.metrics import qini_auc_score

        found["scikit-uplift qini_auc_score (has no interval)"] = lambda: qini_auc_score(
            y.astype(int), score, arm
        )
    except ImportError as error:
        print(f"scikit-uplift left out: {error}")
    try:
        from econml.validate.utils import calc_uplift

        grid = np.linspace(5, 95, 50)
        found["econml calc_uplift, 10 draws, 50 points, no clusters"] = lambda: calc_uplift(
            score, score, effect, grid, "qini", 10
        )
    except ImportError as error:
        print(f"econml left out: {error}")
    return found


def main(rows: int = 10_000_000) -> None:
    small = trial(1000)
    qini_curve(small["score"], small["effect"], small["users"])
    log = trial(rows)
    compare(f"{rows:,} rows", ours(log), runs=3)
    log = trial(min(rows, PEER_ROWS))
    compare(f"{len(log['y']):,} rows", ours(log) | peers(log), runs=5)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
