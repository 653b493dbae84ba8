"""Drift: whether the rows that judge a policy are like those that it was made on."""

import numpy as np
import pandas as pd

from uplift.log import RequestLog
from uplift.randomisation import Check
from uplift.told_apart import MOST_ROWS, told_apart

__all__ = ["check_drift"]

#: Train and test are told apart when the AUC is above 1/2 by this and by 4 standard errors.
DRIFT_AUC = 0.02
#: From here on they are two different worlds.
REFUSED_DRIFT_AUC = 0.75


def check_drift(train: RequestLog, test: RequestLog, seed: int = 0) -> Check:
    """Judge whether features tell the rows that a model saw from those that judge it.

    A classifier's held-out AUC is 1/2 where both are of one population. Drift biases no estimate
    on the test log; it says that the model was made for others, and that tomorrow may differ too.

    Parameters
    ----------
    train, test : logs of one schema; at most 100,000 rows of each are looked at
    seed : of the rows taken, and of the classifier's halves
    """
    train, test = _some(train, seed), _some(test, seed + 1)
    frame = pd.concat([train.frame, test.frame], ignore_index=True)
    label = np.arange(len(frame)) >= len(train)
    both = RequestLog.unchecked(frame, test.schema)
    weight = np.where(label, 0.5 / len(test), 0.5 / len(train)) * len(frame)
    auc, error = told_apart(both, label, weight, seed)
    if auc - 0.5 < max(DRIFT_AUC, 4 * error):
        return Check("drift", "sound", f"Train and test look alike (AUC {auc:.3f}).")
    return Check(
        "drift",
        "refused" if auc > REFUSED_DRIFT_AUC else "doubtful",
        f"Features tell train from test (AUC {auc:.3f} +- {error:.3f}, expected 0.5): traffic or "
        "features changed between them.",
    )


def _some(log: RequestLog, seed: int) -> RequestLog:
    """Return so many rows that both sides together are not thinned again."""
    if len(log) <= MOST_ROWS // 2:
        return log
    return log.take(np.random.default_rng(seed).choice(len(log), MOST_ROWS // 2, replace=False))
