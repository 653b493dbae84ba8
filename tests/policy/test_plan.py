"""Plans of a scored log: what they spend, what they promise, and how they are kept."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from policy.budget import Budget
from policy.plan import RequestPlan, plan_requests
from policy.problem import Limits
from uplift.errors import InputError
from uplift.log import RequestLog
from uplift.schema import LogSchema
from uplift.scores import Scores

QUARTER_DAY = 21_600.0


def spent(plan, cost=1.0):
    return np.sum(np.asarray(plan.arm > 0) * cost)


def same(first, second):
    """Whether two plans agree in all that is saved."""
    return first.to_dict() == second.to_dict()


@pytest.mark.parametrize(
    ("budget", "limits"),
    [
        (Budget.qps_share(0.1), Limits(per_page=2, min_gap=10)),
        (Budget.qps(0.003), Limits()),
        (Budget.requests(300), Limits(per_session=1)),
        (Budget.share(0.05), Limits(per_page=1)),
    ],
)
def test_plan_spends_within_its_capacity(feed_scores, budget, limits):
    plan = plan_requests(feed_scores, budget, limits, window_seconds=QUARTER_DAY)
    index = feed_scores.log.windows(QUARTER_DAY).index
    by_window = np.bincount(index, plan.arm > 0, minlength=4)
    assert plan.spend == pytest.approx(by_window)
    assert (by_window <= plan.capacity + 1e-9).all()
    total = budget.capacity(feed_scores.log, feed_scores.log.windows(QUARTER_DAY)).total
    assert total is None or by_window.sum() <= total + 1e-9
    assert plan.gain == pytest.approx(feed_scores.uplift[plan.arm > 0, 0].sum())
    assert plan.gain <= plan.upper_bound <= plan.gain * (1 + 1e-3)
    assert spent(plan) > 0


def test_plan_keeps_the_limits_of_a_session(feed_scores):
    limits = Limits(per_session=3, per_page=2, min_gap=12)
    plan = plan_requests(feed_scores, Budget.share(0.4), limits)
    frame = feed_scores.log.frame.assign(slot=feed_scores.log.slot)[plan.arm > 0]
    assert frame.groupby("session_id").size().max() <= 3
    assert frame.groupby(["session_id", "page"]).size().max() <= 2
    gaps = frame.sort_values(["session_id", "slot"]).groupby("session_id")["slot"].diff().dropna()
    assert gaps.min() >= 12


def test_json_round_trip(feed_scores, tmp_path):
    for budget, seconds in ((Budget.qps_share(0.1), QUARTER_DAY), (Budget.share(0.1), 3600.0)):
        plan = plan_requests(feed_scores, budget, Limits(per_page=2), window_seconds=seconds)
        plan.save(tmp_path / "plan.json")
        again = RequestPlan.load(tmp_path / "plan.json")
        assert same(plan, again)
        assert (again.price == plan.price).all()
        assert (again.capacity == plan.capacity).all()
        assert (again.budget, again.limits, again.arm) == (plan.budget, plan.limits, None)
        json.dumps(plan.to_dict(), allow_nan=False)


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", '{"price": [1]}', "\udcff"])
def test_a_file_that_is_no_plan_is_told(tmp_path, text):
    (tmp_path / "plan.json").write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match=r"is not a plan .*plan anew"):
        RequestPlan.load(tmp_path / "plan.json")


def test_one_pot_twice_as_large_never_costs_more(feed_scores):
    prices = [
        plan_requests(feed_scores, Budget.requests(n), window_seconds=QUARTER_DAY).price.max()
        for n in (50, 100, 200, 400, 800, 1600)
    ]
    assert (np.diff(prices) <= 1e-12).all()
    assert prices[0] > prices[-1]


def test_windows_twice_as_large_never_cost_more(feed_scores):
    plans = [
        plan_requests(feed_scores, Budget.qps_share(s), window_seconds=QUARTER_DAY)
        for s in (0.05, 0.1, 0.2)
    ]
    tolerance = 1e-4 * plans[0].gain / plans[0].spend.min()  # of the certified gap
    for plan, larger in pairwise(plans):
        assert (larger.price <= plan.price + tolerance).all()
        assert larger.gain > plan.gain


def test_decomposition_is_as_good_as_branch_and_bound(feed_log, feed_model):
    few = feed_model.score(feed_log.take(np.flatnonzero(feed_log.session < 150)))
    limits = Limits(per_page=1, min_gap=15)
    exact, quick = (
        plan_requests(few, Budget.share(0.06), limits, exact=exact) for exact in (True, False)
    )
    assert quick.gain <= exact.gain * (1 + 1e-9)
    assert quick.gain >= exact.gain * 0.99
    assert exact.gain <= quick.upper_bound * (1 + 1e-9)


def test_plan_of_scores_read_back_is_the_same(feed_scores, tmp_path):
    feed_scores.write(tmp_path / "scores.parquet")
    again = Scores.read(tmp_path / "scores.parquet", feed_scores.log.schema)
    before, after = (
        plan_requests(s, Budget.qps_share(0.1), Limits(per_page=2, min_gap=10))
        for s in (feed_scores, again)
    )
    assert same(before, after)
    assert (before.arm == after.arm).all()


def handmade(uplift, cost=(1.0,), **columns):
    """Return scores of points whose outcome is 0 without a request."""
    uplift = np.asarray(uplift, dtype=np.float64).reshape(-1, len(cost))
    arms = ("none", *(f"arm_{a}" for a in range(1, len(cost) + 1)))
    schema = LogSchema(arms, (0.0, *cost), ("y",), "y", ("f_*",))
    log = RequestLog.unchecked(pd.DataFrame({"f_x": np.zeros(len(uplift))} | columns), schema)
    return Scores(log, np.column_stack([np.zeros(len(uplift)), uplift]))


def test_log_without_time_has_one_window():
    plan = plan_requests(handmade([3.0, 1.0, 2.0, 0.5]), Budget.requests(2))
    assert plan.arm.tolist() == [1, 0, 1, 0]
    assert (plan.window_start.tolist(), plan.window_seconds) == ([0.0], np.inf)
    assert 1.0 <= plan.price[0] <= 2.0
    assert same(RequestPlan.from_dict(plan.to_dict()), plan)
    assert RequestPlan.from_dict(plan.to_dict()).window_seconds == np.inf


def test_qps_of_a_log_without_time_is_told():
    with pytest.raises(InputError, match="qps needs timestamps"):
        plan_requests(handmade([1.0, 2.0]), Budget.qps(1))


def test_the_arm_that_gains_most_for_its_cost_is_chosen():
    uplift = [[1.0, 1.5], [0.2, 3.0], [0.9, 0.8]]
    scores = handmade(uplift, cost=(1.0, 2.0))
    assert plan_requests(scores, Budget.requests(2)).arm.tolist() in ([0, 2, 0], [1, 0, 1])
    assert plan_requests(scores, Budget.requests(2)).gain == pytest.approx(3.0)
    plenty = plan_requests(scores, Budget.requests(10))
    assert plenty.arm.tolist() == [2, 2, 1]
    assert plenty.spend.sum() == pytest.approx(5.0)
    assert plenty.price.tolist() == [0.0]


def test_a_request_that_harms_is_never_planned():
    plan = plan_requests(handmade([-1.0, 0.5, -0.1]), Budget.requests(3))
    assert plan.arm.tolist() == [0, 1, 0]


def test_a_log_without_any_gain_has_an_empty_plan():
    plan = plan_requests(handmade([-1.0, -0.5]), Budget.requests(1))
    assert (plan.arm.tolist(), plan.gain, plan.spend.sum()) == ([0, 0], 0.0, 0.0)
    assert same(RequestPlan.from_dict(plan.to_dict()), plan)


def test_gains_that_are_not_finite_are_told():
    with pytest.raises(InputError, match="The gain of row 1 is"):
        plan_requests(handmade([1.0, np.nan]), Budget.requests(1))


def test_one_price_everywhere(feed_scores):
    plan = plan_requests(feed_scores, Budget.qps_share(0.1), window_seconds=QUARTER_DAY)
    assert plan.at_price(0.25).price.tolist() == [0.25] * 4
