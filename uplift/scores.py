"""Scores: what a model expects of every arm at every decision point of a log."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.parquet import read_frame, write_frame
from uplift.schema import LogSchema

__all__ = ["Scores"]


@dataclass(frozen=True)
class Scores:
    """Expected outcomes of n decision points.

    Attributes
    ----------
    log : key columns of the decision points (session, user, time, place, truth if simulated)
    outcome : (n, A + 1) expected primary outcome under each arm
    """

    log: RequestLog
    outcome: FloatArray

    @property
    def uplift(self) -> FloatArray:
        """(n, A) expected outcome under each arm minus under arm 0."""
        return self.outcome[:, 1:] - self.outcome[:, :1]

    def columns(self) -> dict[str, FloatArray]:
        """Return ``outcome_<arm>`` and ``uplift_<arm>`` by name, each (n,)."""
        arms, uplift = self.log.schema.arms, self.uplift
        outcome = {f"outcome_{arm}": self.outcome[:, i] for i, arm in enumerate(arms)}
        return outcome | {f"uplift_{arm}": uplift[:, i] for i, arm in enumerate(arms[1:])}

    def write(self, path: str | Path) -> None:
        """Write keys, ``outcome_<arm>`` and ``uplift_<arm>`` as Parquet."""
        frame = self.log.frame.copy(deep=False)
        for name, values in self.columns().items():
            frame[name] = values
        write_frame(frame, path)

    @classmethod
    def read(cls, path: str | Path, schema: LogSchema) -> "Scores":
        """Read scores written by `write`, under the schema of their model."""
        frame = read_frame(path)
        columns = [f"outcome_{arm}" for arm in schema.arms]
        missing = [c for c in columns if c not in frame]
        if missing:
            raise InputError(
                f"{str(path)!r} has no column {missing[0]!r}; write scores with "
                "`request-uplift score` and the same model."
            )
        if len(frame) == 0:
            raise InputError(f"{str(path)!r} holds no rows; score a log that does.")
        for column in columns:
            if frame[column].dtype.kind not in "iuf":
                raise InputError(f"{str(path)!r}: column {column!r} is no number; score it anew.")
        outcome = frame[columns].to_numpy(dtype=np.float64)
        if not np.isfinite(outcome).all():
            raise InputError(f"{str(path)!r} holds outcomes that are not finite; score it anew.")
        return cls(RequestLog.unchecked(frame, schema).keys(), outcome)
