"""The purchase-rate table: what is mixed, what is causal, and whether it meets the truth."""

import numpy as np
import pytest
from eval_policies import Threshold, handmade

from offline_eval.feed import simulate
from offline_eval.policies import Always, Never, walk
from offline_eval.rates import effects, purchase_rates
from uplift.clusters import Estimate
from uplift.log import RequestLog

TOLERANCE = 4.5 / 1.96


@pytest.fixture(scope="module")
def log() -> RequestLog:
    return simulate(12_000, seed=8, rate=10)


@pytest.fixture(scope="module")
def asked(log: RequestLog) -> np.ndarray:
    return walk(Threshold("f_clicks_20", 1.5), log)[:, 1]


def near(estimate: Estimate, expected: float) -> bool:
    return abs(estimate.value - expected) < TOLERANCE * (estimate.upper - estimate.value)


def test_every_rate_is_near_the_truth(log: RequestLog, asked: np.ndarray) -> None:
    for row in purchase_rates(log, np.stack([1 - asked, asked], axis=1))[:4]:
        without, with_ = (log.outcome(f"true_purchase_{row.horizon}_{a}") for a in (0, 1))
        assert near(row.none, without.mean())
        assert near(row.random, with_.mean())
        assert near(row.model, np.average(with_, weights=asked))
        assert near(row.model_without, np.average(without, weights=asked))
        assert near(row.causal_gain, np.average(with_ - without, weights=asked))
        assert row.mixed_ratio == row.model.value / row.none.value


def test_causal_gain_is_with_minus_without(log: RequestLog, asked: np.ndarray) -> None:
    for row in purchase_rates(log, np.stack([1 - asked, asked], axis=1)):
        assert row.causal_gain.value == pytest.approx(row.model.value - row.model_without.value)
        assert row.causal_gain.lower < row.causal_gain.value < row.causal_gain.upper


def test_horizons_are_read_off_the_names(log: RequestLog) -> None:
    rows = purchase_rates(log, walk(Always(), log))
    assert [(row.outcome, row.horizon) for row in rows] == [
        ("purchase_5", 5),
        ("purchase_10", 10),
        ("purchase_15", 15),
        ("purchase_20", 20),
        ("gmv_10", None),
    ]


def test_asking_always_is_the_random_request(log: RequestLog) -> None:
    for row in purchase_rates(log, walk(Always(), log)):
        assert (row.model, row.model_without) == (row.random, row.none)


def test_effects_are_near_the_truth(log: RequestLog) -> None:
    found = effects(log)
    assert list(found) == list(log.schema.outcomes)
    for n in (5, 10, 15, 20):
        true = log.outcome(f"true_purchase_{n}_1") - log.outcome(f"true_purchase_{n}_0")
        assert near(found[f"purchase_{n}"], true.mean())


def test_a_policy_that_never_asks_has_no_table(log: RequestLog) -> None:
    assert purchase_rates(log, walk(Never(), log)) == []


def test_rates_by_hand() -> None:
    log = handmade(
        arm=[0, 0, 1, 1],
        propensity=[0.5, 0.25, 0.5, 0.25],
        y=[1.0, 0.0, 1.0, 3.0],
        f_x=[1.0, -1.0, 1.0, -1.0],
    )
    (row,) = purchase_rates(log, walk(Threshold("f_x"), log))
    assert row.none.value == pytest.approx(2 / 6)
    assert row.random.value == pytest.approx((2 + 12) / 6)
    assert (row.model.value, row.model_without.value, row.causal_gain.value) == (1.0, 1.0, 0.0)
    assert row.mixed_ratio == pytest.approx(3.0)
    assert row.horizon is None
