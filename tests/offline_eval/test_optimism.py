"""Promised minus off-policy gain."""

import numpy as np
import pandas as pd
import pytest

from offline_eval.optimism import optimism_gap
from uplift.log import RequestLog
from uplift.schema import LogSchema

SCHEMA = LogSchema(("none", "request"), (0.0, 1.0), ("y",), "y", ("f_*",))


def trial(rng, n=4000, effect=0.5):
    """Return a log by a fair coin whose request adds `effect` to a noisy outcome."""
    arm = rng.integers(0, 2, n)
    y = effect * arm + rng.normal(0, 1, n)
    frame = pd.DataFrame({"f_x": np.zeros(n), "arm": arm, "propensity": 0.5, "y": y})
    return RequestLog(frame, SCHEMA)


def chosen(who):
    return np.column_stack([1.0 - who, who])


def test_what_is_kept_is_no_optimism():
    """A model without noise: promised is found, point by point."""
    arm = np.array([0, 1, 0, 1])
    frame = pd.DataFrame({"f_x": 0.0, "arm": arm, "propensity": 0.5, "y": 2.0 * arm})
    outcome = np.tile([0.0, 2.0], (4, 1))
    gap = optimism_gap(RequestLog(frame, SCHEMA), chosen(np.ones(4)), outcome[:, 1:], outcome)
    assert (gap.value, gap.lower, gap.upper) == (0, 0, 0)


def test_a_promise_twice_as_large_is_half_optimism():
    arm = np.array([0, 1, 0, 1])
    frame = pd.DataFrame({"f_x": 0.0, "arm": arm, "propensity": 0.5, "y": 2.0 * arm})
    outcome = np.tile([0.0, 2.0], (4, 1))
    who = np.array([1.0, 1.0, 0.0, 0.0])
    gap = optimism_gap(RequestLog(frame, SCHEMA), chosen(who), np.full((4, 1), 4.0), outcome)
    assert gap.value == pytest.approx(2.0 * who.mean())


@pytest.mark.slow
def test_gap_of_a_noisy_model_is_covered():
    """A rule picks the half with the highest predictions; its optimism is their mean error."""
    rng = np.random.default_rng(1)
    held, draws = 0, 300
    for _ in range(draws):
        log = trial(rng)
        error = rng.normal(0, 0.3, len(log))
        gain = 0.5 + error
        who = (gain > 0.5).astype(float)
        outcome = np.column_stack([np.zeros(len(log)), gain])
        gap = optimism_gap(log, chosen(who), gain[:, None], outcome)
        assert gap.value > 0
        held += gap.lower <= (who * error).mean() <= gap.upper
    assert held / draws >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)
