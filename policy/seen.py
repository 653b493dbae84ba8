"""Which logs a bundle has learned from, so that no day counts twice."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from uplift.errors import InputError
from uplift.log import RequestLog

__all__ = ["SeenLog", "is_seen"]


@dataclass(frozen=True)
class SeenLog:
    """A log by its digest and its time.

    Attributes
    ----------
    rows : number of decision points
    digest : of all columns, whatever the order of rows
    first, last : moments of the first and of the last row (UTC), where the log has time
    """

    rows: int
    digest: str
    first: str | None = None
    last: str | None = None

    @classmethod
    def of(cls, log: RequestLog) -> "SeenLog":
        """Look at a log."""
        if "timestamp" not in log.frame:
            return cls(len(log), _digest(log.frame))
        time = log.frame["timestamp"].to_numpy(dtype="datetime64[us]")
        return cls(len(log), _digest(log.frame), str(time.min()), str(time.max()))

    @classmethod
    def all_of(cls, evidence: Mapping[str, Any]) -> tuple["SeenLog", ...]:
        """Return the logs that a bundle's evidence tells of, in the order of learning."""
        return tuple(cls(**table) for table in evidence.get("logs", ()))


def is_seen(log: SeenLog, before: Sequence[SeenLog]) -> bool:
    """Tell whether a log is one of those learned from.

    Raises
    ------
    InputError
        It is another one, but not later than all of them: rows of it may be in them.
    """
    if any(log.digest == other.digest for other in before):
        return True
    for other in before:
        if log.first and other.last and log.first <= other.last:
            raise InputError(
                f"the log begins at {log.first}, but the bundle has learned from one that lasts "
                f"until {other.last} (UTC); give later rows alone, or `run` anew on all of them."
            )
    return False


def _digest(frame: pd.DataFrame) -> str:
    """Hash the rows one by one and add the hashes up: the order of rows means nothing."""
    columns = frame[sorted(frame.columns, key=str)]
    rows = pd.util.hash_pandas_object(columns, index=False).to_numpy(dtype=np.uint64)
    total = np.array([rows.sum(dtype=np.uint64), np.bitwise_xor.reduce(rows)])
    names = "\0".join(map(str, columns.columns))
    return hashlib.sha256(names.encode() + total.tobytes()).hexdigest()[:16]
