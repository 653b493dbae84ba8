"""What a plan is held against: other gains at its spend, and its own rule at other prices."""

from collections.abc import Callable

import numpy as np

from policy.budget import Budget
from policy.plan import RequestPlan, plan_requests
from policy.rule import PriceRule
from uplift.arrays import FloatArray
from uplift.log import RequestLog
from uplift.model import UpliftModel
from uplift.scores import Scores

__all__ = ["Gain", "price_family", "purchase_probability", "rival_plan"]

Gain = Callable[[RequestLog], FloatArray]

#: Shares of decision points whose gain is above the prices that trace the frontier.
FAMILY_SHARES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.17, 0.25, 0.4, 0.6, 1.0)


def purchase_probability(model: UpliftModel, arm: int) -> Gain:
    """Rank by the outcome without request, and give the arm that does best on average."""

    def gain(log: RequestLog) -> FloatArray:
        outcome = model.predict_outcome(log)
        result = np.full((len(log), outcome.shape[1] - 1), -1.0 - np.abs(outcome).max())
        result[:, arm] = outcome[:, 0]
        return result

    return gain


def rival_plan(plan: RequestPlan, scores: Scores, gain: FloatArray) -> RequestPlan:
    """Plan for other gains under the same limits, and the same budget where it can be known.

    A log of another length than the planned one gets as many requests per decision point.
    """
    spent = max(plan.spend.sum() / plan.decision_points, 1e-9)
    same_log = len(scores.log) == plan.decision_points
    budget = plan.budget if same_log else Budget.share(spent)
    seconds = plan.window_seconds
    return plan_requests(scores, budget, plan.limits, window_seconds=seconds, gain=gain)


def price_family(plan: RequestPlan, gain: Gain, name: str, log: RequestLog) -> list[PriceRule]:
    """Return rules at one price in all windows each, from dear to cheap."""
    per_request = plan.rule(gain, name).gain(log) / np.asarray(log.schema.arm_cost[1:])
    prices = np.quantile(per_request.max(axis=1), [1 - s for s in FAMILY_SHARES])
    return [plan.at_price(p).rule(gain, name) for p in np.unique(prices)]
