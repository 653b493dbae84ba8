"""Frontiers, and the requests saved at equal effect, by hand and on the simulated feed."""

import numpy as np
import pytest
from eval_policies import Threshold, handmade

from offline_eval.feed import simulate
from offline_eval.frontier import Frontier, frontier
from offline_eval.policies import Always, Never, Random, walk
from uplift.log import RequestLog


def two_kinds(**columns: object) -> tuple[RequestLog, np.ndarray]:
    """Return a log whose first half gains 4 by a request, the second 1; its model knows."""
    n = 400
    arm, good = np.arange(n) % 2, np.arange(n) < n // 2
    model = np.stack([np.full(n, 2.0), np.where(good, 6.0, 3.0)], axis=1)
    log = handmade(
        arm=arm,
        y=model[np.arange(n), arm],
        f_x=np.where(good, 1.0, -1.0),
        f_back=np.where(good, -1.0, 1.0),
        **columns,
    )
    return log, model


def by_hand(**columns: object) -> Frontier:
    log, model = two_kinds(**columns)
    family = [Always(), Threshold("f_x")]
    return frontier(log, family, name="hand", outcome=model, draws=50)


def test_frontier_by_hand() -> None:
    curve = by_hand()
    assert curve.requests.tolist() == [0.0, 0.5, 1.0]
    assert curve.gain == pytest.approx([0.0, 2.0, 2.5])
    assert (curve.lower <= curve.gain).all()
    assert (curve.gain <= curve.upper).all()
    assert (curve.lower[0], curve.upper[0]) == (0.0, 0.0)


def test_saving_by_hand() -> None:
    # The worse half alone gains 0.5 by 0.5 requests; the frontier gains it by 0.125.
    saving = by_hand(page=np.zeros(400, int)).saving(Threshold("f_back", name="worse"))
    assert saving.against == "worse"
    assert saving.reference_requests == pytest.approx(0.5)
    assert saving.requests == pytest.approx(0.125)
    assert saving.of_extra.value == pytest.approx(0.75)
    assert saving.of_all is not None  # each row is a page of its own
    assert saving.of_all.value == pytest.approx((0.5 - 0.125) / (1 + 0.5))
    # Whoever is drawn, 4 worse rows are worth 1 better; only the pages' share varies.
    assert (saving.of_extra.lower, saving.of_extra.upper) == pytest.approx((0.75, 0.75))
    assert saving.of_all.lower < 0.25 < saving.of_all.upper


def test_saving_between_two_policies_of_the_frontier() -> None:
    # Random at 0.9 gains 2.25: half of the way from the better half to all.
    saving = by_hand().saving(Random(0.9))
    assert saving.requests == pytest.approx(0.75)
    assert saving.of_extra.value == pytest.approx(1 - 0.75 / 0.9)


def test_share_of_all_requests_is_absent_without_pages() -> None:
    assert by_hand().saving(Random(0.5)).of_all is None


def test_reference_never_reached_saves_minus_infinity() -> None:
    log, model = two_kinds()
    curve = frontier(log, [Threshold("f_back")], name="worse half", outcome=model)
    saving = curve.saving(Always())
    assert saving.requests == np.inf
    assert saving.of_extra.value == -np.inf


def test_reference_that_never_asks_leaves_nothing_to_save() -> None:
    saving = by_hand(page=np.zeros(400, int)).saving(Never())
    assert (saving.reference_requests, saving.requests) == (0.0, 0.0)
    assert saving.of_all is not None
    for share in (saving.of_extra, saving.of_all):
        assert (share.lower, share.value, share.upper) == (0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def log() -> RequestLog:
    return simulate(8000, seed=6, rate=10)


@pytest.fixture(scope="module")
def curve(log: RequestLog) -> Frontier:
    family = [Threshold("f_clicks_20", level, name="clicks") for level in (2.5, -1, 1.5, 0.5)]
    return frontier(log, family, name="clicks", seed=1)


def test_frontier_rises_from_nothing(curve: Frontier) -> None:
    assert (curve.requests[0], curve.gain[0], curve.lower[0], curve.upper[0]) == (0, 0, 0, 0)
    assert (np.diff(curve.requests) > 0).all()
    assert curve.requests[-1] == pytest.approx(1.0)
    assert (curve.lower[1:] < curve.gain[1:]).all()
    assert (curve.gain[1:] < curve.upper[1:]).all()


def test_frontier_is_near_the_truth(log: RequestLog, curve: Frontier) -> None:
    uplift = log.outcome("true_purchase_10_1") - log.outcome("true_purchase_10_0")
    for k, level in enumerate((2.5, 1.5, 0.5, -1), start=1):
        asked = walk(Threshold("f_clicks_20", level), log)[:, 1]
        error = (curve.upper[k] - curve.lower[k]) / (2 * 1.96)
        assert abs(curve.gain[k] - (asked * uplift).mean()) < 4.5 * error


def test_nothing_is_saved_against_oneself(log: RequestLog, curve: Frontier) -> None:
    saving = curve.saving(Threshold("f_clicks_20", 0.5, name="itself"))
    assert saving.requests <= saving.reference_requests * (1 + 1e-9)
    assert saving.of_extra.lower <= 1e-9
    last = frontier(log, [Threshold("f_clicks_20", 0.5)], name="alone")
    alone = last.saving(Threshold("f_clicks_20", 0.5, name="itself"))
    for share in (alone.of_extra, alone.of_all):
        assert share is not None
        assert (share.lower, share.value, share.upper) == pytest.approx((0, 0, 0), abs=1e-9)


def test_same_seed_same_interval(log: RequestLog) -> None:
    family = [Threshold("f_clicks_20", 0.5)]
    first, second, other = (
        frontier(log, family, name="clicks", seed=seed, draws=40) for seed in (3, 3, 4)
    )
    assert first.upper.tolist() == second.upper.tolist()
    assert first.upper.tolist() != other.upper.tolist()


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """Gain 4 for the better half, 1 for the worse: the saving against the worse half is 3/4."""
    rng, runs, users = np.random.default_rng(5), 500, 600
    covered = np.zeros((runs, 2), dtype=bool)
    for run in range(runs):
        user = np.repeat(np.arange(users), 1 + rng.poisson(2, users))
        good, arm = rng.random(len(user)) < 0.5, rng.random(len(user)) < 0.5
        mood = rng.normal(0, 1, users)[user]
        noise = rng.normal(0, 0.5, len(user))
        log = handmade(
            user_id=user,
            arm=arm.astype(int),
            y=arm * np.where(good, 4.0, 1.0) + mood + noise,
            f_x=np.where(good, 1.0, -1.0),
            f_back=np.where(good, -1.0, 1.0),
        )
        curve = frontier(log, [Threshold("f_x"), Always()], name="world", seed=run)
        extra = curve.saving(Threshold("f_back"), seed=run).of_extra
        covered[run] = curve.lower[2] <= 2.5 <= curve.upper[2], extra.lower <= 0.75 <= extra.upper
    assert (np.abs(covered.mean(axis=0) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / runs)).all()
