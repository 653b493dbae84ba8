import gzip

import numpy as np
import pandas as pd
import pytest

from uplift import InputError, check_randomisation
from uplift.datasets import DATASETS, hillstrom, open_bandit, open_bandit_policy


@pytest.fixture(scope="module")
def trial(public_data):
    return hillstrom(public_data("hillstrom/hillstrom.csv.gz"))


def test_hillstrom_is_the_published_trial(trial):
    assert len(trial) == 64_000
    assert trial.schema.arms == ("none", "mens", "womens")
    assert np.bincount(trial.arm).tolist() == [21_306, 21_307, 21_387]
    rates = [round(trial.outcome("visit")[trial.arm == a].mean(), 4) for a in range(3)]
    assert rates == [0.1062, 0.1828, 0.1514]
    spend = [round(trial.outcome("spend")[trial.arm == a].mean(), 4) for a in range(3)]
    assert spend == [0.6528, 1.4226, 1.0772]
    assert trial.cost.sum() == 21_307 + 21_387


def test_hillstrom_learns_from_no_outcome(trial):
    assert trial.features == sorted(
        ["recency", "history", "mens", "womens", "zip_code", "newbie", "channel"]
    )


def test_hillstrom_is_randomised(trial):
    assert [c.verdict for c in check_randomisation(trial)] == ["sound"] * 5


def test_hillstrom_takes_another_outcome_and_the_plain_file(public_data, tmp_path):
    packed = public_data("hillstrom/hillstrom.csv.gz")
    (tmp_path / "trial.csv").write_bytes(gzip.decompress(packed.read_bytes()))
    assert DATASETS["hillstrom"](tmp_path / "trial.csv", "spend").schema.primary == "spend"
    with pytest.raises(InputError, match="primary is 'sales'"):
        hillstrom(packed, "sales")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a,b\n1,2\n", "misses .*expected Hillstrom's columns"),
        (b"", "is not a CSV that can be read"),
        (b"\xff\xfe\x00\x01", "is not a CSV that can be read"),
    ],
)
def test_another_file_is_not_hillstroms(tmp_path, content, sentence):
    (tmp_path / "trial.csv").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        hillstrom(tmp_path / "trial.csv")


def test_a_missing_trial_is_named(tmp_path):
    with pytest.raises(InputError, match=r"Hillstrom's trial .* does not exist"):
        hillstrom(tmp_path / "absent.csv")


CAMPAIGNS = [("all", 80, 38), ("men", 34, 46), ("women", 46, 46)]


@pytest.mark.parametrize(("campaign", "items", "clicks"), CAMPAIGNS)
def test_open_bandit_random_is_the_published_log(public_data, campaign, items, clicks):
    log = open_bandit(public_data("obd_small"), campaign)
    assert len(log) == 10_000
    assert len(log.schema.arms) == items
    np.testing.assert_allclose(log.propensity, 1 / items, rtol=1e-12)
    assert log.outcome("click").sum() == clicks
    assert set(log.slot) == {0, 1, 2}
    assert len(log.features) == 4


@pytest.mark.parametrize(("campaign", "clicks"), [("all", 42), ("men", 69), ("women", 46)])
def test_open_bandit_bts_is_the_published_log(public_data, campaign, clicks):
    log = open_bandit(public_data("obd_small"), campaign, "bts")
    assert len(log) == 10_000
    assert log.outcome("click").sum() == clicks
    assert log.propensity.min() < 1e-3  # it adapts


@pytest.mark.parametrize(("campaign", "items"), [("all", 80), ("men", 34), ("women", 46)])
def test_open_bandits_policy_is_a_distribution(public_data, campaign, items):
    policy = open_bandit_policy(public_data("obd_small"), campaign)
    assert policy.shape == (3, items)
    np.testing.assert_allclose(policy.sum(axis=1), 1, rtol=1e-9)
    assert policy.min() >= 0


def test_another_folder_is_not_open_bandit(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_bandit(tmp_path)
    with pytest.raises(InputError, match=r"action distribution .* does not exist"):
        open_bandit_policy(tmp_path)
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "random_all.parquet")
    with pytest.raises(InputError, match="misses"):
        open_bandit(tmp_path)
