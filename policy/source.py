"""The log that a job is about: simulated, a public trial, or Parquet; or one day of it."""

from pathlib import Path

import numpy as np

from policy.job import LogSource
from policy.progress import Stages
from uplift.datasets import DATASETS
from uplift.errors import InputError
from uplift.log import RequestLog

__all__ = ["read_source"]

#: Stands for the day in the path of a log that comes in one file, or folder, a day.
_DAY = "{day}"


def read_source(source: LogSource, seed: int, stages: Stages) -> RequestLog:
    """Read, or simulate, the log of a job; of the day alone, where it names one.

    Raises
    ------
    InputError
        The log cannot be read, or has no rows of the day.
    """
    whole = _read(source, seed, stages)
    named = source.path is not None and _DAY in str(source.path)
    return whole if source.day is None or named else _of_day(whole, source)


def _read(source: LogSource, seed: int, stages: Stages) -> RequestLog:
    if source.path is None:
        from offline_eval.feed import simulate

        with stages.stage("simulate") as step:
            return simulate(
                source.sessions, seed=seed, rate=source.rate, days=source.days, progress=step
            )
    path = _path(source, source.path)
    with stages.stage("read") as step:
        if source.dataset is None:
            return RequestLog.read(path, str(source.schema), progress=step)
        if source.dataset not in DATASETS:
            raise InputError(
                f"dataset {source.dataset!r} is unknown; choose among {list(DATASETS)}."
            )
        read = DATASETS[source.dataset]
        return read(path, source.outcome) if source.outcome else read(path)


def _path(source: LogSource, path: Path) -> Path:
    if _DAY not in str(path):
        return path
    if source.day is None:
        raise InputError(f"job: the path '{path}' asks for a day; name one with --day 2026-01-31.")
    return Path(str(path).replace(_DAY, source.day.isoformat()))


def _of_day(log: RequestLog, source: LogSource) -> RequestLog:
    if "timestamp" not in log.frame:
        raise InputError("a day was named, but the log has no column 'timestamp'; leave it out.")
    days = log.frame["timestamp"].to_numpy(dtype="datetime64[D]")
    chosen = days == np.datetime64(str(source.day), "D")
    if not chosen.any():
        raise InputError(
            f"the log has no rows of {source.day}; it goes from {days.min()} to {days.max()} (UTC)."
        )
    return log.take(chosen)
