"""A small simulated log, and a model and scores of it, for all tests of the package."""

from collections.abc import Callable, Iterator

import pytest
from threadpoolctl import threadpool_limits

from offline_eval.feed import simulate
from uplift.boosting import BoostParams
from uplift.log import RequestLog
from uplift.model import UpliftModel
from uplift.scores import Scores


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Keep small boosters from waiting for busy cores."""
    import xgboost  # noqa: F401  (its threads exist from here on)

    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def feed_log() -> RequestLog:
    return simulate(2500, seed=1, rate=10)


@pytest.fixture(scope="session")
def feed_model(feed_log: RequestLog) -> UpliftModel:
    return UpliftModel.fit(feed_log, "t", BoostParams(max_rounds=25, n_threads=1))


@pytest.fixture(scope="session")
def feed_scores(feed_log: RequestLog, feed_model: UpliftModel) -> Scores:
    return feed_model.score(feed_log)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the command line in this process; gives exit code, standard output, standard error."""
    from policy.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["request-uplift", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call
