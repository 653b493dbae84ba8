"""How often the gate errs: plans that gain nothing pass rarely, plans that gain much do pass."""

import numpy as np
import pandas as pd
import pytest

from offline_eval.assessment import assess
from offline_eval.costs import Spend
from offline_eval.policies import Random
from policy.gate import GateRules, gate
from policy.spend import PlanSpend
from uplift.clusters import Estimate
from uplift.log import RequestLog
from uplift.schema import LogSchema

pytestmark = pytest.mark.slow

SCHEMA = LogSchema(("none", "request"), (0.0, 1.0), ("bought",), "bought", ("f_x",))
WITHIN = PlanSpend(Spend(Estimate(0.5, 0.5, 0.5), 1.0, 0.0))
USERS, ROWS, RATE, LOGS = 500, 4, 0.2, 400


def drawn(rng: np.random.Generator, effect: float) -> RequestLog:
    """Draw users of four decisions each, who differ in how much they buy."""
    n, user = USERS * ROWS, np.repeat(np.arange(USERS), ROWS)
    arm = rng.integers(0, 2, n)
    chance = RATE * rng.uniform(0, 2, USERS)[user] + effect * arm
    bought = (rng.random(n) < chance).astype(float)
    columns = {"user_id": user, "arm": arm, "propensity": 0.5, "bought": bought, "f_x": 0.0}
    return RequestLog(pd.DataFrame(columns), SCHEMA)


def published(effect: float, margin: float, seed: int) -> float:
    """Return the share of logs on which a plan that requests at half of the points passes."""
    rng, passed = np.random.default_rng(seed), 0
    for _ in range(LOGS):
        log = drawn(rng, effect)
        plan = Random(0.5, name="plan")
        found = assess(log, plan, rivals=[], families={}, outcome=np.full((len(log), 2), RATE))
        passed += gate(found, WITHIN, [], GateRules(margin=margin)).verdict == "published"
    return passed / LOGS


@pytest.mark.parametrize(("effect", "margin"), [(0.0, 0.0), (0.06, 0.03), (-0.04, -0.02)])
def test_a_plan_that_gains_just_the_margin_passes_one_time_in_forty(
    effect: float, margin: float
) -> None:
    """The lower bound is that of a two-sided interval of 95 %."""
    error = np.sqrt(0.025 * 0.975 / LOGS)
    assert published(effect, margin, 1) == pytest.approx(0.025, abs=3 * error)


def test_a_plan_that_gains_much_passes() -> None:
    """Its gain of 0.05 is about four standard errors."""
    assert published(0.1, 0.0, 2) > 0.95
