"""Random problems, and judges that share no code with the planner."""

import itertools

import numpy as np
from hypothesis import strategies as st

from policy.capacity import Capacity, Service
from policy.problem import Demand, Limits


def violations(demand, capacity, limits, arm):
    """Every limit that `arm` breaks, in words."""
    found = budget_violations(demand, capacity, arm)
    found += [f"forbidden at {i}" for i, a in enumerate(arm) if a and demand.gain[i, a - 1] < -1e9]
    for s in range(demand.n_sessions):
        rows = range(demand.session_start[s], demand.session_start[s + 1])
        found += session_violations(demand, limits, s, [i for i in rows if arm[i] > 0])
    return found


def budget_violations(demand, capacity, arm):
    unlimited = [np.inf] * demand.n_windows
    arms = range(1, demand.n_arms + 1)
    found = exceeded("", spent(demand, arm, arms), capacity.window, capacity.total)
    for service in capacity.services:
        windows = unlimited if service.window is None else service.window
        used = spent(demand, arm, service.arms)
        found += exceeded(f"{service.name} ", used, windows, service.total)
    if capacity.least is not None:
        lowest = spent(demand, arm, arms)
        found += [f"least {w}" for w, s in enumerate(lowest) if s < capacity.least[w] * (1 - 2e-9)]
    return found


def exceeded(name, spend, windows, total):
    found = [f"{name}window {w}" for w, s in enumerate(spend) if s > windows[w] * (1 + 2e-9)]
    if total is not None and sum(spend) > total * (1 + 2e-9):
        found.append(f"{name}total")
    return found


def spent(demand, arm, arms):
    """Requests that some arms spend in each window."""
    spend = [0.0] * demand.n_windows
    for i in range(demand.n_points):
        if arm[i] > 0 and arm[i] in arms:
            spend[demand.window[i]] += demand.cost[i, arm[i] - 1]
    return spend


def session_violations(demand, limits, session, taken):
    found = []
    if limits.per_session is not None and len(taken) > limits.per_session:
        found.append(f"session {session}")
    pages = [demand.page[i] for i in taken]
    if limits.per_page is not None and any(pages.count(p) > limits.per_page for p in pages):
        found.append(f"page of session {session}")
    for i, j in itertools.combinations(taken, 2):
        if abs(demand.slot[i] - demand.slot[j]) < limits.min_gap:
            found.append(f"gap in session {session}")
    return found


def total_gain(demand, arm):
    return sum(float(demand.gain[i, a - 1]) for i, a in enumerate(arm) if a > 0)


def assignments(demand):
    return itertools.product(range(demand.n_arms + 1), repeat=demand.n_points)


def brute_force(demand, capacity, limits):
    """The best gain over all assignments; minus infinity where none is allowed."""
    return max(
        (
            total_gain(demand, arm)
            for arm in assignments(demand)
            if not violations(demand, capacity, limits, arm)
        ),
        default=-np.inf,
    )


def random_problem(seed, *, points=8, arms=1, windows=3, sessions=3, whole_costs=True, ties=False):
    """A small problem with every kind of row; gains may be negative, arms may be free."""
    rng = np.random.default_rng(seed)
    gain = rng.normal(0.4, 1.0, (points, arms))
    gain = np.round(gain) if ties else gain
    cost = rng.integers(0, 4, (points, arms)).astype(float)
    cost = cost if whole_costs else cost * rng.uniform(0.1, 1.0, (points, arms))
    demand, _ = Demand.from_points(
        gain,
        cost,
        session=rng.integers(0, sessions, points),
        window=rng.integers(0, windows, points),
        n_windows=windows,
        slot=(slot := rng.integers(0, 12, points)),
        page=slot // 4,
    )
    room = rng.uniform(0.0, 1.5 * points / windows, windows)
    room[rng.random(windows) < 0.2] = np.inf
    total = None if rng.random() < 0.4 else float(rng.uniform(0.5, 1.2 * points))
    limits = Limits(
        per_session=None if rng.random() < 0.4 else int(rng.integers(1, 4)),
        per_page=None if rng.random() < 0.4 else int(rng.integers(1, 3)),
        min_gap=int(rng.integers(0, 6)),
    )
    return demand, Capacity(room, total), limits


