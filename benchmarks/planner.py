"""Planner: passes, certified gap, seconds and memory, beside general solvers.

    python benchmarks/planner.py passes [SESSIONS]      one oracle pass beside the sum of the gains
    python benchmarks/planner.py solve [SESSIONS ...]   cold and with yesterday's prices
    python benchmarks/planner.py exact [SESSIONS ...]   beside the integer programme
    python benchmarks/planner.py lp [SESSIONS ...]      as one LP: PDLP, GLOP, HiGHS, 300 s each
    python benchmarks/planner.py ends [SESSIONS]        least requests, requests worth a price
    python benchmarks/planner.py stream POINTS FOLDER   from Parquet files: seconds, peak memory

Sessions of 20 decision points over 24 windows with an evening peak; capacity for half a request a
session and a total of 0.45; at most 3 requests a session, 2 a page, 20 slots apart (as one LP: at
most 3 a session). Seconds are of one run each after the kernels are compiled, but for `passes`,
which are medians in turns.
"""

import resource
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy import sparse

from policy.capacity import Capacity
from policy.planner.decomposition import solve_decomposition, solve_stream
from policy.planner.ends import least_requests, worth_a_price
from policy.planner.exact import solve_exact
from policy.planner.linear import Programme, solve_linear
from policy.planner.oracle import SessionOracle
from policy.planner.rows import Rows
from policy.planner.shards import DemandShards, ShardSource
from policy.problem import Demand, Limits

POINTS, WINDOWS = 20, 24
LIMITS = Limits(per_session=3, per_page=2, min_gap=20)
LP_LIMITS = Limits(per_session=3)
LP_SECONDS = 300.0
LINE = "{:>13} {:>9} {:>7} {:>8.2f} {:>9.1e} {:>13.3f}  {}"
HEAD = ("solver", "sessions", "passes", "seconds", "gap", "gain")


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


def timed(do, *arguments, **options):
    begin = perf_counter()
    found = do(*arguments, **options)
    return found, perf_counter() - begin


def report(name, solve, demand, limits=LIMITS, **options):
    n_sessions = demand.n_sessions
    solution, seconds = timed(solve, demand, budget(n_sessions), limits, **options)
    figures = (solution.iterations, seconds, solution.gap, solution.gain, solution.reason)
    print(LINE.format(name, n_sessions, *figures), flush=True)
    return solution, seconds


def warm_up():
    """Compile the kernels."""
    solve_decomposition(feed(200), budget(200), LIMITS)
    print("{:>13} {:>9} {:>7} {:>8} {:>9} {:>13}  reason".format(*HEAD))


def solve(sessions=(100_000, 1_000_000)):
    warm_up()
    for n_sessions in sessions:
        demand = feed(n_sessions)
        yesterday = solve_decomposition(feed(n_sessions, seed=1), budget(n_sessions), LIMITS)
        report("cold", solve_decomposition, demand)
        report("warm start", solve_decomposition, demand, start=yesterday.prices)


def exact(sessions=(100, 1_000)):
    warm_up()
    for n_sessions in sessions:
        report("exact", solve_exact, feed(n_sessions))
        report("decomposition", solve_decomposition, feed(n_sessions))


def passes(sessions=(1_000_000,)):
    """Time passes at several prices beside `gain.sum()`, in turns."""
    warm_up()
    for n_sessions in sessions:
        demand = feed(n_sessions)
        best = solve_decomposition(demand, budget(n_sessions), LIMITS).window_price[:, None]
        oracle = SessionOracle(demand, LIMITS, Rows.of(budget(n_sessions), demand))
        turns = {
            "at the best prices": lambda oracle=oracle, best=best: oracle.best_plans(best),
            "at half of them": lambda oracle=oracle, best=best: oracle.best_plans(best / 2),
            "at no price": lambda oracle=oracle, best=best: oracle.best_plans(0 * best),
            "gain.sum()": lambda demand=demand: demand.gain.sum(),
        }
        seconds = np.array([[timed(turn)[1] for turn in turns.values()] for _ in range(15)])
        for name, median in zip(turns, np.median(seconds, axis=0), strict=True):
            ratio = np.median(seconds[:, list(turns).index(name)] / seconds[:, -1])
            print(f"{name:>20} {median:8.4f} s {ratio:6.1f} sums", flush=True)


def ends(sessions=(1_000_000,)):
    warm_up()
    for n_sessions in sessions:
        demand = feed(n_sessions)
        most, _ = report("cold", solve_decomposition, demand)
        found, seconds = timed(
            least_requests, demand, budget(n_sessions), LIMITS, 0.8 * most.gain, gap=1e-3
        )
        told = f"{found.requests:,.0f} (at least {found.lower_bound:,.0f}, gap {found.gap:.1e})"
        print(f"requests for 0.8 of the gain: {told}, {found.solves} totals, {seconds:.2f} s")
        priced, seconds = timed(worth_a_price, demand, budget(n_sessions), LIMITS, 0.04)
        told = f"{priced.total_spend:,.0f}, gain {priced.gain:.3f}, {seconds:.2f} s"
        print(f"requests worth 0.04: {told}")


# --- one LP ---------------------------------------------------------------------------------------


