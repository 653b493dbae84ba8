"""A service from what the command line says."""

import json
import math
from pathlib import Path
from typing import NamedTuple, TypeAlias

from policy.decision_log.archiver import Archiver
from policy.decision_log.writer import DecisionLog
from policy.engine import DecisionEngine, steady_clock
from policy.manifest import read_manifest, readable
from policy.names import Fsync
from policy.quota import SharedQuota
from policy.rates import Rates
from policy.service.app import Service, Settings
from policy.shared_pacing import SharedPacer
from policy.token_bucket import TokenBucket
from uplift.errors import InputError
from uplift.schema import LogSchema

__all__ = ["build_service"]

Bucket: TypeAlias = TokenBucket | SharedQuota

SEGMENT_MB = 64.0


def build_service(
    bundle: Path,
    *,
    log: Path | None = None,
    fsync: Fsync = "interval",
    segment_mb: float = SEGMENT_MB,
    explore: float = 0.0,
    qps: str | float | None = None,
    redis: str | None = None,
    instances: int = 1,
    pace: bool = False,
    pace_seconds: float = 1.0,
    shadow: Path | None = None,
    admin_token: str | None = None,
    admin_anywhere: bool = False,
) -> Service:
    """Make the service of a bundle.

    Parameters
    ----------
    bundle : that is served
    log : folder of the decision log; events go to its folder ``events``, what the shadow decides to
        ``shadow``
    fsync : when the logs are synced
    segment_mb : megabytes of a log's segment, which then becomes Parquet
    explore : share of decisions taken at random
    qps : most extra requests per second: a number, or as `Rates.parse` reads it, or ``plan``, which
        a reload changes with the plan
    redis, instances : address of Redis where several instances share them, and how many they are
    pace, pace_seconds : whether the price follows the traffic, so that it spends `qps`; how long a
        price stands
    shadow : bundle that decides and is logged, but does not act
    admin_token, admin_anywhere : see `Settings`

    Raises
    ------
    InputError
        A bundle, a folder or a number is not what it should be.
    """
    if pace and qps is None:
        raise InputError("pacing needs a rate to meet; give --qps, that of all instances.")
    cap = None if qps is None else _cap(qps, bundle)
    quota = _quota(cap, redis, instances)
    pacer = None
    if pace and cap is not None:
        pacer = SharedPacer(*_priced(bundle, cap), url=redis, step_seconds=pace_seconds)
    archiver = None if log is None else Archiver()
    folders = _folders(log, shadow)
    size = int(segment_mb * (1 << 20))
    logs = {
        name: DecisionLog(folder, fsync=fsync, segment_bytes=size, sealed=archiver)
        for name, folder in folders.items()
    }

    def load(path: Path) -> DecisionEngine:
        cap = None if qps is None else _cap(qps, path)
        kept = {"quota": quota, "pacer": pacer, "log": logs.get("decisions")}
        engine = DecisionEngine.load(path, explore=explore, **kept)
        if quota is not None and cap is not None:
            quota.set_rate(cap.rates, cap.dearest)
            if pacer is not None:
                pacer.follow(*_priced(path, cap))
        return engine

    return Service(
        load,
        bundle,
        Settings(admin_token=admin_token, admin_anywhere=admin_anywhere),
        shadow=None if shadow is None else DecisionEngine.load(shadow, log=logs.get("shadow")),
        logs=logs,
        archiver=archiver,
        quota=quota if isinstance(quota, SharedQuota) else None,
        pacer=pacer,
    )


def _folders(log: Path | None, shadow: Path | None) -> dict[str, Path]:
    """Return where what is logged."""
    if log is None:
        return {}
    folders = {"decisions": log, "events": log / "events"}
    return folders if shadow is None else folders | {"shadow": log / "shadow"}


class _Cap(NamedTuple):
    """Requests per second, and those that the dearest arm makes at once."""

    rates: Rates
    dearest: float


def _cap(qps: str | float, bundle: Path) -> _Cap:
    manifest = read_manifest(bundle)  # whole, and as it was written
    with readable(bundle):
        dearest = max(LogSchema.from_dict(manifest["schema"]).arm_cost)
        if qps == "plan":
            return _Cap(Rates.of_plan(bundle / "plan.json"), dearest)
    return _Cap(Rates.parse(qps) if isinstance(qps, str) else Rates.of(qps), dearest)


def _priced(bundle: Path, cap: _Cap) -> tuple[list[float], Rates, float]:
    """Return the plan's prices, the rates to meet, and the length of the prices' windows."""
    with readable(bundle):
        plan = json.loads((bundle / "plan.json").read_text())
        seconds = plan["window_seconds"]
    return plan["price"], cap.rates, math.inf if seconds is None else seconds


def _quota(cap: _Cap | None, redis: str | None, instances: int) -> Bucket | None:
    """Return the cap: of this process, or of all that share it."""
    if cap is None:
        if redis is not None:
            raise InputError("a shared quota needs a rate; give --qps, that of all instances.")
        return None
    if redis is None:
        return TokenBucket(cap.rates, clock=steady_clock(), dearest=cap.dearest)
    return SharedQuota(redis, cap.rates, instances, dearest=cap.dearest)
