import numpy as np
import pytest

from offline_eval.estimators import ESTIMATORS, Decisions
from offline_eval.estimators.outcome import cross_fit_outcome, more_robust_weight
from offline_eval.feed import simulate
from offline_eval.policies import Fixed, walk
from uplift import BoostParams, SLearner
from uplift.errors import InputError
from uplift.log import RequestLog

SMALL = SLearner(params=BoostParams(max_rounds=30))


@pytest.fixture(scope="module")
def log() -> RequestLog:
    return simulate(8_000, seed=5, rate=10)


def decisions(log: RequestLog, pi: np.ndarray, outcome: np.ndarray) -> Decisions:
    rows = np.arange(len(log))
    answers = np.einsum("na,na->n", pi, outcome)
    logged = outcome[rows, log.arm]
    return Decisions(log.outcome(), log.propensity, pi[rows, log.arm], log.cluster, logged, answers)


def test_models_make_the_estimate_less_noisy(log: RequestLog) -> None:
    pi = walk(Fixed(position=25), log)
    truth = log.frame[["true_purchase_10_0", "true_purchase_10_1"]].to_numpy(dtype=float)
    expected = np.einsum("na,na->", pi, truth) / len(log)
    plain = ESTIMATORS["ips"].estimate(decisions(log, pi, np.zeros((len(log), 2))))
    for weighted in (None, pi):
        outcome = cross_fit_outcome(log, SMALL, pi=weighted)
        assert outcome.shape == (len(log), 2)
        found = ESTIMATORS["dr"].estimate(decisions(log, pi, outcome))
        assert abs(found.value - expected) < 4.5 / 1.96 * (found.upper - found.value)
        assert found.upper - found.lower < plain.upper - plain.lower


def test_weight_of_mrdr_by_hand(log: RequestLog) -> None:
    pi = walk(Fixed(position=25), log)
    row = int(np.flatnonzero(log.arm == 1)[0])
    p = log.propensity[row]
    weight = more_robust_weight(log, pi)
    assert weight[row] == pytest.approx(pi[row, 1] * (1 - p) / p**2)
    with pytest.raises(InputError, match="never does what the log did"):
        more_robust_weight(log, np.zeros_like(pi))
