"""Does a score rank decision points by their gain? Curves of the gain along a ranking.

A curve is a ranking with what it has cumulated so far: mass, effect and cost. A log is summed once
into a `CurveState`, for itself and for its half samples; every curve is read off that state, states
of shards add, and two curves of the same rows subtract.
"""

from uplift.curves.cost import CostCurve, cost_curve
from uplift.curves.multi_arm import (
    MultiArmCurve,
    budget_ratio,
    multi_arm_curve,
    multi_arm_cuts,
    multi_arm_state,
)
from uplift.curves.qini import QiniCurve, qini_curve
from uplift.curves.ranking import ranking_cuts
from uplift.curves.state import CurveState
from uplift.curves.toc import TocCurve, toc_curve

__all__ = [
    "CostCurve",
    "CurveState",
    "MultiArmCurve",
    "QiniCurve",
    "TocCurve",
    "budget_ratio",
    "cost_curve",
    "multi_arm_curve",
    "multi_arm_cuts",
    "multi_arm_state",
    "qini_curve",
    "ranking_cuts",
    "toc_curve",
]
