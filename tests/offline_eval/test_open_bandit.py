"""The Open Bandit Dataset: the published estimates come out to the printed digits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_eval.evaluation import Evaluation, evaluate
from offline_eval.policies import ByPosition
from uplift.datasets import open_bandit, open_bandit_policy


@pytest.fixture(scope="module")
def folder(public_data: Callable[[str], Path]) -> Path:
    return public_data("obd_small")


def bts_on_random(folder: Path, campaign: str) -> Evaluation:
    policy = ByPosition(open_bandit_policy(folder, campaign), "bts")
    return evaluate(open_bandit(folder, campaign, "random"), policy)


@pytest.mark.parametrize(
    ("campaign", "printed"), [("all", ".00455288"), ("men", ".00453356"), ("women", ".00681347")]
)
def test_ipw_of_bernoulli_thompson_sampling(folder: Path, campaign: str, printed: str) -> None:
    result = bts_on_random(folder, campaign)
    assert f"{result.value['ips'].value:.8f}".lstrip("0") == printed
    assert result.diagnostics.verdict != "refused"


def test_campaign_all_to_the_printed_digits(folder: Path) -> None:
    result, log = bts_on_random(folder, "all"), open_bandit(folder, "all", "random")
    assert f"{result.value['snips'].value:.8f}".lstrip("0") == ".00477583"
    assert f"{result.value['ips'].value / log.outcome().mean():.6f}" == "1.198126"


def test_random_policy_cannot_be_judged_by_the_bts_log(folder: Path) -> None:
    log = open_bandit(folder, "women", "bts")
    items = log.schema.n_arms + 1
    result = evaluate(log, ByPosition(np.full((3, items), 1 / items), "uniform"))
    assert result.diagnostics.verdict == "refused"
    assert "effective sample size is 2.1 of 10,000" in result.diagnostics.reasons[0]
    assert (result.value, result.gain, result.gain_per_request) == ({}, None, None)
