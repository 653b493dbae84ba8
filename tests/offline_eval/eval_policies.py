"""Policies and logs that the tests of off-policy evaluation share."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from offline_eval.policies import Moment
from uplift.log import RequestLog
from uplift.schema import LogSchema

SCHEMA = LogSchema(("none", "request"), (0.0, 1.0), ("y",), "y", ("f_*",), page_length=20)


def handmade(**columns: object) -> RequestLog:
    """Return a log of some columns; arm, propensity, y and f_x have defaults."""
    n = len(next(iter(columns.values())))
    given = {"arm": 0, "propensity": 0.5, "y": 0.0, "f_x": 0.0} | columns
    return RequestLog.unchecked(pd.DataFrame(given, index=range(n)), SCHEMA)


@dataclass(frozen=True)
class Threshold:
    """Request where a column exceeds a level, within the limits of a session."""

    column: str
    level: float = 0.0
    per_session: int = 10**6
    per_page: int = 10**6
    min_gap: int = 0
    name: str = "threshold"

    @property
    def has_memory(self) -> bool:
        return (self.per_session, self.per_page, self.min_gap) != (10**6, 10**6, 0)

    def prepare(self, log: RequestLog) -> np.ndarray:
        return log.frame[self.column].to_numpy(dtype=np.float64) > self.level

    def probabilities(self, prepared: np.ndarray, moment: Moment) -> np.ndarray:
        asks = prepared.copy()
        if self.has_memory:
            asks &= moment.requests < self.per_session
            asks &= moment.requests_on_page < self.per_page
            asks &= moment.slots_since >= self.min_gap
        return np.stack([~asks, asks], axis=1).astype(np.float64)
