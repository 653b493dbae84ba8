"""The Open Bandit Dataset: the published estimates come out to the printed digits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.preprocessing import LabelEncoder

from offline_eval.estimators import (
    DR,
    ESTIMATORS,
    Decisions,
    Plain,
    Shrink,
    Switch,
    Tuned,
    dm,
    dr,
)
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


def logged(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "random_all.parquet")


def item_features(folder: Path) -> np.ndarray:
    """Items as the publisher's loader encodes them: codes of categories, and a number."""
    items = pd.read_csv(folder / "item_context_all.csv", index_col="item_id")
    codes = [LabelEncoder().fit_transform(items[f"item_feature_{i}"]) for i in (1, 2, 3)]
    return np.column_stack([*codes, items["item_feature_0"]])


def bts_decisions(folder: Path, rows: np.ndarray, strength: float) -> Decisions:
    """BernoulliTS on rows of the random log, with a logistic outcome model a position, 3-fold."""
    raw, items = logged(folder).iloc[rows], item_features(folder)
    users = raw.filter(like="user_feature")
    X = pd.get_dummies(users, drop_first=True).to_numpy(dtype=np.float64)
    arm, place = raw["item_id"].to_numpy(), raw["position"].to_numpy() - 1
    click, n = raw["click"].to_numpy(dtype=np.float64), len(raw)
    q = np.empty((n, len(items)))
    for fit, held in KFold(3, shuffle=True, random_state=12345).split(X):
        for at in range(3):
            some, asked = fit[place[fit] == at], held[place[held] == at]
            model = LogisticRegression(C=strength, max_iter=10_000)
            model.fit(np.c_[X[some], items[arm[some]]], click[some])
            # Users and items add up in the logit: no (rows x items, features) matrix is needed.
            of_user = X[asked] @ model.coef_[0, : X.shape[1]] + model.intercept_[0]
            of_item = items @ model.coef_[0, X.shape[1] :]
            q[asked] = expit(of_user[:, None] + of_item)
    pi = open_bandit_policy(folder, "all")[place]
    index = np.arange(n)
    propensity = raw["propensity_score"].to_numpy()
    of_policy = np.einsum("na,na->n", pi, q)
    return Decisions(click, propensity, pi[index, arm], index, q[index, arm], of_policy)


def test_models_give_the_published_values(folder: Path) -> None:
    """DM .9328 and DR 1.2440 of the random policy's click rate, to three digits.

    Regression as in the publisher's notebook of these figures (scikit-learn's default strength).
    The fourth digit depends on how far it was driven, which has changed since.
    """
    decisions = bts_decisions(folder, np.arange(10_000), strength=1.0)
    base = decisions.reward.mean()
    assert dm.value(decisions) / base == pytest.approx(0.9328, abs=5e-4)
    assert dr.value(decisions) / base == pytest.approx(1.2440, abs=5e-4)


LIMITS = (10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10000.0)
COMPARED = {
    **{name: ESTIMATORS[name] for name in ("dm", "dr", "sndr", "ips", "snips")},
    "switch": Tuned(DR(), (*map(Switch, LIMITS), Plain()), "slope"),
    "dros": Tuned(DR(), (*map(Shrink, LIMITS), Plain()), "slope"),
}
PUBLISHED = {
    "dm": 0.157,
    "dros": 0.160,
    "switch": 0.258,
    "dr": 0.292,
    "sndr": 0.302,
    "ips": 0.311,
    "snips": 0.312,
}


@pytest.mark.slow
def test_relative_errors_over_bootstrap_logs(folder: Path) -> None:
    """Against BernoulliTS' own log, 30 bootstrap logs of the random one; each within 10 %.

    Strength 100, as the publisher's examples have it in their hyperparameters.
    """
    truth = float(pd.read_parquet(folder / "bts_all.parquet")["click"].mean())
    errors = []
    for seed in range(30):
        rows = np.random.RandomState(seed).choice(10_000, 10_000)
        decisions = bts_decisions(folder, rows, strength=100.0)
        errors.append([abs(e.value(decisions) - truth) / truth for e in COMPARED.values()])
    found = dict(zip(COMPARED, np.mean(errors, axis=0), strict=True))
    print({name: round(float(error), 3) for name, error in found.items()})
    for name, published in PUBLISHED.items():
        assert found[name] == pytest.approx(published, rel=0.1), name
    assert max(found["dm"], found["dros"]) < found["switch"] < found["dr"] < found["sndr"]
    assert found["sndr"] < min(found["ips"], found["snips"])
