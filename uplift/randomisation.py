"""Whether the log looks randomised as its propensities say.

What is found here does not stop the reading: it warns, stands in the report, and stops under
``--strict``.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from uplift.arrays import BoolArray, IntArray
from uplift.log import RequestLog
from uplift.told_apart import told_apart

__all__ = ["Check", "Verdict", "check_randomisation"]

Verdict = Literal["sound", "doubtful", "refused"]

#: A sample-ratio test is failed below this p-value, shared among the arms and pages tested.
RATIO_P_VALUE = 1e-3
#: Features tell the arm apart when the AUC is away from 1/2 by this and by 4 standard errors.
LEAK_AUC = 0.01
_FEW_ROWS = 20


@dataclass(frozen=True)
class Check:
    """One judgement of a log: its name, the verdict and the sentence for the reader."""

    name: str
    verdict: Verdict
    sentence: str


def check_randomisation(log: RequestLog, seed: int = 0) -> list[Check]:
    """Judge whether the log looks like a randomised one.

    - Clusters and repeated rows: users are told apart, decision points are there once.
    - Sample ratio: under correct propensities ``mean(1{arm = a} / propensity)`` is 1 for every
      arm, overall, on every page and in every hour of the day; a two-sided z test, Bonferroni over
      the tests made.
    - Calibration, for two arms: the same where the logged chance of a request was alike, decile by
      decile, so that propensities wrong in both directions do not hide each other.
    - Propensity: told where the schema has them estimated.
    - Leak: with rows weighted by ``1 / propensity``, no classifier of the features can tell the
      arms apart; its held-out AUC is 1/2.
    """
    ratios = [
        _ratio_overall(log),
        _ratio_by(log, log.page, "page", "sample_ratio_by_page"),
        *_ratio_by_hour(log),
        *_calibration(log),
    ]
    known = [_estimated()] if log.schema.propensity == "estimate" else []
    return [*ratios, _leak(log, seed), _clusters(log), _repeated(log), *known]


def _estimated() -> Check:
    return Check(
        "propensity",
        "doubtful",
        "Propensities may be estimated from the features: gains are right only if nothing else "
        "decided who got which arm.",
    )


def _clusters(log: RequestLog) -> Check:
    column = log.schema.cluster
    if column in log.frame:
        return Check("clusters", "sound", f"Rows are clustered by {column!r}.")
    taken = "sessions" if "session_id" in log.frame else "single rows"
    return Check(
        "clusters",
        "doubtful",
        f"Column {column!r} is not in the log: {taken} are taken as users, and intervals are too "
        "narrow where one user has several.",
    )


def _repeated(log: RequestLog) -> Check:
    place = [c for c in ("session_id", "timestamp", "page", "position") if c in log.frame]
    if "session_id" not in place or "position" not in place:
        return Check("repeated_rows", "sound", "Without sessions and positions rows may repeat.")
    repeated = int(log.frame.duplicated(place).sum())
    if repeated == 0:
        return Check("repeated_rows", "sound", "Every decision point is there once.")
    return Check(
        "repeated_rows",
        "doubtful",
        f"{repeated:,} rows repeat the {', '.join(place)} of another: were they joined twice?",
    )


def _ratio_overall(log: RequestLog) -> Check:
    z = [_ratio_z(log, a, np.ones(len(log), bool)) for a in range(log.schema.n_arms + 1)]
    return _ratio_check("sample_ratio", z, [f"arm {a}" for a in range(len(z))])


def _ratio_by(log: RequestLog, cell: IntArray, what: str, name: str) -> Check:
    """Test every arm in every cell that has some rows of each."""
    arms = range(log.schema.n_arms + 1)
    rarest = np.array([np.bincount(cell, log.arm == a) for a in arms]).min(axis=0)
    cells = [(a, int(c)) for c in np.flatnonzero(rarest >= _FEW_ROWS) for a in arms]
    z = [_ratio_z(log, a, cell == c) for a, c in cells]
    return _ratio_check(name, z, [f"arm {a} on {what} {c}" for a, c in cells], what)


def _ratio_by_hour(log: RequestLog) -> list[Check]:
    """Test by hour of the day (UTC), where the log has times."""
    if "timestamp" not in log.frame:
        return []
    hour = log.frame["timestamp"].dt.hour.to_numpy()
    return [_ratio_by(log, hour, "hour", "sample_ratio_by_hour")]


def _calibration(log: RequestLog) -> list[Check]:
    """Test where the chance of a request was alike, where a row tells it: with two arms."""
    if log.schema.n_arms > 1:
        return []
    chance = np.where(log.arm == 1, log.propensity, 1 - log.propensity)
    edges = np.unique(np.quantile(chance, np.linspace(0.1, 0.9, 9)))
    decile = np.searchsorted(edges, chance, side="left")
    return [_ratio_by(log, decile, "propensity decile", "propensity_calibration")]


def _ratio_z(log: RequestLog, arm: int, rows: BoolArray) -> float:
    """Z of the mean ratio where the arm could be drawn.

    Its variance is that of the clusters, for arms may be drawn once a user; with two arms at
    least that of independent draws, which is known exactly.
    """
    hit, propensity = log.arm == arm, log.propensity
    if log.schema.n_arms > 1:
        drawn = np.isin(log.page, np.unique(log.page[hit]))
        chance = propensity
        possible = rows & drawn & (hit | (propensity < 1))
        least = 0.0
    else:
        chance = np.where(hit, propensity, 1 - propensity)
        possible = rows & (chance > 0)
        least = float((1 / chance[possible] - 1).sum())
    excess = hit[possible] / chance[possible] - 1
    clustered = np.bincount(log.cluster[possible], excess)
    variance = max(least, float(clustered @ clustered), 1e-12)
    return float(excess.sum() / np.sqrt(variance))


def _ratio_check(name: str, z: list[float], where: list[str], what: str = "log") -> Check:
    if not z:
        return Check(name, "sound", f"No {what} has {_FEW_ROWS} rows of every arm.")
    worst = int(np.argmax(np.abs(z)))
    p_value = min(1.0, 2 * norm.sf(abs(z[worst])) * len(z))
    if p_value >= RATIO_P_VALUE:
        return Check(name, "sound", f"Arms match the logged propensities (p = {p_value:.2g}).")
    return Check(
        name,
        "doubtful",
        f"Arms do not match the logged propensities: worst at {where[worst]}, z = {z[worst]:.1f} "
        f"(p = {p_value:.1g}); look for lost rows or wrongly logged propensities.",
    )


def _leak(log: RequestLog, seed: int) -> Check:
    aucs = [_leak_auc(log, a, seed) for a in range(1, log.schema.n_arms + 1)]
    auc, error = max(aucs, key=lambda pair: abs(pair[0] - 0.5) / max(LEAK_AUC, 4 * pair[1]))
    if abs(auc - 0.5) < max(LEAK_AUC, 4 * error):
        return Check("leak", "sound", f"Features do not tell the arm apart (AUC {auc:.3f}).")
    return Check(
        "leak",
        "doubtful",
        f"Features tell the arm apart (AUC {auc:.3f} +- {error:.3f}, expected 0.5): one of them "
        "is known only after the decision, or the randomisation is broken.",
    )


def _leak_auc(log: RequestLog, arm: int, seed: int) -> tuple[float, float]:
    """Held-out AUC of arm against none, and its standard error were there nothing to find."""
    rows = np.flatnonzero((log.arm == 0) | (log.arm == arm))
    part = log.take(rows)
    return told_apart(part, part.arm == arm, 1 / part.propensity, seed)
