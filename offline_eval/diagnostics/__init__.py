"""Can this log answer for that policy? Judged, with a refusal where it cannot.

Each finding has its threshold beside it, a verdict (sound, doubtful, refused) and a sentence for
the reader. What concerns the log alone (sample ratios, calibration of propensities, features that
tell the arm apart) is `uplift.check_randomisation`.
"""

from offline_eval.diagnostics.changes import Change, changes, check_changes
from offline_eval.diagnostics.drift import check_drift
from offline_eval.diagnostics.profile import LogProfile
from offline_eval.diagnostics.support import check_support
from offline_eval.diagnostics.weights import (
    REFUSED_N_EFFECTIVE,
    Diagnostics,
    diagnose,
    tail_index,
)

__all__ = [
    "REFUSED_N_EFFECTIVE",
    "Change",
    "Diagnostics",
    "LogProfile",
    "changes",
    "check_changes",
    "check_drift",
    "check_support",
    "diagnose",
    "tail_index",
]
