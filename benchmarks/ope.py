"""Off-policy estimation: seconds beside a plain numpy pass, and beside Open Bandit Pipeline.

    python benchmarks/ope.py [--rows 1000000] [--users 100000] [--no-peer]

First table, at two arms and at ten: a point estimate over a numpy pass of the same formula on the
same arrays (both from arrays in memory, checked before); an interval of the influence function,
clustered by user, over the point estimate; reading the tables of all arms, with every check, beside
it. Second: a clustered bootstrap of 1,000 draws of DR, and the memory that it adds. Third: Open
Bandit Pipeline's DR and its unclustered bootstrap of 100 draws on the same rows.

The peer needs an old numpy and scikit-learn: a virtual environment of its own is made in a folder
kept under the user's cache, and its table is skipped with a reason where that fails. Of torch, that
it imports and does not use here, it gets an empty shell. Times are the least of several, on one
thread; figures are ratios within one run.
"""

import argparse
import json
import resource
import subprocess
import sys
import types
import venv
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

PEER = ("numpy<2", "pandas<2.2", "scikit-learn<1.4", "scipy", "matplotlib", "seaborn", "tqdm")
PEER_REST = ("pyyaml", "mypy_extensions")
PEER_HOME = Path.home() / ".cache" / "request-uplift" / "open-bandit-pipeline"
ARMS = (2, 10)


def tables(rows: int, arms: int, users: int) -> dict[str, np.ndarray]:
    """Make a randomised log, a policy and an outcome model, as tables of all arms."""
    rng = np.random.default_rng(0)
    pi = rng.random((rows, arms))
    pi /= pi.sum(axis=1, keepdims=True)
    return {
        "reward": (rng.random(rows) < 0.1).astype(np.float64),
        "propensity": np.full(rows, 1 / arms),
        "arm": rng.integers(0, arms, rows),
        "pi": pi,
        "cluster": rng.integers(0, users, rows),
        "outcome": rng.random((rows, arms)) * 0.2,
    }


def least(task: Callable[[], object], times: int = 15) -> float:
    """Seconds of the quickest of some runs."""
    task()
    seconds = []
    for _ in range(times):
        start = perf_counter()
        task()
        seconds.append(perf_counter() - start)
    return min(seconds)


def ours(rows: int, users: int) -> None:
    from offline_eval.estimators import ESTIMATORS, Decisions

    print(f"{rows:,} rows, {users:,} users\n")
    print(f"{'':22}{'numpy':>9}{'point':>9}{'ratio':>7}{'interval':>10}{'over point':>11}")
    for arms in ARMS:
        made = tables(rows, arms, users)
        d = Decisions.of(**made)
        plain: dict[str, Callable[[], object]] = {
            "ips": lambda d=d: (d.target / d.propensity * d.reward).mean(),
            "snips": lambda d=d: (w := d.target / d.propensity) @ d.reward / w.sum(),
            "dm": lambda d=d: d.outcome_policy.mean(),
            "dr": lambda d=d: (
                d.outcome_policy + d.target / d.propensity * (d.reward - d.outcome_logged)
            ).mean(),
            "sndr": lambda d=d: (
                d.outcome_policy.mean()
                + (w := d.target / d.propensity) @ (d.reward - d.outcome_logged) / w.sum()
            ),
        }
        for name, formula in plain.items():
            estimator = ESTIMATORS[name]
            assert np.isclose(formula(), estimator.value(d))
            base = least(formula)
            point = least(lambda e=estimator, d=d: e.value(d))
            interval = least(lambda e=estimator, d=d: e(d))
            print(
                f"{arms:>3} arms, {name:12}{base:9.4f}{point:9.4f}{point / base:7.2f}"
                f"{interval:10.4f}{interval / point:11.2f}"
            )
        print(
            f"{arms:>3} arms, tables read and checked {least(lambda m=made: Decisions.of(**m)):.3f}"
        )
    state = ESTIMATORS["dr"].sums(d)
    state.bootstrap(2)  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = least(lambda: ESTIMATORS["dr"].sums(d).bootstrap(1000), times=3)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"\nDR, clustered bootstrap of 1,000 draws: {seconds:.2f} s, {added:.0f} MiB more at most"
    )


def peer(rows: int) -> dict[str, float]:
    """Open Bandit Pipeline's seconds; runs in its own environment."""
    for name in ("torch", "torch.nn", "torch.optim", "torch.utils", "torch.utils.data"):
        sys.modules[name] = shell(name)
    from obp.ope import DoublyRobust

    made = tables(rows, 2, rows // 10)
    arguments = {
        "reward": made["reward"],
        "action": made["arm"],
        "pscore": made["propensity"],
        "action_dist": made["pi"][:, :, None],
        "estimated_rewards_by_reg_model": made["outcome"][:, :, None],
        "position": np.zeros(rows, int),
    }
    dr = DoublyRobust()
    more = {"n_bootstrap_samples": 100, "random_state": 0}
    return {
        "value": float(dr.estimate_policy_value(**arguments)),
        "point": least(lambda: dr.estimate_policy_value(**arguments), times=3),
        "bootstrap": least(lambda: dr.estimate_interval(**arguments, **more), times=1),
    }


def shell(name: str) -> types.ModuleType:
    """Make a module that has whatever class it is asked for."""

    class Shell(types.ModuleType):
        def __getattr__(self, wanted: str) -> type:
            if wanted.startswith("__"):
                raise AttributeError(wanted)
            return type(wanted, (), {})

    made = Shell(name)
    made.__path__ = []  # type: ignore[attr-defined]
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, made)
    return made


def peer_python() -> Path:
    """Return the peer's interpreter; its environment is made where it is not there yet."""
    python = PEER_HOME / "bin" / "python"
    if not (PEER_HOME / "ready").exists():
        venv.create(PEER_HOME, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        for wanted in ([*PEER, *PEER_REST], ["--no-deps", "obp==0.4.1"]):
            subprocess.run([*install, *wanted], check=True, capture_output=True, timeout=900)
        (PEER_HOME / "ready").touch()
    return python


def beside_the_peer() -> None:
    from offline_eval.estimators import ESTIMATORS, Decisions

    dr = ESTIMATORS["dr"]
    print(f"\n{'DR, two arms':22}{'point':>9}{'bootstrap':>11}")
    for rows in (100_000, 1_000_000):
        try:
            command = [str(peer_python()), __file__, "--peer", str(rows)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
        except (OSError, subprocess.SubprocessError) as error:
            reason = (getattr(error, "stderr", None) or str(error)) or ""
            text = reason.decode() if isinstance(reason, bytes) else reason
            print(f"skipped: Open Bandit Pipeline cannot be had here ({text.strip()[-300:]})")
            return
        theirs = json.loads(done.stdout.splitlines()[-1])
        d = Decisions.of(**tables(rows, 2, rows // 10))
        assert np.isclose(theirs["value"], dr.value(d))
        point, bootstrap = (
            least(lambda d=d: dr.value(d)),
            least(lambda d=d: dr.sums(d).bootstrap(1000), 2),
        )
        print(f"{rows:>9,} peer, 100    {theirs['point']:9.4f}{theirs['bootstrap']:11.3f}")
        print(f"{rows:>9,} ours, 1,000  {point:9.4f}{bootstrap:11.3f}")
        print(
            f"{'':10}peer over ours  {theirs['point'] / point:6.1f}x"
            f"{theirs['bootstrap'] / bootstrap:9.1f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peer:
        print(json.dumps(peer(asked.peer)))
        return
    ours(asked.rows, asked.users)
    if not asked.no_peer:
        beside_the_peer()


if __name__ == "__main__":
    main()
