"""Overlap judged: sound, doubtful, refused, and for which reason."""

import numpy as np
import pytest

from offline_eval.diagnostics import Diagnostics, diagnose, tail_index
from offline_eval.estimators import Decisions
from uplift.randomisation import Check


def judged(target: np.ndarray, propensity: np.ndarray | float = 0.5) -> Diagnostics:
    n = len(target)
    return diagnose(
        Decisions(np.ones(n), np.broadcast_to(propensity, n).copy(), target, np.arange(n))
    )


def coin(n: int) -> np.ndarray:
    """Return logged-arm probabilities of a policy that does as every second row does."""
    return np.arange(n) % 2 * 1.0


def test_half_of_a_fair_coin_is_sound() -> None:
    found = judged(coin(2000))
    assert (found.verdict, found.reasons) == ("sound", ())
    assert found.n_effective == pytest.approx(1000)
    assert found.largest_share == pytest.approx(1 / 1000)
    assert found.mean_weight.value == pytest.approx(1.0)


def test_no_overlap_is_refused() -> None:
    found = judged(np.zeros(100))
    assert (found.verdict, found.n_effective) == ("refused", 0.0)
    assert "no overlap at all" in found.reasons[0]


def test_few_effective_rows_are_refused() -> None:
    found = judged(coin(80))
    assert found.verdict == "refused"
    assert found.reasons[0].startswith("Lack of overlap: the effective sample size is 40.0 of 80")


def test_the_floor_is_fifty_effective_rows() -> None:
    assert judged(coin(98)).verdict == "refused"
    assert judged(coin(102)).verdict == "sound"


def test_one_heavy_row_is_refused() -> None:
    propensity = np.full(1000, 0.5)
    propensity[1] = 0.5 / 200
    found = judged(coin(1000), propensity)
    assert found.verdict == "refused"
    assert any("one row carries 29% of the weight" in reason for reason in found.reasons)


def test_a_rather_heavy_row_is_doubtful() -> None:
    propensity = np.full(1000, 0.5)
    propensity[1] = 0.5 / 25
    found = judged(coin(1000), propensity)
    assert found.verdict == "doubtful"
    assert found.reasons == ("Thin overlap: one row carries 4.8% of the weight.",)


def test_thin_overlap_is_doubtful() -> None:
    target = np.zeros(100_000)
    target[:200] = 1.0
    found = judged(target, np.where(target > 0, 0.002, 1.0))
    assert found.verdict == "doubtful"
    assert "the effective sample size is 200 of 100,000" in found.reasons[0]


def test_mean_weight_far_from_one_is_refused() -> None:
    found = judged(coin(2000), 0.25)
    assert found.verdict == "refused"
    assert "mean weight is 2.00 and not 1" in found.reasons[0]


def test_mean_weight_a_little_off_is_doubtful() -> None:
    found = judged(coin(20_000), 0.5 / 1.1)
    assert found.verdict == "doubtful"
    assert found.reasons == ("The mean weight is 1.100; 1 was expected.",)


@pytest.mark.parametrize(("events", "verdict"), [(0, "refused"), (10, "doubtful"), (20, "sound")])
def test_few_events_are_no_evidence(events: int, verdict: str) -> None:
    reward = np.zeros(4000)
    reward[1 : 2 * events : 2] = 1.0
    found = diagnose(Decisions(reward, np.full(4000, 0.5), coin(4000), np.arange(4000)))
    assert (found.verdict, found.n_events) == (verdict, events)
    assert found.reasons == () or f"Only {events} non-zero outcomes" in found.reasons[0]


def test_hills_index_of_pareto_weights() -> None:
    rng = np.random.default_rng(0)
    for k in (0.3, 0.8, 1.5):
        found = np.mean([tail_index(rng.random(40_000) ** -k) for _ in range(20)])
        assert 0.65 * k < found < k


def test_weights_of_few_values_have_no_tail() -> None:
    assert tail_index(np.tile([0.0, 1.25, 5.0], 1000)) == 0.0
    assert tail_index(np.r_[np.ones(30), 1e6]) == 0.0  # too few to tell
    assert tail_index(np.repeat([1.1, 10.0], [20_000, 100])) == 0.0


def test_a_heavy_tail_is_doubtful_though_the_sample_looks_large() -> None:
    rng, n = np.random.default_rng(1), 40_000
    weight = 0.4 * rng.random(n) ** -0.6  # mean 1, without a variance
    heavy = judged(np.full(n, 0.3), 0.3 / weight)
    assert heavy.verdict == "doubtful"
    assert heavy.n_effective > 2000
    assert any("tail index" in reason for reason in heavy.reasons)


def test_joining_keeps_the_worse_verdict_and_its_reasons() -> None:
    doubt, refusal = Check("a", "doubtful", "A doubt."), Check("b", "refused", "A refusal.")
    sound = judged(coin(2000))
    assert sound.joined(Check("c", "sound", "Fine.")) is sound
    assert sound.joined(doubt).reasons == ("A doubt.",)
    refused = sound.joined(doubt).joined(refusal)
    assert (refused.verdict, refused.reasons) == ("refused", ("A refusal.",))
    assert refused.joined(doubt) == refused


@pytest.mark.parametrize(("users", "verdict"), [(1, "refused"), (5, "doubtful"), (50, "sound")])
def test_few_users_are_no_evidence(users: int, verdict: str) -> None:
    n = 4000
    cluster = np.arange(n) % users
    target = np.arange(n) // users % 2 * 1.0
    found = diagnose(Decisions(np.ones(n), np.full(n, 0.5), target, cluster))
    assert found.verdict == verdict
    assert found.largest_user_share == pytest.approx(1 / users, rel=0.01)
    assert found.reasons == () or any("user carries" in reason for reason in found.reasons)


def test_one_giant_among_small_users_is_doubtful() -> None:
    cluster = np.r_[np.arange(3000), np.full(1000, 3000)]
    found = diagnose(Decisions(np.ones(4000), np.full(4000, 0.5), coin(4000), cluster))
    assert found.verdict == "doubtful"
    assert "One user carries 25% of the weight" in found.reasons[0]


@pytest.mark.parametrize(
    "users",
    [np.arange(2000) + 10**15, -np.arange(2000), np.array([f"user {i}" for i in range(2000)])],
    ids=["large", "negative", "strings"],
)
def test_users_may_be_any_identifiers(users: np.ndarray) -> None:
    decisions = Decisions(np.ones(2000), np.full(2000, 0.5), coin(2000), users)
    assert diagnose(decisions) == judged(coin(2000))


def test_histogram_by_hand() -> None:
    """Weights 0, 0, 2 and 4: nothing, then two octaves."""
    found = judged(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.5, 0.5, 0.5, 0.25]))
    bins = [(b.lower, b.upper, b.rows) for b in found.histogram]
    assert bins == [(0.0, 0.0, 0.5), (1.0, 2.0, 0.25), (2.0, 4.0, 0.25)]
    np.testing.assert_allclose([b.weight for b in found.histogram], [0, 1 / 3, 2 / 3])
