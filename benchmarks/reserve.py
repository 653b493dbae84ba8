"""The rule for unknown sessions: what it spends and gains beside hindsight and a plain threshold.

    python benchmarks/reserve.py [SESSIONS] [RATE]

One simulated log to learn from, one of SESSIONS sessions to plan on, fresh users to judge with.
First table: rule and threshold are tuned until they spend the budget along the planned log's
sessions, and led through a fresh log's sessions; gains are the model's, the hindsight optimum is
that of the fresh log itself. Second table: both are tuned for service, where their own requests
change what they meet (`policy.feedback`), and rolled out on fresh users; untuned is that spend
times the feedback: about what comes of ignoring it. Spend is over the budget; +- is one standard
error, for the roll-out with that of the feedback.

The first table's gains are what the rule is made for: purchases within ten slots, one decision at a
time. Purchases of whole sessions, rolled out, also count what a request does after these slots and
to later gains, which neither rule knows.
"""

import sys
from dataclasses import dataclass

import numpy as np

from offline_eval import Never, walk
from offline_eval.feed import RollOut, roll_out, simulate
from policy import Budget, Limits, RequestPlan, plan_requests
from uplift import RequestLog, UpliftModel
from uplift.clusters import ratio_estimate
from uplift.scores import Scores

BUDGET = Budget.qps_share(0.125)
LIMITS = {
    "none": Limits(),
    "2 a page, gap 10": Limits(per_page=2, min_gap=10),
    "1 a page": Limits(per_page=1),
    "2 a session, gap 20": Limits(per_session=2, min_gap=20),
    "1 a session": Limits(per_session=1),
}
FIT_SESSIONS = 60_000
RULES = {True: "reserve", False: "threshold"}


@dataclass(frozen=True)
class Setting:
    """Everything that the tables are made from."""

    model: UpliftModel
    planned: Scores
    fresh: RequestLog
    fresh_scores: Scores
    never: RollOut
    rate: float


def main(sessions: int = 200_000, rate: float = 10.0) -> None:
    model = UpliftModel.fit(simulate(FIT_SESSIONS, seed=1, rate=rate), "s")
    planned, fresh = (simulate(sessions, seed=seed, rate=rate) for seed in (2, 3))
    print(
        f"{FIT_SESSIONS:,} sessions to learn from, {sessions:,} to plan on, {sessions:,} fresh, "
        f"rate {rate:g}; budget: {BUDGET.amount:.1%} of the page requests, hour by hour\n"
    )
    never = roll_out(Never(), sessions, seed=4, rate=rate)
    scores = model.score(planned)
    setting = Setting(model, scores, fresh, model.score(fresh), never, rate)
    print("led through logged sessions          spend / budget            gain / hindsight")
    print(f"{'limits':>20} {'rule':>10} {'planned':>8} {'fresh':>16} {'planned':>9} {'fresh':>7}")
    for name, limits in LIMITS.items():
        _print_led(name, limits, setting)
    print("\nrolled out on fresh users, tuned for service; purchases over never per 1,000 sessions")
    print(
        f"{'limits':>20} {'rule':>10} {'feedback':>15} {'spend / budget':>16} {'untuned':>8}"
        f" {'gain':>14}"
    )
    for name, limits in LIMITS.items():
        _print_rolled(name, limits, setting)


def _print_led(name: str, limits: Limits, setting: Setting) -> None:
    """Print spend and gain along logged sessions; the hindsight plan of the fresh log judges."""
    log = setting.fresh
    best = plan_requests(_silent(setting.fresh_scores), BUDGET, limits)
    for keeps, rule in RULES.items():
        plan = plan_requests(_silent(setting.planned), BUDGET, limits, reserve=keeps)
        asked = walk(plan.policy(setting.model), log)[:, 1]
        spend = ratio_estimate(asked, log.page_starts * BUDGET.amount, log.cluster)
        gain = asked @ setting.fresh_scores.uplift[:, 0]
        print(
            f"{name:>20} {rule:>10} {plan.rule_spend.sum() / plan.capacity.sum():8.4f}"
            f" {spend.value:8.4f} +- {_error(spend):.4f}"
            f" {plan.rule_gain / plan.gain:9.4f} {gain / best.gain:7.4f}",
            flush=True,
        )


def _print_rolled(name: str, limits: Limits, setting: Setting) -> None:
    """Print spend and purchases rolled out; both rules meet the same users."""
    gains = {}
    for keeps, rule in RULES.items():
        plan = plan_requests(setting.planned, BUDGET, limits, reserve=keeps)
        out = roll_out(
            plan.policy(setting.model), setting.never.n_sessions, seed=4, rate=setting.rate
        )
        gains[rule] = out.purchases - setting.never.purchases
        print(
            f"{name:>20} {rule:>10} {_spent(plan, out, setting)} {_mean(gains[rule])}", flush=True
        )
    print(f"{'':>20} {'difference':>10} {'':>42} {_mean(gains['reserve'] - gains['threshold'])}")


def _spent(plan: RequestPlan, out: RollOut, setting: Setting) -> str:
    """Return feedback, spend over the budget of as many sessions, and the spend without it."""
    assert plan.feedback is not None
    budget = plan.capacity.sum() / setting.never.n_sessions  # as many are planned as rolled out
    user = np.unique(out.user_id, return_inverse=True)[1]
    spend = ratio_estimate(out.requests / budget, np.ones(len(user)), user)
    relative = np.hypot(_error(spend) / spend.value, _error(plan.feedback) / plan.feedback.value)
    untuned = spend.value * plan.feedback.value
    return (
        f"{plan.feedback.value:6.3f} +- {_error(plan.feedback):.3f}"
        f" {spend.value:7.4f} +- {spend.value * relative:.4f} {untuned:8.4f}"
    )


def _silent(scores: Scores) -> Scores:
    """Return scores of a log that does not tell what it did, so that no feedback is estimated."""
    frame = scores.log.frame.drop(columns=["arm", "propensity"])
    return Scores(RequestLog.unchecked(frame, scores.log.schema), scores.outcome)


def _error(estimate) -> float:
    return (estimate.upper - estimate.lower) / 2 / 1.96


def _mean(values) -> str:
    error = values.std() / np.sqrt(len(values))
    return f"{1000 * values.mean():7.3f} +- {1000 * error:.3f}"


if __name__ == "__main__":
    main(*(float(a) if "." in a else int(a) for a in sys.argv[1:]))
