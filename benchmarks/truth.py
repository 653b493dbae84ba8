"""Estimated against true: the plan's value and the requests it saves, on the simulated feed.

    python benchmarks/truth.py [SESSIONS] [RATE]

A model is fitted and a plan made on one simulated log; a second log of other users estimates what
the plan would have earned. Two truths stand beside the estimates: that of one decision at a time
(the estimand of the estimate, from the log's ``true_*`` columns) and that of rolling the policy
out on further users, where every decision changes what comes after it.
"""

import sys
from collections.abc import Sequence

import numpy as np

from offline_eval import Fixed, Never, Policy, Random, evaluate, frontier, walk
from offline_eval.feed import RollOut, roll_out, simulate
from policy import Budget, Limits, RequestPlan, plan_requests
from uplift import Estimate, RequestLog, UpliftModel

SHARES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.17, 0.25, 0.4)
ROLLED_SESSIONS = 200_000


def main(sessions: int = 150_000, rate: float = 10.0) -> None:
    log, fresh = (simulate(sessions, seed=seed, rate=rate) for seed in (1, 2))
    fit, plan_on = log.split(share=0.8, seed=0)
    model = UpliftModel.fit(fit, "s")
    limits = Limits(per_page=2, min_gap=10)
    plan = plan_requests(model.score(plan_on), Budget.qps_share(0.125), limits)
    random_share = plan.spend.sum() / plan.decision_points
    rivals: list[Policy] = [Never(), Random(random_share), Fixed()]
    policies = [plan.policy(model), *rivals]
    print(f"{len(log):,} rows to learn and plan, {len(fresh):,} fresh rows, rate {rate:g}\n")
    rolled = {p.name: roll_out(p, ROLLED_SESSIONS, seed=3, rate=rate) for p in policies}
    _print_values(fresh, policies, model, rolled)
    family = _family(plan, model, plan_on)
    _print_savings(fresh, family, rivals[1:], model, rolled, rate)


def _print_values(
    log: RequestLog, policies: Sequence[Policy], model: UpliftModel, rolled: dict[str, RollOut]
) -> None:
    print("per 1,000 decision points: purchase_10 and requests")
    print(
        f"{'policy':>8} {'DR estimate':>26} {'truth':>8} {'inside':>7} {'rolled out':>11}"
        f" {'requests':>9} {'rolled out':>11}"
    )
    for policy in policies:
        result = evaluate(log, policy, outcome=model.predict_outcome(log), estimators=["dr"])
        value, truth = result.value["dr"], _truth(log, walk(policy, log))
        out = rolled[policy.name]
        inside = "yes" if value.lower <= truth <= value.upper else "no"
        print(
            f"{policy.name:>8} {_interval(value, 1000):>26} {1000 * truth:8.3f} {inside:>7}"
            f" {1000 * out.expected_purchase_10:11.3f} {1000 * result.requests.value:9.1f}"
            f" {1000 * out.n_requests / out.decision_points:11.1f}"
        )
    print("\npurchases per 1,000 sessions, rolled out on the same users, and gain over never")
    base = rolled["never"].purchases
    for name, out in rolled.items():
        gain = out.purchases - base
        error = 1.96 * gain.std() / np.sqrt(len(gain))
        print(
            f"{name:>8} {1000 * out.purchases.mean():8.2f}   gain {1000 * gain.mean():7.3f} "
            f"+- {1000 * error:.3f} with {1000 * out.n_requests / out.n_sessions:.1f} requests"
        )


def _print_savings(
    log: RequestLog,
    family: Sequence[Policy],
    references: Sequence[Policy],
    model: UpliftModel,
    rolled: dict[str, RollOut],
    rate: float,
) -> None:
    estimated = frontier(log, family, name="plan", outcome=model.predict_outcome(log))
    members = [_true_point(log, policy) for policy in family]
    outs = [roll_out(policy, ROLLED_SESSIONS, seed=3, rate=rate) for policy in family]
    base = rolled["never"]
    print("\nrequests saved at equal effect: share of the extra requests | of all requests")
    for reference in references:
        saving = estimated.saving(reference)
        one = _saved(members, _true_point(log, reference), log.n_pages / len(log))
        out = rolled[reference.name]
        rolled_saving = _saved(
            [_rolled_point(o, base) for o in outs],
            _rolled_point(out, base),
            base.n_pages / base.n_sessions,
        )
        print(f"against {reference.name}")
        print(f"  estimated   {_interval(saving.of_extra)} | {_interval(saving.of_all)}")
        print(f"  truth       {one[0]:.3f} | {one[1]:.3f}")
        print(f"  rolled out  {rolled_saving[0]:.3f} | {rolled_saving[1]:.3f}")


def _family(plan: RequestPlan, model: UpliftModel, log: RequestLog) -> list[Policy]:
    prices = np.quantile(model.uplift(log)[:, 0], [1 - s for s in SHARES])
    return [plan.at_price(float(p)).policy(model, f"price {p:.4f}") for p in prices]


def _truth(log: RequestLog, pi: np.ndarray) -> float:
    columns = [f"true_{log.schema.primary}_{a}" for a in range(pi.shape[1])]
    return float((pi * log.frame[columns].to_numpy(dtype=np.float64)).sum() / len(log))


def _true_point(log: RequestLog, policy: Policy) -> tuple[float, float]:
    """Return requests and true gain per decision point."""
    pi = walk(policy, log)
    never = np.zeros_like(pi)
    never[:, 0] = 1.0
    return float(pi[:, 1].mean()), _truth(log, pi) - _truth(log, never)


def _rolled_point(out: RollOut, never: RollOut) -> tuple[float, float]:
    """Return requests and gain per session."""
    return out.n_requests / out.n_sessions, float((out.purchases - never.purchases).mean())


def _saved(
    members: Sequence[tuple[float, float]], reference: tuple[float, float], pages: float
) -> tuple[float, float]:
    requests, gain = np.array([(0.0, 0.0), *sorted(members)]).T
    needed = float(np.interp(reference[1], np.maximum.accumulate(gain), requests))
    return 1 - needed / reference[0], (reference[0] - needed) / (pages + reference[0])


def _interval(estimate: Estimate | None, scale: float = 1.0) -> str:
    if estimate is None:
        return "-"
    value, lower, upper = (scale * v for v in (estimate.value, estimate.lower, estimate.upper))
    return f"{value:.3f} [{lower:.3f}, {upper:.3f}]"


if __name__ == "__main__":
    main(*(float(a) if "." in a else int(a) for a in sys.argv[1:]))
