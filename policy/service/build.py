"""A service from what the command line says."""

from pathlib import Path
from typing import TypeAlias

from policy.decision_log.archiver import Archiver
from policy.decision_log.writer import DecisionLog
from policy.engine import DecisionEngine, steady_clock
from policy.manifest import read_manifest, readable
from policy.names import Fsync
from policy.quota import SharedQuota
from policy.rates import Rates
from policy.service.app import Service, Settings
from policy.token_bucket import TokenBucket
from uplift.errors import InputError

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
    shadow : bundle that decides and is logged, but does not act
    admin_token, admin_anywhere : see `Settings`

    Raises
    ------
    InputError
        A bundle, a folder or a number is not what it should be.
    """
    quota = _quota(None if qps is None else _rates(qps, bundle), redis, instances)
    archiver = None if log is None else Archiver()
    folders = _folders(log, shadow)
    size = int(segment_mb * (1 << 20))
    logs = {
        name: DecisionLog(folder, fsync=fsync, segment_bytes=size, sealed=archiver)
        for name, folder in folders.items()
    }

    def load(path: Path) -> DecisionEngine:
        rates = None if qps is None else _rates(qps, path)
        engine = DecisionEngine.load(path, explore=explore, quota=quota, log=logs.get("decisions"))
        if quota is not None and rates is not None:
            quota.set_rate(rates)
        return engine

    return Service(
        load,
        bundle,
        Settings(admin_token=admin_token, admin_anywhere=admin_anywhere),
        shadow=None if shadow is None else DecisionEngine.load(shadow, log=logs.get("shadow")),
        logs=logs,
        archiver=archiver,
        quota=quota if isinstance(quota, SharedQuota) else None,
    )


def _folders(log: Path | None, shadow: Path | None) -> dict[str, Path]:
    """Return where what is logged."""
    if log is None:
        return {}
    folders = {"decisions": log, "events": log / "events"}
    return folders if shadow is None else folders | {"shadow": log / "shadow"}


def _rates(qps: str | float, bundle: Path) -> Rates:
    if qps == "plan":
        read_manifest(bundle)  # whole, and as it was written
        with readable(bundle):
            return Rates.of_plan(bundle / "plan.json")
    return Rates.parse(qps) if isinstance(qps, str) else Rates.of(qps)


def _quota(rates: Rates | None, redis: str | None, instances: int) -> Bucket | None:
    """Return the cap: of this process, or of all that share it."""
    if rates is None:
        if redis is not None:
            raise InputError("a shared quota needs a rate; give --qps, that of all instances.")
        return None
    if redis is None:
        return TokenBucket(rates, clock=steady_clock())
    return SharedQuota(redis, rates, instances)
