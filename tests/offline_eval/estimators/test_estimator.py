"""Every estimator against hand computation and against a world whose truth is known."""

import numpy as np
import pytest
from logged_worlds import TRUTH, world

from offline_eval.estimators import ESTIMATORS, Decisions, weights
from offline_eval.estimators.estimator import Estimator
from uplift.errors import InputError

dr, ips, snips = (ESTIMATORS[name].estimate for name in ("dr", "ips", "snips"))
T_2 = 4.302652729749464  # 97.5 % quantile of Student's t with 2 degrees of freedom


def by_hand(**changes: np.ndarray) -> Decisions:
    """Weights 2, 2, 0, 1 in the clusters 0, 0, 1, 2."""
    columns = {
        "reward": np.array([1.0, 0.0, 2.0, 1.0]),
        "propensity": np.array([0.5, 0.25, 0.5, 1.0]),
        "target": np.array([1.0, 0.5, 0.0, 1.0]),
        "cluster": np.array([0, 0, 1, 2]),
        "outcome_logged": np.array([0.5, 0.5, 1.0, 0.0]),
        "outcome_policy": np.array([1.0, 0.0, 0.5, 0.25]),
    }
    return Decisions(**(columns | changes))


def test_values_by_hand() -> None:
    assert ips(by_hand()).value == pytest.approx((2 + 0 + 0 + 1) / 4)
    assert snips(by_hand()).value == pytest.approx(3 / 5)
    assert dr(by_hand()).value == pytest.approx((2 - 1 + 0.5 + 1.25) / 4)


def test_the_rest_of_the_family_by_hand() -> None:
    # w = 2, 2, 0, 1; r - m = 0.5, -0.5, 1, 1; m(pi) sums to 1.75
    value = {name: e.value(by_hand()) for name, e in ESTIMATORS.items()}
    assert value["dm"] == pytest.approx(1.75 / 4)
    assert value["sndr"] == pytest.approx(1.75 / 4 + 1 / 5)
    by_limit = {
        weights.clipped: 1.5 + 1,
        weights.switched: 1.0,
        weights.optimistic: 1.5 * 2 / (4 + 1.5) + 1.5 * 1 / (1 + 1.5),
        weights.sub_gaussian: 2 / (1 / 3 + 2 / 3 * 2) + 1,
    }
    for shrink, total in by_limit.items():
        estimator = Estimator("one", shrink).with_limit(1.5)
        assert estimator.value(by_hand()) == pytest.approx(total / 4)
        assert estimator.with_limit(1e12).value(by_hand()) == pytest.approx(value["ips"])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_value_and_state_agree(name: str) -> None:
    decisions = world(np.random.default_rng(3), 100)
    estimate, value = ESTIMATORS[name].estimate(decisions), ESTIMATORS[name].value(decisions)
    assert estimate.value == pytest.approx(value, rel=1e-12)
    assert estimate.lower < value < estimate.upper


def test_a_limit_is_above_0() -> None:
    for limit in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match="expected more than 0"):
            Estimator("one", weights.clipped).with_limit(limit)


def test_intervals_by_hand() -> None:
    # sums by cluster N = (2, 0, 1); of rows (2, 1, 1), of weights (4, 0, 1)
    of_rows = np.array([2 - 0.75 * 2, -0.75, 1 - 0.75])
    of_weights = np.array([2 - 0.6 * 4, 0.0, 1 - 0.6])
    half_ips = T_2 * np.sqrt(3 / 2 * of_rows @ of_rows) / 4
    half_snips = T_2 * np.sqrt(3 / 2 * of_weights @ of_weights) / 5
    assert ips(by_hand()).upper - ips(by_hand()).value == pytest.approx(half_ips)
    assert snips(by_hand()).value - snips(by_hand()).lower == pytest.approx(half_snips)


def test_snips_of_a_constant_reward_is_certain() -> None:
    estimate = snips(by_hand(reward=np.full(4, 0.3)))
    assert (estimate.lower, estimate.value, estimate.upper) == pytest.approx((0.3, 0.3, 0.3))
    assert ips(by_hand(reward=np.full(4, 0.3))).upper > 0.3


