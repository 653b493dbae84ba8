"""Planner: passes, certified gap and seconds, beside the integer programme where that is feasible.

    python benchmarks/planner.py [--sessions 100000 1000000]

Sessions of 20 decision points over 24 windows with an evening peak; capacity for half a request a
session and a total of 0.45; at most 3 requests a session, 2 a page, 20 slots apart. Seconds are of
one run each after the kernels are compiled.
"""

import argparse
from time import perf_counter

import numpy as np

from policy.planner.decomposition import solve_decomposition
from policy.planner.exact import solve_exact
from policy.planner.oracle import SessionOracle
from policy.capacity import Capacity
from policy.planner.rows import Rows
from policy.problem import Demand, Limits

POINTS, WINDOWS = 20, 24
LIMITS = Limits(per_session=3, per_page=2, min_gap=20)
LINE = "{:>13} {:>9} {:>7} {:>8.2f} {:>9.1e} {:>12.3f}  {}"


def feed(n_sessions: int, seed: int = 0) -> Demand:
    """Skewed gains, most of them too small for a request; a third of sessions cross a window."""
    rng = np.random.default_rng(seed)
    n = n_sessions * POINTS
    traffic = 1 + 0.8 * np.sin(np.arange(WINDOWS) / WINDOWS * 6)
    first = np.repeat(rng.choice(WINDOWS, n_sessions, p=traffic / traffic.sum()), POINTS)
    place = np.tile(np.arange(POINTS), n_sessions)
    late = (place >= 15) & np.repeat(rng.random(n_sessions) < 1 / 3, POINTS)
    gain = (rng.gamma(0.5, 0.01, (n, 1)) - 0.002).astype(np.float32)
    return Demand(
        gain=gain,
        cost=np.broadcast_to(np.ones(1), gain.shape),
        window=np.minimum(first + late, WINDOWS - 1).astype(np.int32),
        n_windows=WINDOWS,
        session_start=np.arange(0, n + 1, POINTS),
        page=(place // 5).astype(np.int32),
        slot=place * 10,
    )


def budget(n_sessions: int) -> Capacity:
    """Half a request a session, evenly over the day, and a total that binds too."""
    return Capacity(np.full(WINDOWS, 0.5 * n_sessions / WINDOWS), 0.45 * n_sessions)


def report(name, solve, n_sessions, **options):
    demand = feed(n_sessions)
    begin = perf_counter()
    solution = solve(demand, budget(n_sessions), LIMITS, **options)
    seconds = perf_counter() - begin
    figures = (solution.iterations, seconds, solution.gap, solution.gain, solution.reason)
    print(LINE.format(name, n_sessions, *figures), flush=True)
    return demand, solution


def passes(demand, solution):
    """One oracle pass at the best prices, in seconds and beside the sum of the gains."""
    oracle = SessionOracle(demand, LIMITS, Rows.of(budget(demand.n_sessions), demand))
    begin = perf_counter()
    oracle.best_plans(solution.window_price[:, None])
    middle = perf_counter()
    demand.gain.sum()
    end = perf_counter()
    print(f"{'':>13} one pass {middle - begin:.3f} s; gain.sum() {end - middle:.4f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--exact", type=int, nargs="*", default=[100, 1_000])
    arguments = parser.parse_args()
    solve_decomposition(feed(200), budget(200), LIMITS)  # compiles the kernels
    columns = ("solver", "sessions", "passes", "seconds", "gap", "gain")
    print("{:>13} {:>9} {:>7} {:>8} {:>9} {:>12}  reason".format(*columns))
    for n_sessions in arguments.exact:
        report("exact", solve_exact, n_sessions)
        report("decomposition", solve_decomposition, n_sessions)
    for n_sessions in arguments.sessions:
        demand, cold = report("decomposition", solve_decomposition, n_sessions)
        passes(demand, cold)
        report("warm start", solve_decomposition, n_sessions, start=yesterday(n_sessions))


def yesterday(n_sessions):
    """Prices of another day with the same traffic."""
    demand = feed(n_sessions, seed=1)
    return solve_decomposition(demand, budget(n_sessions), LIMITS).prices


if __name__ == "__main__":
    main()
