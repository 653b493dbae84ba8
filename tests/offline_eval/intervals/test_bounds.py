"""High-confidence bounds and the sequence that may be looked at every day."""

import numpy as np
import pytest

from offline_eval.intervals import (
    ConfidenceSequence,
    Ratio,
    RatioSums,
    bernstein_lower_bound,
    betting_lower_bound,
    lower_bound,
)
from uplift.errors import InputError

BOUNDS = [bernstein_lower_bound, betting_lower_bound]


def test_bernstein_by_hand() -> None:
    values = np.tile([0.0, 1.0], 500)
    log = np.log(2 / 0.05)
    expected = 0.5 - np.sqrt(2 * values.var(ddof=1) * log / 1000) - 7 * log / (3 * 999)
    assert bernstein_lower_bound(values) == pytest.approx(expected)


def test_betting_by_brute_force() -> None:
    """The wealth against a grid of means, bet by bet."""
    values = np.random.default_rng(0).beta(2, 5, 200)
    bets, mean, spread = [], 0.5, 0.25
    total, squares = 0.5, 0.25
    for i, x in enumerate(values, 1):
        bets.append(np.sqrt(2 * np.log(20) / (200 * spread)))
        total += x
        mean = total / (i + 1)
        squares += (x - mean) ** 2
        spread = squares / (i + 1)
    grid = np.linspace(0.001, 0.999, 999)
    pairs = list(zip(bets, values, strict=True))
    wealth = [np.prod([1 + min(b, 0.75 / m) * (x - m) for b, x in pairs]) for m in grid]
    least = grid[np.argmax(np.array(wealth) < 20)]
    assert abs(betting_lower_bound(values) - least) < 0.0011


@pytest.mark.parametrize("bound", BOUNDS)
def test_bounds_at_the_edges(bound: object) -> None:
    assert bound(np.zeros(100)) == 0.0  # type: ignore[operator]
    assert bound(np.zeros(0)) == 0.0  # type: ignore[operator]
    assert 0.9 < bound(np.ones(1000)) <= 1.0  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bernstein", "betting"])
def test_bounds_hold_for_rare_clustered_rewards(method: str) -> None:
    rng, runs, missed, widths = np.random.default_rng(1), 400, 0, []
    for _ in range(runs):
        user = np.repeat(np.arange(300), 4)
        weighted = (rng.random(300)[user] < 0.08) * (rng.random(1200) < 0.5) * 2.0
        low = lower_bound(weighted, user, largest=2.0, method=method)  # type: ignore[arg-type]
        missed += low > 0.08
        widths.append(0.08 - low)
    assert missed <= 0.05 * runs + 3 * np.sqrt(0.05 * 0.95 * runs)
    assert np.mean(widths) < (0.05 if method == "betting" else 0.08)


def test_betting_is_tighter_than_bernstein() -> None:
    values = (np.random.default_rng(2).random(2000) < 0.05).astype(float)
    assert betting_lower_bound(values) > bernstein_lower_bound(values)


def test_the_bound_of_equal_clusters_is_that_of_their_means() -> None:
    values, user = np.random.default_rng(3).random(400), np.repeat(np.arange(100), 4)
    means = values.reshape(100, 4).mean(axis=1)
    found = lower_bound(values, user, largest=1.0, method="bernstein")
    assert found == pytest.approx(bernstein_lower_bound(means))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"level": 1.0}, "level is 1.0"),
        ({"method": "magic"}, "method 'magic' is unknown"),
        ({"largest": np.inf}, "largest is inf"),
        ({"largest": 0.5}, r"values must lie in \[0, 0.5\]"),
        ({"values": np.array([0.5, np.nan])}, r"values must lie in \[0, 1\]"),
        ({"values": np.array([0.5, -0.1])}, r"values must lie in \[0, 1\]"),
    ],
)
def test_bad_bounds_are_told(changes: dict[str, object], sentence: str) -> None:
    arguments = {"values": np.array([0.5, 1.0]), "cluster": np.arange(2), "largest": 1.0}
    with pytest.raises(InputError, match=sentence):
        lower_bound(**(arguments | changes))  # type: ignore[arg-type]


def test_the_sequence_is_wider_than_one_look_and_narrows() -> None:
    values = np.random.default_rng(4).normal(0, 1, 4000)
    sequence = ConfidenceSequence(best_at=1000)
    states = [RatioSums.of((Ratio(values[:n]),), np.arange(n)) for n in (50, 500, 4000)]
    early, some, more = (sequence.at(state) for state in states)
    assert (early.lower, early.upper) == (-np.inf, np.inf)
    assert 0 < more.upper - more.value < some.upper - some.value
    assert more.upper > states[2].estimate().upper


@pytest.mark.slow
def test_the_sequence_covers_at_all_days_at_once() -> None:
    """Looked at on each of 60 days; the fixed-time interval, so used, fails far more often."""
    rng, runs = np.random.default_rng(5), 400
    outside = np.zeros(2)
    sequence = ConfidenceSequence(best_at=2000)
    for _ in range(runs):
        values = (rng.random(6000) < 0.1) / 0.1
        missed = np.zeros(2, bool)
        for n in range(100, 6001, 100):
            state = RatioSums.of((Ratio(values[:n]),), np.arange(n))
            for i, estimate in enumerate((sequence.at(state), state.estimate())):
                missed[i] |= not estimate.lower <= 1 <= estimate.upper
        outside += missed
    share = outside / runs
    assert share[0] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert share[1] > 0.15


def test_impossible_sequences_are_told() -> None:
    for arguments in ({"best_at": 0}, {"level": 1.0}, {"first": 1}):
        with pytest.raises(InputError, match="best_at is"):
            ConfidenceSequence(**arguments)  # type: ignore[arg-type]