def test_dr_of_a_perfect_model_ignores_the_weights() -> None:
    known = by_hand(outcome_logged=by_hand().reward)
    assert dr(known).value == pytest.approx(known.outcome_policy.mean())


def test_logging_policy_itself_is_worth_the_mean_reward() -> None:
    same = by_hand(target=by_hand().propensity)
    assert ips(same).value == pytest.approx(1.0)
    assert snips(same).value == pytest.approx(1.0)


def test_one_cluster_has_no_interval() -> None:
    estimate = ips(by_hand(cluster=np.zeros(4, int)))
    assert (estimate.lower, estimate.upper) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": np.ones(3)}, r"target has shape \(3,\); expected \(4,\)"),
        ({"cluster": np.zeros((4, 1), int)}, "cluster has shape"),
        ({"propensity": np.array([0.5, 0.0, 0.5, 1.0])}, r"propensity must lie in \(0, 1\]"),
        ({"propensity": np.array([0.5, 1.5, 0.5, 1.0])}, r"propensity must lie in \(0, 1\]"),
        ({"propensity": np.array([0.5, np.nan, 0.5, 1.0])}, r"propensity must lie in \(0, 1\]"),
        ({"target": np.array([0.5, -0.1, 0.5, 1.0])}, r"must lie in \[0, 1\]"),
        ({"target": np.array([0.5, 1.1, 0.5, 1.0])}, r"must lie in \[0, 1\]"),
        ({"target": np.array([0.5, np.nan, 0.5, 1.0])}, r"must lie in \[0, 1\]"),
        ({"reward": np.array([0.5, np.nan, 0.5, 1.0])}, "reward must be finite"),
        ({"outcome_logged": np.ones(3)}, r"outcome_logged has shape \(3,\)"),
        ({"outcome_policy": np.full(4, np.nan)}, "outcome_policy must be finite"),
        ({"reward": np.array([0.5, np.inf, 0.5, 1.0])}, "reward must be finite"),
    ],
)
def test_bad_decisions_are_told(changes: dict[str, np.ndarray], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        by_hand(**changes)


def test_dr_without_a_model_is_told() -> None:
    with pytest.raises(InputError, match="dr needs an outcome model"):
        dr(by_hand(outcome_policy=None))


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("name", ["ips", "dr"])
def test_unbiased_whatever_the_model(name: str, wrong: bool) -> None:
    rng = np.random.default_rng(7)
    values = [ESTIMATORS[name].value(world(rng, 60, wrong=wrong)) for _ in range(400)]
    assert abs(np.mean(values) - TRUTH) < 4 * np.std(values) / np.sqrt(len(values))


def test_a_good_model_narrows_the_interval() -> None:
    good, wrong = (world(np.random.default_rng(1), 2000, wrong=w) for w in (False, True))
    assert dr(good).upper - dr(good).lower < 0.8 * (ips(good).upper - ips(good).lower)
    assert dr(good).upper - dr(good).lower < 0.8 * (dr(wrong).upper - dr(wrong).lower)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dr", "snips", "ips", "sndr"])
def test_intervals_cover_the_truth(name: str) -> None:
    rng, runs = np.random.default_rng(11), 2000
    estimates = [ESTIMATORS[name].estimate(world(rng, 200)) for _ in range(runs)]
    coverage = np.mean([e.lower <= TRUTH <= e.upper for e in estimates])
    assert abs(coverage - 0.95) < 3 * np.sqrt(0.95 * 0.05 / runs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clipped_ips", "switch_dr", "dros", "sg_dr"])
def test_tuned_intervals_cover_the_truth(name: str) -> None:
    """The choice of a limit may cost coverage: never below 90 % here, where bias is possible."""
    rng, runs = np.random.default_rng(11), 1000
    estimates = [ESTIMATORS[name].estimate(world(rng, 200)) for _ in range(runs)]
    coverage = np.mean([e.lower <= TRUTH <= e.upper for e in estimates])
    assert coverage > 0.90 - 3 * np.sqrt(0.9 * 0.1 / runs)
