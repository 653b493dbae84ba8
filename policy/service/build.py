"""A service from what the command line says."""

from functools import partial
from pathlib import Path

from policy.decision_log.writer import DecisionLog
from policy.engine import DecisionEngine
from policy.names import Fsync
from policy.service.app import Service, Settings
from policy.token_bucket import TokenBucket

__all__ = ["build_service"]

BURST_SECONDS = 0.1


def build_service(
    bundle: Path,
    *,
    log: Path | None = None,
    fsync: Fsync = "interval",
    explore: float = 0.0,
    qps: float | None = None,
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
    explore : share of decisions taken at random
    qps : most extra requests per second
    shadow : bundle that decides and is logged, but does not act
    admin_token, admin_anywhere : see `Settings`

    Raises
    ------
    InputError
        A bundle, a folder or a number is not what it should be.
    """
    burst = None if qps is None else max(1.0, BURST_SECONDS * qps)
    quota = None if qps is None or burst is None else TokenBucket(qps, burst)
    beside = None
    if shadow is not None:
        of_shadow = None if log is None else DecisionLog(log / "shadow", fsync=fsync)
        beside = DecisionEngine.load(shadow, explore=0.0, log=of_shadow)
    decisions = None if log is None else DecisionLog(log, fsync=fsync)
    load = partial(DecisionEngine.load, explore=explore, quota=quota, log=decisions)
    return Service(
        load,
        bundle,
        Settings(admin_token=admin_token, admin_anywhere=admin_anywhere),
        shadow=beside,
        log=decisions,
        events=None if log is None else DecisionLog(log / "events", fsync=fsync),
    )
