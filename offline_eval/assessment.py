"""One plan before the court: its value beside the baselines, frontiers, savings, purchase rates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from offline_eval.evaluation import Evaluation, evaluate, gain_rows
from offline_eval.frontier import Frontier, Saving, frontier
from offline_eval.policies import Always, Fixed, Never, Policy, Random, walk
from offline_eval.rates import PurchaseRate, purchase_rates
from uplift.arrays import FloatArray
from uplift.clusters import Estimate, ratio_estimate
from uplift.log import RequestLog
from uplift.plain import to_plain
from uplift.schema import LogSchema

__all__ = ["Assessment", "assess", "baselines"]


@dataclass(frozen=True)
class Assessment:
    """What is known of a plan from a randomised log that it was not made with.

    Attributes
    ----------
    evaluations : by policy name, the plan first
    advantages : the plan's gain over each other policy, paired on the same users
    truth : mean outcome of each policy by the log's ``true_*`` columns, where it is simulated
    frontiers : the plan's family first, then its rivals'; none where the plan is refused
    savings : requests saved at equal effect, by reference; absent where the plan or the reference
        is refused, or the reference's gain is not distinguishable from 0: there is no effect to
        equal
    rates : the purchase-rate table of the plan; empty where it is refused
    """

    evaluations: dict[str, Evaluation]
    advantages: dict[str, Estimate]
    truth: dict[str, float]
    frontiers: list[Frontier]
    savings: dict[str, Saving]
    rates: list[PurchaseRate]

    def to_dict(self) -> dict[str, Any]:
        """Return the parts of report.json that speak of value, under their stable names."""
        return {
            "value": {name: self._value(name) for name in self.evaluations},
            "saving_at_equal_effect": {
                f"against_{name}": to_plain(saving) for name, saving in self.savings.items()
            },
            "purchase_rates": to_plain(self.rates),
            "frontier": to_plain(self.frontiers),
        }

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the numbers."""
        return [
            f"{name}: {reason}"
            for name, evaluation in self.evaluations.items()
            for reason in evaluation.diagnostics.reasons
        ]

    def _value(self, name: str) -> dict[str, Any]:
        evaluation = self.evaluations[name]
        table: dict[str, Any] = to_plain(evaluation.value)
        for key in ("gain", "requests", "gain_per_request"):
            if getattr(evaluation, key) is not None:
                table[key] = to_plain(getattr(evaluation, key))
        if name in self.advantages:
            table["plan_advantage"] = to_plain(self.advantages[name])
        if name in self.truth:
            table["true"] = self.truth[name]
        diagnostics = evaluation.diagnostics
        if name == next(iter(self.evaluations)):
            table["weights"] = to_plain(diagnostics.histogram)
        return table | {
            "n_effective": diagnostics.n_effective,
            "verdict": diagnostics.verdict,
            "reasons": list(diagnostics.reasons),
        }


def baselines(schema: LogSchema, share: float, position: int | None) -> list[Policy]:
    """Return never, always, random at a share and, where pages have positions, fixed insertion."""
    arms = range(1, schema.n_arms + 1)
    each = [Always(arm=a, name=f"always_{schema.arms[a]}") for a in arms]
    policies: list[Policy] = [Never()]
    policies.extend([Always()] if len(each) == 1 else each)
    policies.append(Random(min(share, 1.0)))
    if position is not None:
        policies.append(Fixed(position=position))
    return policies


def assess(
    log: RequestLog,
    plan: Policy,
    *,
    rivals: Sequence[Policy],
    families: Mapping[str, Sequence[Policy]],
    outcome: FloatArray,
    fixed_position: int = 25,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Assessment:
    """Judge a plan on a randomised log that neither it nor its model was made with.

    Parameters
    ----------
    log : the test log
    plan : the policy that is judged
    rivals : policies to stand beside it and the baselines
    families : policies at many prices by family name, the plan's own family first
    outcome : (n, A + 1) modelled outcome under each arm
    fixed_position : where the fixed baseline puts its one request a page
    seed : of the bootstrap, and of a policy that draws
    progress : called with (steps done, steps in all)
    """
    walked = {plan.name: walk(plan, log, seed)}
    spent = float((walked[plan.name] @ np.asarray(log.schema.arm_cost)).mean())
    share = spent / float(np.mean(log.schema.arm_cost[1:]))
    position = fixed_position if np.ptp(log.slot) > 0 else None
    policies = [plan, *baselines(log.schema, share, position), *rivals]
    total, done = len(policies) + sum(map(len, families.values())), 1
    for policy in policies[1:]:
        walked[policy.name] = walk(policy, log, seed)
        done += 1
        if progress is not None:
            progress(done, total)
    evaluations = {
        policy.name: evaluate(log, policy, outcome=outcome, probabilities=walked[policy.name])
        for policy in policies
    }
    answered = evaluations[plan.name].diagnostics.verdict != "refused"
    frontiers = []
    for name, family in families.items() if answered else ():
        frontiers.append(frontier(log, family, name=name, outcome=outcome, seed=seed))
        done += len(family)
        if progress is not None:
            progress(done, total)
    references = [p for p in policies if p.name in ("fixed", "random")]
    savings = {
        p.name: frontiers[0].saving(p, seed=seed)
        for p in references
        if frontiers and evaluations[plan.name].gain is not None and _gains(evaluations[p.name])
    }
    return Assessment(
        evaluations,
        _advantages(log, evaluations, walked, outcome),
        _truths(log, walked),
        frontiers,
        savings,
        purchase_rates(log, walked[plan.name]) if answered else [],
    )


def _gains(evaluation: Evaluation) -> bool:
    return evaluation.gain is not None and evaluation.gain.lower > 0


def _advantages(
    log: RequestLog,
    evaluations: Mapping[str, Evaluation],
    walked: Mapping[str, FloatArray],
    outcome: FloatArray,
) -> dict[str, Estimate]:
    """Return the first policy's gain over each other, where neither is refused."""
    sound = [n for n, e in evaluations.items() if e.diagnostics.verdict != "refused"]
    first = next(iter(evaluations))
    if first not in sound:
        return {}
    gained, ones = gain_rows(log, walked[first], outcome), np.ones(len(log))
    return {
        name: ratio_estimate(gained - gain_rows(log, walked[name], outcome), ones, log.cluster)
        for name in sound
        if name != first
    }


def _truths(log: RequestLog, walked: Mapping[str, FloatArray]) -> dict[str, float]:
    columns = [f"true_{log.schema.primary}_{a}" for a in range(log.schema.n_arms + 1)]
    if any(column not in log.frame for column in columns):
        return {}
    outcome = log.frame[columns].to_numpy(dtype=np.float64)
    return {n: float(np.einsum("na,na->", pi, outcome) / len(log)) for n, pi in walked.items()}
