"""The gate: may this plan replace the incumbent? A verdict with its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from offline_eval.assessment import Assessment
from policy.spend import PlanSpend, WindowSpend
from uplift.clusters import Estimate
from uplift.errors import InputError
from uplift.plain import to_plain
from uplift.randomisation import Check

__all__ = ["INCUMBENT", "Gate", "GateRules", "gate"]

#: What a bundle's plan is called among the policies that a plan is assessed beside.
INCUMBENT = "incumbent"


@dataclass(frozen=True)
class GateRules:
    """What a plan must show before it is published.

    Parameters
    ----------
    incumbent : the policy that it must beat, one of those that it is assessed beside
    margin : outcome per decision point by which the lower bound of the paired difference must
        exceed 0
    overspend : share by which the spend may exceed the budget; pacing takes off what is above
    peak : share by which a single window may exceed its own capacity. Its price rests on few
        sessions of the planned log; pacing corrects it, but not at once
    confidence : probability that the spend stays within that, at least
    bundle : the bundle whose plan it must beat instead. Users that the bundle's model was fitted
        on make the incumbent look better than it is: errors are to its side

    Raises
    ------
    InputError
        A number is outside its range.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    incumbent: str = "never"
    margin: float = 0.0
    overspend: float = 0.1
    peak: float = 0.5
    confidence: float = 0.9
    bundle: Path | None = None

    @property
    def rival(self) -> str:
        """What the incumbent is called where the plan is assessed."""
        return self.incumbent if self.bundle is None else INCUMBENT

    def __post_init__(self) -> None:
        if self.bundle is not None and self.incumbent != "never":
            raise InputError(
                f"gate: incumbent is {self.incumbent!r} and bundle is '{self.bundle}'; expected "
                "one of them, leave the other out."
            )
        shares = self.overspend >= 0 and self.peak >= 0 and 0 < self.confidence < 1
        if not (np.isfinite(self.margin) and shares):
            raise InputError(
                f"gate: margin is {self.margin}, overspend {self.overspend}, peak {self.peak}, "
                f"confidence {self.confidence}; expected a number, twice 0 or more, and a number "
                "in (0, 1)."
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
    requests, budget, over : requests per decision point where they are scarce, what there may be
        with the overspend allowed, and the probability that the mean exceeds that
    window : a window that is shown to exceed its own capacity; absent where there is none
    """

    verdict: Literal["published", "held"]
    reasons: tuple[str, ...]
    incumbent: str
    margin: float
    advantage: Estimate | None
    requests: Estimate
    budget: float
    over: float
    window: WindowSpend | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as report.json and evidence.json have them."""
        table: dict[str, Any] = to_plain(self)
        return table


def gate(
    assessment: Assessment,
    spend: PlanSpend,
    checks: Sequence[Check],
    rules: GateRules | None = None,
) -> Gate:
    """Judge whether a plan may be published.

    Only if the lower bound of its paired difference to the incumbent is above the margin, its spend
    stays within the budget with the confidence asked, no window is shown to be above its own
    capacity, and no diagnostic doubts the answer.

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
    if rules.rival not in rivals:
        raise InputError(f"gate: incumbent {rules.rival!r} is not assessed; it has {rivals}.")
    advantage = assessment.advantages.get(rules.rival)
    reasons = (
        *_doubts(assessment, plan, rules.rival, checks),
        *_too_little(advantage, rules),
        *_too_dear(spend, rules),
    )
    return Gate(
        "held" if reasons else "published",
        reasons,
        rules.rival,
        rules.margin,
        advantage,
        spend.scarce.requests,
        spend.scarce.budget,
        spend.scarce.over,
        spend.worst(rules.confidence),
    )


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
        return [f"The gain over {rules.rival} is not known."]
    if advantage.lower > rules.margin:
        return []
    return [
        f"The gain over {rules.rival} may be as low as {advantage.lower:.3g} per decision "
        f"point (more than {rules.margin:g} is asked)."
    ]


def _too_dear(spend: PlanSpend, rules: GateRules) -> list[str]:
    found, allowed, all_of_it = [], 1 - rules.confidence, spend.scarce
    if not all_of_it.over <= allowed + 1e-12:
        found.append(
            f"Spend of {all_of_it.requests.value:.4g} requests per decision point exceeds "
            f"{all_of_it.budget:.4g}, the budget and {rules.overspend:.0%}, with probability "
            f"{all_of_it.over:.0%} (at most {allowed:.0%} is allowed)."
        )
    if (worst := spend.worst(rules.confidence)) is not None:
        found.append(
            f"The window from {_clock(worst.start)} UTC spends {worst.requests.value:.4g} requests "
            f"per decision point; its capacity and {rules.peak:.0%} are {worst.budget:.4g}."
        )
    return found


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
