"""The gate: may this plan replace the incumbent? A verdict with its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from offline_eval.assessment import Assessment
from offline_eval.costs import Spend, spend_of
from policy.plan import RequestPlan
from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.plain import to_plain
from uplift.randomisation import Check

__all__ = ["Gate", "GateRules", "budget_per_point", "gate", "plan_spend"]


@dataclass(frozen=True)
class GateRules:
    """What a plan must show before it is published.

    Parameters
    ----------
    incumbent : the policy that it must beat, one of those that it is assessed beside
    margin : outcome per decision point by which the lower bound of the paired difference must
        exceed 0
    overspend : share by which the spend may exceed the budget; pacing takes off what is above
    confidence : probability that the spend stays within that, at least

    Raises
    ------
    InputError
        A number is outside its range.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    incumbent: str = "never"
    margin: float = 0.0
    overspend: float = 0.1
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if not (np.isfinite(self.margin) and self.overspend >= 0 and 0 < self.confidence < 1):
            raise InputError(
                f"gate: margin is {self.margin}, overspend {self.overspend}, confidence "
                f"{self.confidence}; expected a number, 0 or more, and a number in (0, 1)."
            )


@dataclass(frozen=True)
class Gate:
    """The verdict on a plan.

    Attributes
    ----------
    verdict : ``published`` or ``held``
    reasons : one sentence for each thing that holds it; none where it is published
    incumbent, margin : of the rules
    advantage : the plan's gain over the incumbent, paired on the same users; absent where either is
        refused
    requests, budget, over : requests per decision point, what there may be with the overspend
        allowed, and the probability that the mean exceeds that
    """

    verdict: Literal["published", "held"]
    reasons: tuple[str, ...]
    incumbent: str
    margin: float
    advantage: Estimate | None
    requests: Estimate
    budget: float
    over: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as report.json and evidence.json have them."""
        table: dict[str, Any] = to_plain(self)
        return table


def gate(
    assessment: Assessment, spend: Spend, checks: Sequence[Check], rules: GateRules | None = None
) -> Gate:
    """Judge whether a plan may be published.

    Only if the lower bound of its paired difference to the incumbent is above the margin, its spend
    stays within the budget with the confidence asked, and no diagnostic doubts the answer.

    Parameters
    ----------
    assessment : the plan beside its rivals, on a log that it was not made with
    spend : what it spends there, against the budget (`plan_spend`)
    checks : judgements of the log (`check_randomisation`, `check_drift`)
    rules : what it must show

    Raises
    ------
    InputError
        The plan was not assessed beside the incumbent.
    """
    rules = rules or GateRules()
    plan = next(iter(assessment.evaluations))
    rivals = [name for name in assessment.evaluations if name != plan]
    if rules.incumbent not in rivals:
        raise InputError(f"gate: incumbent {rules.incumbent!r} is not assessed; it has {rivals}.")
    advantage = assessment.advantages.get(rules.incumbent)
    reasons = (
        *_doubts(assessment, plan, rules.incumbent, checks),
        *_too_little(advantage, rules),
        *_too_dear(spend, rules),
    )
    return Gate(
        "held" if reasons else "published",
        reasons,
        rules.incumbent,
        rules.margin,
        advantage,
        spend.requests,
        spend.budget,
        spend.over,
    )


def plan_spend(plan: RequestPlan, log: RequestLog, pi: FloatArray, overspend: float) -> Spend:
    """Judge what a plan's rule spends on a log against the plan's budget and an overspend.

    Parameters
    ----------
    plan : with its budget
    log, pi : the log, and the rule's probabilities on it
    overspend : share of the budget that may be spent beyond it
    """
    spent = pi @ np.asarray(log.schema.arm_cost)
    return spend_of(spent, log.cluster, (1 + overspend) * budget_per_point(plan))


def budget_per_point(plan: RequestPlan) -> float:
    """Return the requests that a plan may spend per decision point of the log it was planned on."""
    budget, windows = plan.budget, float(plan.capacity.sum())
    if budget.kind == "share":
        return budget.amount
    if budget.kind == "requests":
        return min(budget.amount * budget.traffic_share, windows) / plan.decision_points
    return windows / plan.decision_points


def _doubts(
    assessment: Assessment, plan: str, incumbent: str, checks: Sequence[Check]
) -> list[str]:
    found = [c.sentence for c in checks if c.verdict != "sound"]
    of_plan = assessment.evaluations[plan].diagnostics
    of_incumbent = assessment.evaluations[incumbent].diagnostics
    for name, diagnostics in ((plan, of_plan), (incumbent, of_incumbent)):
        if diagnostics.verdict != "sound":
            found += [f"{name} is {diagnostics.verdict}: {r}" for r in diagnostics.reasons]
    return found


def _too_little(advantage: Estimate | None, rules: GateRules) -> list[str]:
    if advantage is None:
        return [f"The gain over {rules.incumbent} is not known."]
    if advantage.lower > rules.margin:
        return []
    return [
        f"The gain over {rules.incumbent} may be as low as {advantage.lower:.3g} per decision "
        f"point (more than {rules.margin:g} is asked)."
    ]


def _too_dear(spend: Spend, rules: GateRules) -> list[str]:
    allowed = 1 - rules.confidence
    if spend.over <= allowed + 1e-12:
        return []
    return [
        f"Spend of {spend.requests.value:.4g} requests per decision point exceeds "
        f"{spend.budget:.4g}, the budget and {rules.overspend:.0%}, with probability "
        f"{spend.over:.0%} (at most {allowed:.0%} is allowed)."
    ]