def lp(sessions=(1_000, 10_000, 100_000, 1_000_000)):
    """Each general solver until it takes more than five minutes."""
    warm_up()
    alive = {"PDLP": pdlp, "GLOP": glop, "HiGHS": highs}
    for n_sessions in sessions:
        demand = feed(n_sessions)
        _, ours = report("ours", solve_decomposition, demand, LP_LIMITS)
        for name, run in list(alive.items()):
            bound, seconds = timed(run, one_lp(demand))
            ratio = f"{seconds / ours:8.0f} times ours"
            print(f"{name:>13} {n_sessions:>9} {'':7} {seconds:8.2f} {bound} {ratio}", flush=True)
            if seconds > LP_SECONDS:
                del alive[name]


def one_lp(demand: Demand) -> Programme:
    n, capacity = demand.n_points, budget(demand.n_sessions)
    point = np.arange(n)
    session = np.repeat(np.arange(demand.n_sessions), np.diff(demand.session_start))
    row = np.concatenate((demand.window, np.full(n, WINDOWS), WINDOWS + 1 + session))
    shape = (WINDOWS + 1 + demand.n_sessions, n)
    rows = sparse.csr_array((np.ones(3 * n), (row, np.tile(point, 3))), shape=shape)
    most = np.concatenate((capacity.window, [capacity.total], np.full(demand.n_sessions, 3.0)))
    gain = demand.gain[:, 0].astype(np.float64)
    zero, one = np.zeros(n), np.ones(n)
    return Programme(gain, zero, one, rows, np.full(most.size, -np.inf), most, maximize=True)


def glop(programme: Programme) -> str:
    return f"{'':9} {solve_linear(programme).bound:13.3f}"


def highs(programme: Programme) -> str:
    from scipy.optimize import linprog

    found = linprog(
        -programme.objective,
        A_ub=programme.matrix,
        b_ub=programme.row_upper,
        bounds=(0, 1),
        method="highs",
        options={"time_limit": LP_SECONDS},
    )
    return f"{'':9} {-(found.fun or np.nan):13.3f}"


def pdlp(programme: Programme) -> str:
    """PDLP at a relative gap of 1e-4, on two threads."""
    from ortools.pdlp import solvers_pb2
    from ortools.pdlp.python import pdlp as solver

    problem = solver.QuadraticProgram()
    rows, columns = programme.matrix.shape
    problem.resize_and_initialize(columns, rows)
    problem.objective_vector = -programme.objective
    problem.constraint_matrix = sparse.csc_matrix(programme.matrix)
    problem.constraint_lower_bounds = programme.row_lower
    problem.constraint_upper_bounds = programme.row_upper
    problem.variable_lower_bounds, problem.variable_upper_bounds = programme.lower, programme.upper
    parameters = solvers_pb2.PrimalDualHybridGradientParams(num_threads=2)
    criteria = parameters.termination_criteria
    criteria.time_sec_limit = LP_SECONDS
    criteria.simple_optimality_criteria.eps_optimal_relative = 1e-4
    criteria.simple_optimality_criteria.eps_optimal_absolute = 1e-9
    found = solver.primal_dual_hybrid_gradient(problem, parameters)
    return f"{'':9} {programme.objective @ found.primal_solution:13.3f}"


# --- from files -----------------------------------------------------------------------------------


def stream(points: int, folder: Path) -> None:
    """Write the feed as Parquet files where they are not there, and plan them."""
    warm_up()
    paths, seconds = timed(write_shards, points, folder)
    size = sum(path.stat().st_size for path in paths) / 2**30
    print(f"{points:,} points in {len(paths)} files of {size:.2f} GiB, written in {seconds:.0f} s")
    before = peak()
    begin = perf_counter()
    shards = DemandShards(paths, ["gain_1"], [1.0], WINDOWS)
    sample, share = shards.sample(2_000_000)
    rows = Rows.of(budget(points // POINTS), sample)
    source = Counted(ShardSource(shards, sample, LIMITS, rows))
    solution = solve_stream(source, sample, rows, LIMITS, share=share)
    seconds = perf_counter() - begin
    print(
        f"{seconds:.1f} s, {source.readings} readings of all files, {solution.iterations} passes, "
        f"gap {solution.gap:.1e}, gain {solution.gain:.3f}, {solution.reason}; peak memory "
        f"{peak():.2f} GiB ({before:.2f} before)"
    )


class Counted:
    """A source that counts how often all files are read."""

    def __init__(self, source: ShardSource) -> None:
        self._source, self.readings = source, 0
        self.n_points, self.ceilings = source.n_points, source.ceilings

    def best_plans(self, price):
        """Count and ask."""
        self.readings += 1
        return self._source.best_plans(price)

    def worthwhile(self, price):
        """Count and ask."""
        self.readings += 1
        return self._source.worthwhile(price)


def write_shards(points: int, folder: Path, sessions: int = 500_000) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(max(1, points // POINTS // sessions)):
        path = folder / f"part-{number:05d}.parquet"
        paths.append(path)
        if path.exists():
            continue
        day = feed(min(sessions, points // POINTS), seed=number)
        session = np.repeat(np.arange(day.n_sessions), POINTS) + number * sessions
        columns = {"session": session, "window": day.window.astype(np.int16)}
        columns |= {"page": day.page.astype(np.int8), "slot": day.slot.astype(np.int16)}
        table = pa.table(columns | {"gain_1": day.gain[:, 0]})
        pq.write_table(table, path, row_group_size=1 << 20, compression="zstd")
    return paths


def peak() -> float:
    """Return the peak memory of this process, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    command, *rest = sys.argv[1:] or ["solve"]
    if command == "stream":
        stream(int(float(rest[0])), Path(rest[1]))
    else:
        runs = {f.__name__: f for f in (solve, exact, passes, lp, ends)}
        runs[command](*([tuple(map(int, rest))] if rest else []))
