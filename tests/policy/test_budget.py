"""A budget as people say it, and the requests that each window may spend by it."""

import numpy as np
import pytest

from policy.budget import Budget
from uplift.errors import InputError
from uplift.log import RequestLog


def windows_and(log: RequestLog, budget: Budget, seconds: float = 21_600.0):
    windows = log.windows(seconds)
    return windows, budget.capacity(log, windows)


def test_qps_gives_every_window_its_seconds(feed_log):
    windows, capacity = windows_and(feed_log, Budget.qps(0.01, traffic_share=0.5))
    assert capacity.total is None
    assert capacity.window.tolist() == (0.01 * windows.covered * 0.5).tolist()
    assert windows.covered == pytest.approx([21_600] * 4, rel=0.02)


def test_qps_share_is_a_share_of_the_page_requests(feed_log):
    _, capacity = windows_and(feed_log, Budget.qps_share(0.125))
    assert capacity.window.sum() == pytest.approx(0.125 * feed_log.n_pages)
    assert capacity.window == pytest.approx([capacity.window.mean()] * 4, rel=0.02)


def test_requests_and_share_are_totals(feed_log):
    _, requests = windows_and(feed_log, Budget.requests(500, traffic_share=0.2))
    _, share = windows_and(feed_log, Budget.share(0.3))
    assert (requests.total, share.total) == (pytest.approx(100), pytest.approx(0.3 * len(feed_log)))
    assert np.isinf(requests.window).all()
    assert np.isinf(share.window).all()


def test_qps_without_timestamps_is_told(feed_log):
    frame = feed_log.frame.drop(columns="timestamp")
    log = RequestLog.unchecked(frame, feed_log.schema)
    with pytest.raises(InputError, match="qps needs timestamps, which the log lacks; give"):
        windows_and(log, Budget.qps(1))
    assert windows_and(log, Budget.share(0.1))[1].window.shape == (1,)


def test_part_of_a_budget():
    assert Budget.qps(10, 0.5).of_part(0.2) == Budget("qps", 10, 0.1)


@pytest.mark.parametrize("amount", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["qps", "qps_share", "requests", "share"])
def test_nothing_to_spend_is_told(kind, amount):
    with pytest.raises(InputError, match=r"the budget is .* expected more than 0 requests"):
        Budget(kind, amount)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_traffic_share_outside_its_range_is_told(share):
    with pytest.raises(InputError, match=r"traffic_share is .*; expected it in \(0, 1\]"):
        Budget.qps(1, share)


def test_unknown_unit_is_told():
    with pytest.raises(InputError, match="budget in 'euros'; expected one of"):
        Budget("euros", 1)
