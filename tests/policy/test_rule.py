"""The plan's rule: request iff the gain beats the price of the moment, within the limits."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_eval.policies import walk
from policy.budget import Budget
from policy.places import Places
from policy.plan import plan_requests
from policy.problem import Limits
from policy.reserve import ReserveTable
from policy.rule import TIE_TOLERANCE, PriceRule
from uplift.log import RequestLog
from uplift.schema import LogSchema
from uplift.scores import Scores

QUARTER_DAY = 21_600.0
FREE = Limits()


def gain_of(log):
    return log.frame[["g_1"]].to_numpy()


def rule(price, limits=FREE, reserve=None, gain=gain_of):
    return PriceRule("plan", gain, np.atleast_1d(price), np.inf, limits, reserve)


def sessions(gain, session=None, slot=None):
    n = len(gain)
    frame = pd.DataFrame({"g_1": gain, "f_x": np.zeros(n)})
    if session is not None:
        frame["session_id"], frame["page"] = session, np.asarray(slot) // 50
        frame["position"] = np.asarray(slot) % 50
    schema = LogSchema(("none", "request"), (0.0, 1.0), ("y",), "y", ("f_*",))
    return RequestLog.unchecked(frame, schema)


def asked(policy, log):
    return walk(policy, log)[:, 1].tolist()


def test_requests_iff_the_gain_exceeds_the_price(feed_log, feed_model, feed_scores):
    plan = plan_requests(feed_scores, Budget.qps_share(0.1), window_seconds=QUARTER_DAY)
    policy = plan.policy(feed_model)
    price = plan.price[feed_log.windows(QUARTER_DAY).index]
    wanted = feed_scores.uplift[:, 0] > price * (1 + TIE_TOLERANCE)
    tie = np.abs(feed_scores.uplift[:, 0] - price) <= TIE_TOLERANCE * price
    asked = walk(policy, feed_log)[:, 1]
    assert (asked[~tie] == wanted[~tie]).all()
    window = feed_log.windows(QUARTER_DAY).index
    assert (asked[tie] == plan.tie_share[window][tie]).all()
    assert not policy.has_memory
    assert 0 < wanted.sum() <= 1.1 * plan.spend.sum()  # prices are certified, not exact


def test_a_gain_equal_to_the_price_is_not_enough():
    assert asked(rule(1.0), sessions([1.0, 1.01, 0.5])) == [0, 1, 0]


def test_points_of_equal_gain_share_what_the_budget_leaves():
    log = sessions(np.full(1000, 0.25))
    scores = Scores(log, np.column_stack([np.zeros(1000), np.full(1000, 0.25)]))
    plan = plan_requests(scores, Budget.share(0.3))
    assert plan.tie_share == pytest.approx(0.3)
    assert asked(plan.rule(lambda log: scores.uplift, "plan"), log) == [plan.tie_share[0]] * 1000


def test_nothing_gained_is_never_worth_a_request():
    plan = rule(0.0, gain=lambda log: np.zeros((3, 1)))
    assert asked(replace(plan, tie_share=np.ones(1)), sessions([0.0, 0.0, 0.0])) == [0, 0, 0]


def kept(*value):
    """Return the same reserve at all prices, of values [place][left in session][left on page]."""
    places = Places(2, np.array([0, 10]))
    return ReserveTable(np.zeros(1), places, np.array([value], dtype=float))


def test_the_reserve_is_kept_back():
    reserve = kept(*[[[0.5]]] * 4)
    assert asked(rule(1.0, reserve=reserve), sessions([1.4, 1.5, 1.6])) == [0, 0, 1]


def test_the_reserve_is_that_of_the_place():
    reserve = kept([[0.1]], [[0.2]], [[0.3]], [[0.4]])
    log = sessions([1.15, 1.15, 1.35, 1.35], [0, 1, 2, 3], [0, 10, 50, 145])
    assert asked(rule(1.0, reserve=reserve), log) == [1, 0, 1, 0]


def test_the_reserve_is_that_of_what_is_left():
    """With two requests left 0.1 is kept, with one left 0.5."""
    reserve = kept(*[[[0.5], [0.1]]] * 4)
    log = sessions([1.2, 1.2, 1.6, 1.6], [0] * 4, [0, 1, 2, 3])
    assert asked(rule(1.0, Limits(per_session=2), reserve), log) == [1, 0, 1, 0]


def test_the_reserve_on_a_page_starts_anew_on_the_next():
    reserve = kept(*[[[0.5, 0.1]]] * 4)
    log = sessions([1.2, 1.2, 1.2], [0] * 3, [0, 1, 50])
    assert asked(rule(1.0, Limits(per_page=2), reserve), log) == [1, 0, 1]


def test_the_reserve_is_that_of_the_price():
    places = Places(1, np.zeros(1, int))
    reserve = ReserveTable(np.array([0.0, 2.0]), places, np.array([1.0, 0.0]).reshape(2, 1, 1, 1))
    policy = rule(1.0, reserve=reserve)
    assert asked(policy, sessions([1.4, 1.6])) == [0, 1]
    assert asked(replace(policy, price=np.array([0.0])), sessions([0.9, 1.1])) == [0, 1]


def test_equal_to_price_and_reserve_is_a_tie():
    policy = replace(rule(1.0, reserve=kept(*[[[0.5]]] * 4)), tie_share=np.array([0.25]))
    assert asked(policy, sessions([1.4985, 1.5, 1.5015, 1.0])) == [0, 0.25, 1, 0]


def test_the_dearer_arm_must_gain_more():
    schema = LogSchema(("none", "a", "b"), (0.0, 1.0, 2.0), ("y",), "y", ("f_*",))
    log = RequestLog.unchecked(pd.DataFrame({"f_x": np.zeros(4)}), schema)
    gain = np.array([[2.0, 2.9], [2.0, 3.1], [0.5, 1.9], [-1.0, 2.5]])
    pi = walk(rule(1.0, gain=lambda _: gain), log)
    assert pi.argmax(axis=1).tolist() == [1, 2, 0, 2]
    assert (pi.sum(axis=1) == 1).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 2), min_size=1, max_size=25),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 3),
    st.integers(0, 25),
    st.integers(0, 2**31),
)
def test_limits_hold_in_every_session(gain, per_session, per_page, min_gap, seed):
    rng = np.random.default_rng(seed)
    slot = rng.choice(150, len(gain), replace=False)
    log = sessions(gain, rng.integers(0, 3, len(gain)), slot)
    limits = Limits(per_session, per_page, min_gap)
    chosen = np.array(asked(rule(1.0, limits), log)) == 1
    for session in np.unique(log.session):
        made: list[int] = []
        for row in log.session_order[log.session[log.session_order] == session]:
            free = (
                (per_session is None or len(made) < per_session)
                and (per_page is None or sum(s // 50 == slot[row] // 50 for s in made) < per_page)
                and all(slot[row] - s >= min_gap for s in made)
            )
            assert chosen[row] == (gain[row] > 1.0 + TIE_TOLERANCE and free)
            made += [int(slot[row])] if chosen[row] else []


@pytest.mark.parametrize(
    ("limits", "memory"),
    [(Limits(), False), (Limits(per_page=1), True), (Limits(min_gap=1), True)],
)
def test_only_limits_need_memory(limits, memory):
    assert rule(0.0, limits).has_memory is memory


def test_windows_have_their_own_prices():
    log = sessions([1.0, 1.0, 1.0])
    hours = pd.to_datetime(["2024-01-01 01:00", "2024-01-02 13:00", "2024-01-01 23:59"])
    log.frame["timestamp"] = hours
    policy = PriceRule("plan", gain_of, np.array([0.5, 1.5]), 43_200.0, Limits())
    assert asked(policy, log) == [1, 0, 0]
