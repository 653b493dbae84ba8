"""What a plan's rule spends on a log, against what the plan may spend, window by window."""

from dataclasses import dataclass

import numpy as np

from offline_eval.costs import Spend, spend_of
from policy.plan import RequestPlan
from uplift.arrays import BoolArray, FloatArray
from uplift.log import RequestLog

__all__ = ["PlanSpend", "WindowSpend", "plan_spend"]


@dataclass(frozen=True)
class WindowSpend(Spend):
    """Spend of one window, per decision point of the whole log.

    Attributes
    ----------
    start : of the window, seconds after midnight UTC
    """

    start: float


@dataclass(frozen=True)
class PlanSpend:
    """Spend of a plan's rule on a log.

    Attributes
    ----------
    scarce : spend of all windows where requests have a price against what these may spend: what a
        quiet night does not use serves no request at noon
    windows : each window's own spend where the rule spends; none where the budget has no windows
    """

    scarce: Spend
    windows: tuple[WindowSpend, ...] = ()

    def worst(self, confidence: float) -> WindowSpend | None:
        """Return the window that is shown to be above its capacity; none where there is none.

        The surest one, if its probability to be within is at most ``(1 - confidence) / W``: such a
        window is found by chance in at most a share ``1 - confidence`` of logs.
        """
        surest = max(self.windows, key=lambda window: window.over, default=None)
        if surest is None or 1 - surest.over > (1 - confidence) / len(self.windows):
            return None
        return surest


def plan_spend(
    plan: RequestPlan, log: RequestLog, pi: FloatArray, overspend: float, peak: float
) -> PlanSpend:
    """Judge what a plan's rule spends on a log against the plan's budget and an overspend.

    All is counted per decision point, so the log may be larger or smaller than the planned one; its
    traffic must be spread over the day alike.

    Parameters
    ----------
    plan : with its budget and capacities
    log, pi : the log, and the rule's probabilities on it
    overspend : share of the budget that may be spent beyond it
    peak : share of its own capacity that a single window may spend beyond it
    """
    spent, allowed = pi @ np.asarray(log.schema.arm_cost), 1 + overspend
    if plan.budget.kind in ("requests", "share"):
        return PlanSpend(spend_of(spent, log.cluster, allowed * _total(plan)))
    window, capacity = log.windows(plan.window_seconds).index, plan.capacity / plan.decision_points
    scarce = _scarce(plan)
    inside = np.where(scarce[window], spent, 0.0)
    within = spend_of(inside, log.cluster, allowed * float(capacity[scarce].sum()))
    seen = np.flatnonzero(np.bincount(window, spent, len(capacity)) > 0)
    alone = [
        spend_of(np.where(window == w, spent, 0.0), log.cluster, (1 + peak) * float(capacity[w]))
        for w in seen
    ]
    starts = plan.window_start[seen]
    windows = (WindowSpend(**vars(s), start=float(t)) for s, t in zip(alone, starts, strict=True))
    return PlanSpend(within, tuple(windows))


def _total(plan: RequestPlan) -> float:
    """Return the requests per decision point that a budget without windows allows."""
    if plan.budget.kind == "share":
        return plan.budget.amount
    return plan.budget.amount * plan.budget.traffic_share / plan.decision_points


def _scarce(plan: RequestPlan) -> BoolArray:
    """Return the windows whose capacity binds, by price and spend; all where there are none."""
    scarce = (plan.price > 0) & (plan.rule_spend > 0)
    return scarce if scarce.any() else np.ones_like(scarce)
