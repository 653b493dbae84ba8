"""Hillstrom's trial: what the women's e-mail brings its readers, by every estimator."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from offline_eval.estimators import ESTIMATORS, Decisions
from offline_eval.outcomes import cross_fitted_outcome
from uplift.boosting import BoostParams
from uplift.datasets import hillstrom
from uplift.learners import SLearner
from uplift.log import RequestLog

#: Visits among those with the women's e-mail less those without any, as published: .0451 (.04523).
PUBLISHED = 0.0451


@pytest.fixture(scope="module")
def two_arms(public_data: Callable[[str], Path]) -> RequestLog:
    """Women's e-mail against none, a coin apart."""
    log = hillstrom(public_data("hillstrom/hillstrom.csv.gz"))
    frame = log.frame[log.arm != 1].copy()
    frame["arm"], frame["propensity"] = (frame["arm"] == 2).astype(int), 0.5
    schema = replace(log.schema, arms=("none", "womens"), arm_cost=(0.0, 1.0))
    return RequestLog(frame.reset_index(drop=True), schema)


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "sndr"])
def test_the_email_against_the_difference_in_means(two_arms: RequestLog, name: str) -> None:
    y, arm = two_arms.outcome(), two_arms.arm
    plain = float(y[arm == 1].mean() - y[arm == 0].mean())
    assert plain == pytest.approx(PUBLISHED, abs=5e-4)
    params = BoostParams(max_rounds=30, max_depth=3, learning_rate=0.1, n_threads=1)
    outcome = cross_fitted_outcome(two_arms, SLearner(params))
    states = [
        ESTIMATORS[name].sums(
            Decisions(
                *(y, two_arms.propensity, (arm == a).astype(np.float64), two_arms.cluster),
                outcome[np.arange(len(y)), arm],
                outcome[:, a],
            )
        )
        for a in (0, 1)
    ]
    gain = (states[1] - states[0]).estimate()
    # A coin that fell a little uneven moves IPS by as much as it was uneven.
    assert gain.value == pytest.approx(plain, abs=1.2e-3)
    assert gain.lower < plain < gain.upper
    assert gain.upper - gain.lower < 0.016
