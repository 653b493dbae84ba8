"""Do 95 % intervals hold the truth 95 % of the time? All curves and their differences at once."""

from operator import attrgetter

import numpy as np
import pytest
from curve_logs import simulate

from uplift.clusters import Estimate
from uplift.curves import (
    CostCurve,
    CurveState,
    QiniCurve,
    TocCurve,
    budget_ratio,
    multi_arm_curve,
)

ROWS, SIMULATIONS = 4000, 400
BUDGETS, ARM_COSTS = np.linspace(0, 1.2, 41), np.array([1.0, 2.0])


def point(curve, name, at):
    return Estimate(getattr(curve, name)[at], curve.lower[at], curve.upper[at])


RANKED = {
    QiniCurve: {
        "area": attrgetter("area"),
        "auuc": attrgetter("auuc"),
        "uplift@5": lambda curve: curve.uplift_at[5],
        "uplift@20": lambda curve: curve.uplift_at[20],
        "gain at 50 %": lambda curve: point(curve, "gain", 50),
    },
    TocCurve: {
        "autoc": attrgetter("autoc"),
        "toc at 30 %": lambda curve: point(curve, "toc", 29),
    },
    CostCurve: {"aucc": attrgetter("aucc"), "cost curve": lambda curve: point(curve, "gain", 10)},
}


def estimates(log, draws=200, seed=0):
    """Every number that has an interval, by name; "-" for differences of two models."""
    found, (first, second) = {}, two_states(log, draws, seed)
    for curve, numbers in RANKED.items():
        a, b = curve.of(first), curve.of(second)
        found |= {name: number(a) for name, number in numbers.items()}
        found |= {f"- {name}": number(a - b) for name, number in numbers.items()}
    a, b = two_multi_arm_curves(log, draws, seed)
    for sign, curve in {"": a, "- ": a - b}.items():
        found |= {f"{sign}mean gain": curve.mean_gain, f"{sign}gain at 0.4": curve.gain_at(0.4)}
    return found | {"budget ratio at 0.6": budget_ratio(a, b, 0.6)}


def two_states(log, draws, seed):
    effect = log.effect[:, 0]
    for score in (log.u, log.noisy):
        yield CurveState.of(score, effect, log.user, cost=log.cost, draws=draws, seed=seed)


def two_multi_arm_curves(log, draws, seed):
    options = {"budgets": BUDGETS, "draws": draws, "seed": seed}
    for score in (log.u, log.noisy):
        gain = np.column_stack([score, 1.3 * log.v])
        yield multi_arm_curve(gain, ARM_COSTS, log.effect, log.user, **options)


@pytest.mark.slow
def test_intervals_cover():
    """3 binomial standard errors of 400 simulations around 95 %.

    The truth is read off 2 million rows without noise; where it is known (effect 2u at u uniform)
    that is within 1e-3: area 1/6, AUTOC 1/2, AUCC of cost 0.5 + u 7/12.
    """
    truth = {name: e.value for name, e in estimates(simulate(2_000_000, 10**6, noise=0), 0).items()}
    known = {"area": 1 / 6, "autoc": 1 / 2, "aucc": 7 / 12, "uplift@20": 1.8}
    for name, value in known.items():
        assert truth[name] == pytest.approx(value, abs=1e-3)
    hits = dict.fromkeys(truth, 0)
    for seed in range(SIMULATIONS):
        for name, e in estimates(simulate(ROWS, seed), seed=seed).items():
            hits[name] += bool(e.lower <= truth[name] <= e.upper)
    coverage = {name: count / SIMULATIONS for name, count in hits.items()}
    print(coverage)
    for name, share in coverage.items():
        assert abs(share - 0.95) < 3 * np.sqrt(0.95 * 0.05 / SIMULATIONS), name
