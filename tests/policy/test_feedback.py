"""What a rule spends in service over what it spends along logged sessions."""

import numpy as np
import pandas as pd
import pytest

from policy.feedback import LOOKBACK, Logged
from uplift.log import RequestLog
from uplift.schema import LogSchema


def fatigue(n_sessions, share, rng, points=4):
    """Sessions in which a request takes all worth from the next decision points.

    The worth of a point is 1 until a request was made, then 0; the rule requests what has worth.
    Returns arms, worth and propensities, (sessions, points).
    """
    arm = (rng.random((n_sessions, points)) < share).astype(int)
    made = np.cumsum(arm, axis=1) - arm
    return arm, (made == 0).astype(float), np.where(arm == 1, share, 1 - share)


def logged(arm, propensity):
    n, points = arm.shape
    start = np.arange(0, arm.size + 1, points)
    return Logged(arm.ravel(), propensity.ravel(), np.repeat(np.arange(n), points), start)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_feedback_is_what_a_roll_out_would_spend(share):
    """Rolled out, the rule makes one request a session, at its first point."""
    rng = np.random.default_rng(0)
    held, draws = 0, 200
    for _ in range(draws):
        arm, worth, propensity = fatigue(2000, share, rng)
        found = logged(arm, propensity).feedback(
            np.ones(arm.size, int), worth.ravel(), np.ones((arm.size, 1))
        )
        truth = len(arm) / worth.sum()  # over the walk's spend on the same sessions
        held += found.lower <= truth <= found.upper
    assert held / draws >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)


def test_a_log_that_did_what_the_rule_does_is_what_it_meets():
    arm = np.array([[0, 1, 0, 1], [1, 0, 0, 0]])
    found = logged(arm, np.ones(arm.shape)).feedback(
        np.ones(8, int), (arm == 1).ravel().astype(float), np.ones((8, 1))
    )
    assert found.value == 1


def test_only_sessions_that_agree_count():
    """The first session agrees with the rule, by a chance of 1/4; the second does not."""
    arm = np.array([[1, 0], [0, 0]])
    asked = np.array([1.0, 1.0, 1.0, 1.0])
    found = logged(arm, np.full((2, 2), 0.25)).feedback(np.ones(4, int), asked, np.ones((4, 1)))
    assert found.value == pytest.approx((1 + 4 + 1 + 0) / 4)


def test_another_arm_is_no_agreement():
    arm = np.array([[2, 0], [1, 0]])
    asked = np.ones(4)
    cost = np.tile([1.0, 3.0], (4, 1))
    one, two = (
        logged(arm, np.full((2, 2), 0.5)).feedback(np.full(4, a), asked, cost) for a in (1, 2)
    )
    assert one.value == two.value == pytest.approx((1 + 0 + 1 + 2) / 4)


@pytest.mark.parametrize(("ago", "value"), [(LOOKBACK, 0.0), (LOOKBACK + 1, 1.0)])
def test_what_is_long_past_is_forgotten(ago, value):
    arm, asked = np.zeros((1, ago + 1), int), np.zeros(ago + 1)
    arm[0, 0] = 1  # which the rule would never do
    asked[-1] = 1.0
    cost, arms = np.ones((ago + 1, 1)), np.ones(ago + 1, int)
    assert logged(arm, np.ones(arm.shape)).feedback(arms, asked, cost).value == value


def test_a_log_that_does_not_tell_what_it_did_has_no_feedback():
    schema = LogSchema(("none", "request"), (0.0, 1.0), ("y",), "y", ("f_*",))
    frame = pd.DataFrame({"f_x": [0.0, 0.0], "arm": [0, 1], "propensity": [0.5, 0.5]})
    whole = RequestLog.unchecked(frame, schema)
    order, start = np.array([1, 0]), np.array([0, 1, 2])
    told = Logged.of(whole, order, start)
    assert told is not None
    assert told.arm.tolist() == [1, 0]
    for column in ("arm", "propensity"):
        part = RequestLog.unchecked(frame.drop(columns=column), schema)
        assert Logged.of(part, order, start) is None


def test_no_spend_has_no_feedback_that_is_told_from_one():
    found = logged(np.zeros((2, 2), int), np.ones((2, 2))).feedback(
        np.ones(4, int), np.zeros(4), np.ones((4, 1))
    )
    assert found.lower <= 1 <= found.upper