def hard_problem(seed, **options):
    """The same with services, forbidden arms and windows that must get something."""
    demand, capacity, limits = random_problem(seed, **options)
    rng = np.random.default_rng(seed + 1)
    gain = demand.gain.copy()
    gain[rng.random(gain.shape) < 0.15] = -np.inf
    columns = (demand.window, demand.n_windows, demand.session_start, demand.page, demand.slot)
    demand = Demand(gain, demand.cost, *columns)
    services = [random_service(rng, demand, name) for name in "pq"[: rng.integers(0, 3)]]
    least = rng.uniform(0, 2.5, demand.n_windows) * (rng.random(demand.n_windows) < 0.5)
    room = np.maximum(capacity.window, least)
    total = None if capacity.total is None else max(capacity.total, least.sum())
    return demand, Capacity(room, total, least, tuple(services)), limits


def random_service(rng, demand, name):
    arms = np.flatnonzero(rng.random(demand.n_arms) < 0.7) + 1
    windows = None if rng.random() < 0.3 else rng.uniform(0, demand.n_points, demand.n_windows)
    total = None if rng.random() < 0.5 else float(rng.uniform(0.5, demand.n_points))
    return Service(tuple(arms) or (1,), windows, total, name)


def feed(n_sessions, *, points=20, windows=24, arms=1, seed=0, decimals=None):
    """A day of sessions: pages of five decision points, ten slots apart, an evening peak."""
    rng = np.random.default_rng(seed)
    n = n_sessions * points
    gain = (rng.gamma(0.5, 0.01, (n, arms)) - 0.002).astype(np.float32)
    gain = gain if decimals is None else np.round(gain, decimals)
    traffic = 1 + 0.8 * np.sin(np.arange(windows) / windows * 6)
    first = np.repeat(rng.choice(windows, n_sessions, p=traffic / traffic.sum()), points)
    place = np.tile(np.arange(points), n_sessions)
    late = (place > points * 0.7) & np.repeat(rng.random(n_sessions) < 0.5, points)
    return Demand(
        gain=gain,
        cost=np.broadcast_to(np.arange(1.0, arms + 1), gain.shape),
        window=np.minimum(first + late, windows - 1).astype(np.int32),
        n_windows=windows,
        session_start=np.arange(0, n + 1, points),
        page=(place // 5).astype(np.int32),
        slot=place * 10,
    )


def day_budget(n_sessions, windows=24):
    return Capacity(np.full(windows, 0.5 * n_sessions / windows), 0.45 * n_sessions)


FEED_LIMITS = Limits(per_session=3, per_page=2, min_gap=20)

problems = st.builds(
    random_problem,
    st.integers(0, 10**6),
    points=st.integers(1, 8),
    arms=st.just(1),
    windows=st.integers(1, 3),
    sessions=st.integers(1, 4),
    whole_costs=st.booleans(),
    ties=st.booleans(),
)
larger = {
    "points": st.integers(5, 60),
    "arms": st.integers(1, 3),
    "windows": st.integers(1, 6),
    "sessions": st.integers(1, 12),
    "whole_costs": st.booleans(),
    "ties": st.booleans(),
}
larger_problems = st.builds(random_problem, st.integers(0, 10**6), **larger)
hard_problems = st.builds(hard_problem, st.integers(0, 10**6), **larger)
small_hard_problems = st.builds(
    hard_problem,
    st.integers(0, 10**6),
    points=st.integers(1, 6),
    arms=st.integers(1, 2),
    windows=st.integers(1, 3),
    sessions=st.integers(1, 4),
    whole_costs=st.booleans(),
    ties=st.booleans(),
)
