"""A plan's spend against its budget: where requests are scarce, and window by window."""

from dataclasses import replace

import numpy as np
import pytest

from offline_eval.costs import Spend, spend_of
from policy.budget import Budget
from policy.plan import RequestPlan, plan_requests
from policy.spend import PlanSpend, WindowSpend, plan_spend
from uplift.arrays import FloatArray
from uplift.clusters import Estimate
from uplift.log import RequestLog
from uplift.scores import Scores

HALF_DAY = 43_200.0


@pytest.fixture(scope="module")
def half_days(feed_scores: Scores) -> RequestPlan:
    """Return a plan of two windows, each of which may spend on a tenth of its points."""
    plan = plan_requests(feed_scores, Budget.qps_share(0.1), window_seconds=HALF_DAY)
    size = np.bincount(feed_scores.log.windows(HALF_DAY).index, minlength=2).astype(np.float64)
    return replace(plan, capacity=0.1 * size, price=np.ones(2), rule_spend=np.ones(2))


def asking(log: RequestLog, morning: float, evening: float) -> FloatArray:
    """Return probabilities of a policy that requests at these shares of the half days."""
    share = np.array([morning, evening])[log.windows(HALF_DAY).index]
    return np.column_stack([1 - share, share])


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(Budget.share(0.05), 0.05), (Budget.requests(300, 0.5), 150)],
)
def test_a_budget_without_windows_is_one_number(
    feed_scores: Scores, budget: Budget, expected: float
) -> None:
    log = feed_scores.log
    plan, pi = plan_requests(feed_scores, budget), asking(log, 0.01, 0.01)
    found = plan_spend(plan, log, pi, 0.2, 0.2)
    per_point = expected if budget.kind == "share" else expected / len(log)
    assert found.scarce.budget == pytest.approx(1.2 * per_point)
    assert found.windows == ()


def test_within_in_each_window(feed_log: RequestLog, half_days: RequestPlan) -> None:
    found = plan_spend(half_days, feed_log, asking(feed_log, 0.1, 0.1), 0.1, 0.1)
    assert found.scarce.over < 1e-9
    assert found.scarce.budget == pytest.approx(1.1 * found.scarce.requests.value)
    assert [w.start for w in found.windows] == [0.0, HALF_DAY]
    assert found.worst(0.9) is None


def test_the_night_lends_nothing_to_the_day(feed_log: RequestLog, half_days: RequestPlan) -> None:
    """The evening spends 1.5 times its capacity; altogether the plan is within."""
    pi = asking(feed_log, 0.0, 0.15)
    found = plan_spend(half_days, feed_log, pi, 0.3, 0.3)
    worst = found.worst(0.9)
    assert found.scarce.over < 1e-3
    assert worst is not None
    assert worst.start == HALF_DAY
    assert worst.requests.value == pytest.approx(1.5 / 1.3 * worst.budget)


def test_capacity_without_a_price_is_not_counted(
    feed_log: RequestLog, half_days: RequestPlan
) -> None:
    idle = replace(half_days, price=np.array([0.0, 1.0]))
    found = plan_spend(idle, feed_log, asking(feed_log, 0.0, 0.15), 0.1, 0.1)
    assert found.scarce.over > 0.999
    assert found.scarce.budget == pytest.approx(1.1 * half_days.capacity[1] / len(feed_log))


def test_windows_nobody_knows_lend_nothing(feed_log: RequestLog, half_days: RequestPlan) -> None:
    """They have the dearest price of the others, and no spend."""
    unseen = replace(half_days, rule_spend=np.array([0.0, 1.0]))
    assert plan_spend(unseen, feed_log, asking(feed_log, 0.0, 0.15), 0.1, 0.1).scarce.over > 0.999


def test_a_part_of_the_log_spends_the_same_per_point(
    feed_log: RequestLog, half_days: RequestPlan
) -> None:
    part = feed_log.split(share=0.5, seed=3)[0]
    whole = plan_spend(half_days, feed_log, asking(feed_log, 0.1, 0.1), 0.0, 0.0).scarce
    half = plan_spend(half_days, part, asking(part, 0.1, 0.1), 0.0, 0.0).scarce
    assert half.budget == pytest.approx(whole.budget)
    assert half.requests.value == pytest.approx(whole.requests.value, rel=0.05)


def test_false_alarms_of_the_worst_window_are_rare() -> None:
    """All windows spend just their capacity: an alarm has at most one chance in ten."""
    rng, alarms, windows, users = np.random.default_rng(5), 0, 24, 400
    code, cost = np.arange(users), np.full(windows, 0.02)
    for _ in range(200):
        drawn = rng.random((windows, users)) < cost[:, None]
        found = [spend_of(1.0 * d, code, c) for d, c in zip(drawn, cost, strict=True)]
        alone = tuple(WindowSpend(**vars(s), start=0.0) for s in found)
        total = Spend(Estimate(0.0, 0.0, 0.0), 1.0, 0.0)
        alarms += PlanSpend(total, alone).worst(0.9) is not None
    assert alarms / 200 <= 0.1 + 3 * np.sqrt(0.09 / 200)
