"""Share of the true uplift that each learner's best points hold, on the simulated feed.

python benchmarks/learners.py [SESSIONS] [RATE]
"""

import sys
import time

import numpy as np

from offline_eval.feed import simulate
from uplift import LEARNERS, UpliftModel

SHARES = (0.02, 0.05, 0.1, 0.2)
TEST_SESSIONS = 60_000


def main(sessions: int = 60_000, rate: float = 10.0) -> None:
    log, test = simulate(sessions, seed=1, rate=rate), simulate(TEST_SESSIONS, seed=2, rate=rate)
    none, request = (test.frame[f"true_purchase_10_{a}"].to_numpy(np.float64) for a in (0, 1))
    truth = request - none
    print(f"{len(log):,} rows to learn from, {len(test):,} to rank, rate {rate:g}")
    print(f"{'ranking by':>20}" + "".join(f"{s:>8.0%}" for s in SHARES) + "  seconds to fit")
    _print("truth", truth, truth)
    _print("purchase probability", none, truth)
    for name in LEARNERS:
        start = time.perf_counter()
        model = UpliftModel.fit(log, name)
        _print(name, model.uplift(test)[:, 0], truth, time.perf_counter() - start)


def _print(name: str, score: np.ndarray, truth: np.ndarray, seconds: float | None = None) -> None:
    best_first = np.cumsum(truth[np.argsort(-score, kind="stable")]) / truth.sum()
    captured = [best_first[int(share * len(truth)) - 1] for share in SHARES]
    told = "" if seconds is None else f"{seconds:>16.1f}"
    print(f"{name:>20}" + "".join(f"{c:>8.3f}" for c in captured) + told)


if __name__ == "__main__":
    main(*(float(a) if "." in a else int(a) for a in sys.argv[1:]))
