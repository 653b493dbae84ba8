"""Mass where the log has none, and test rows unlike those that were learned from."""

import numpy as np
import pytest
from eval_policies import handmade

from offline_eval.diagnostics import check_drift, check_support
from offline_eval.evaluation import evaluate
from offline_eval.feed import simulate
from offline_eval.policies import Always, Never, Random, walk
from uplift.log import RequestLog


def without_requests_on(page: int, share: float) -> RequestLog:
    """A log whose second page, a share of the rows, never drew a request."""
    rng, n = np.random.default_rng(0), 4000
    pages = (rng.random(n) < share).astype(int) * page
    drawn = rng.random(n) < 0.5
    arm = np.where(pages == page, 0, drawn).astype(int)
    propensity = np.where(pages == page, 1.0, 0.5)
    return handmade(arm=arm, propensity=propensity, page=pages, y=rng.random(n))


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.02, "doubtful"), (0.1, "refused"), (0.001, "sound")]
)
def test_a_gap_is_judged_by_its_mass(share: float, verdict: str) -> None:
    log = without_requests_on(1, share)
    check = check_support(log, walk(Always(), log))
    assert check.verdict == verdict
    if verdict != "sound":
        assert "most of them arm 'request' on page 1" in check.sentence
    assert check_support(log, walk(Never(), log)).verdict == "sound"


def test_an_evaluation_is_refused_for_its_gap() -> None:
    result = evaluate(without_requests_on(1, 0.1), Random(0.9))
    assert result.diagnostics.verdict == "refused"
    assert any("Support gap: 9" in reason for reason in result.diagnostics.reasons)
    assert result.value == {}


def test_halves_of_one_log_do_not_drift_and_other_times_do() -> None:
    log = simulate(3000, seed=2, rate=10)
    train, test = log.split(by="user_id", share=0.5, seed=0)
    assert check_drift(train, test).verdict == "sound"
    other = RequestLog.unchecked(
        test.frame.assign(f_clicks_20=test.frame["f_clicks_20"] + 3), test.schema
    )
    check = check_drift(train, other)
    assert check.verdict == "refused"
    assert "Features tell train from test" in check.sentence


def test_drift_looks_at_so_many_rows_of_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs larger than memory allows are not laid side by side whole."""
    seen: list[tuple[int, int]] = []

    def told(log: RequestLog, label: np.ndarray, weight: np.ndarray, seed: int) -> tuple:
        seen.append((len(log), int(label.sum())))
        assert weight[label].sum() == pytest.approx(weight[~label].sum())
        return 0.5, 0.01

    monkeypatch.setattr("offline_eval.diagnostics.drift.told_apart", told)
    monkeypatch.setattr("offline_eval.diagnostics.drift.MOST_ROWS", 400)
    train, test = simulate(400, seed=2).split(by="user_id", share=0.9, seed=0)
    assert check_drift(train, test).verdict == "sound"
    assert seen == [(400, 200)]
