"""Learners fitted on Spark find what learners on one machine find."""

import numpy as np
import pytest

from offline_eval.feed import simulate
from policy.budget import Budget
from policy.bundle import Bundle
from policy.engine import DecisionEngine
from policy.plan import plan_requests
from policy.spark.fit import SPARK_LEARNERS, fit_on_spark
from uplift.boosting import BoostParams
from uplift.errors import InputError
from uplift.model import UpliftModel

PARAMS = BoostParams(max_rounds=20, max_depth=3, learning_rate=0.2, patience=5)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """A log of many purchases in two parts, and another one to look at."""
    log, folder = simulate(6_000, seed=11, rate=30), tmp_path_factory.mktemp("fit")
    for k, rows in enumerate(np.array_split(np.arange(len(log)), 2)):
        log.take(rows).write(folder / f"part-{k}.parquet")
    return folder, log, simulate(2_000, seed=12, rate=30)


def told_apart(model, log):
    """Correlation of a model's uplift with the true one."""
    truth = log.frame["true_purchase_10_1"] - log.frame["true_purchase_10_0"]
    return float(np.corrcoef(model.uplift(log)[:, 0], truth)[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("learner", SPARK_LEARNERS)
def test_a_learner_ranks_as_on_one_machine(spark, logs, learner, tmp_path):
    folder, log, test = logs
    model = fit_on_spark(spark, folder, log.schema, learner, PARAMS, workers=1)
    train = log.split(share=0.7, seed=0)[0]
    local = UpliftModel.fit(train, learner, PARAMS)
    found, expected = told_apart(model, test), told_apart(local, test)
    assert found > 0.6 * expected > 0
    # The size comes from a tenth of the users: four standard errors of a difference of two halves
    # of their rows, twice that for rows of one user are alike.
    rate, rows = log.outcome().mean(), 0.1 * len(train)
    error = 2 * np.sqrt(4 * rate * (1 - rate) / rows)
    truth = (test.frame["true_purchase_10_1"] - test.frame["true_purchase_10_0"]).mean()
    assert abs(model.uplift(test).mean() - truth) < 4 * error
    plan = plan_requests(model.score(test), Budget.share(0.05))
    Bundle(model, plan).save(tmp_path / "bundle")
    engine = DecisionEngine.load(tmp_path / "bundle")
    rows = test.frame[[*test.features]].head(200).to_dict("records")
    np.testing.assert_array_equal([engine.uplift(r) for r in rows], model.uplift(test)[:200])


def test_what_is_not_fitted_there_is_told(spark, logs, tmp_path):
    folder, log, _ = logs
    with pytest.raises(InputError, match="learner 'x' is not fitted on Spark"):
        fit_on_spark(spark, folder, log.schema, "x")
    log.frame.drop(columns="propensity").to_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match="no column 'propensity'"):
        fit_on_spark(spark, tmp_path / "log.parquet", log.schema)
