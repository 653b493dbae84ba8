"""Weightings at their limits, and the threshold that a log chooses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_eval.estimators import (
    DR,
    IPS,
    Clip,
    Decisions,
    Plain,
    Shrink,
    SubGaussian,
    Switch,
    Tuned,
    dm,
    dr,
    ips,
)
from uplift.errors import InputError

WEIGHT = np.array([0.0, 0.5, 1.0, 4.0])


def heavy(rng: np.random.Generator, n: int = 2000) -> Decisions:
    """Rows of which some weigh 100; a model that is a little off."""
    rare = rng.random(n) < 0.5
    hit = rng.random(n) < np.where(rare, 0.01, 0.5)
    propensity = np.where(hit, np.where(rare, 0.01, 0.5), np.where(rare, 0.99, 0.5))
    mean = 0.3 + 0.4 * hit
    model = mean + 0.02
    reward = (rng.random(n) < mean).astype(np.float64)
    return Decisions(
        reward, propensity, hit.astype(np.float64), np.arange(n), model, np.full(n, 0.72)
    )


def test_weights_by_hand() -> None:
    np.testing.assert_allclose(Clip(2.0)(WEIGHT), [0, 0.5, 1, 2])
    np.testing.assert_allclose(Switch(1.0)(WEIGHT), [0, 0.5, 1, 0])
    np.testing.assert_allclose(Shrink(1.0)(WEIGHT), [0, 0.4, 0.5, 4 / 17])
    np.testing.assert_allclose(SubGaussian(0.5)(WEIGHT), [0, 0.5 / 0.75, 1, 4 / 2.5])


@settings(derandomize=True, max_examples=60)
@given(st.floats(0, 1e3), st.floats(0, 50))
def test_weightings_never_enlarge_a_heavy_weight(weight: float, limit: float) -> None:
    one = np.array([weight])
    for changed in (Clip(limit)(one), Switch(limit)(one), Shrink(limit)(one)):
        assert 0 <= changed[0] <= weight * (1 + 1e-12)
    if weight >= 1:
        assert 1 - 1e-9 <= SubGaussian(min(limit, 50) / 50)(one)[0] <= weight * (1 + 1e-9)


def test_limits_of_the_doubly_robust_family() -> None:
    decisions = heavy(np.random.default_rng(0))
    for none in (Switch(0.0), Shrink(0.0)):
        assert DR(none).value(decisions) == pytest.approx(dm.value(decisions))
    for all_of_it in (Switch(np.inf), Shrink(1e12), SubGaussian(0.0), Clip(np.inf)):
        assert DR(all_of_it).value(decisions) == pytest.approx(dr.value(decisions))


@pytest.mark.parametrize(
    "make", [lambda: Clip(-1.0), lambda: Switch(np.nan), lambda: Shrink(-2), lambda: SubGaussian(2)]
)
def test_impossible_thresholds_are_told(make: object) -> None:
    with pytest.raises(InputError, match="expected a number in"):
        make()  # type: ignore[operator]


def test_the_mse_rule_is_the_formula() -> None:
    decisions, log = heavy(np.random.default_rng(1)), np.log(2 / 0.05)
    candidates = (Clip(2.0), Clip(20.0), Clip(200.0))
    weight, n = decisions.weight, 2000
    slack = np.sqrt(2 * np.mean(weight**2) * log / n) + 2 * weight.max() * log / (3 * n)
    scores = []
    for clip in candidates:
        score = np.minimum(weight, clip.limit) * decisions.reward
        bias = abs(np.mean((weight - np.minimum(weight, clip.limit)) * decisions.reward))
        scores.append(score.var(ddof=1) / n + (bias + slack) ** 2)
    assert Tuned(IPS(), candidates).fixed(decisions) == IPS(candidates[int(np.argmin(scores))])


@pytest.mark.parametrize("rule", ["mse", "slope"])
def test_tuning_beats_ips_where_weights_are_heavy(rule: str) -> None:
    rng, truth = np.random.default_rng(2), 0.7
    tuned = Tuned(DR(), (*(Shrink(s) for s in (0.0, 1.0, 10.0, 1e3)), Plain()), rule)
    errors = np.array(
        [
            [tuned.value(d) - truth, ips.value(d) - truth]
            for d in (heavy(rng, 500) for _ in range(100))
        ]
    )
    tuned_error, ips_error = (errors**2).mean(axis=0)
    assert tuned_error < ips_error / 2


def test_slope_keeps_the_unbiased_end_where_the_model_is_wrong() -> None:
    decisions = heavy(np.random.default_rng(3), 20_000)
    wrong = Decisions(
        *(decisions.reward, decisions.propensity, decisions.target, decisions.cluster),
        np.full(20_000, 5.0),
        np.full(20_000, 5.0),
    )
    chosen = Tuned(DR(), (Shrink(0.0), Shrink(1e9)), "slope").fixed(wrong)
    assert chosen == DR(Shrink(1e9))


def test_bad_tuning_is_told() -> None:
    with pytest.raises(InputError, match="at least one weighting"):
        Tuned(IPS(), ())
    with pytest.raises(InputError, match="rule 'best' is unknown"):
        Tuned(IPS(), (Plain(),), "best")  # type: ignore[arg-type]
