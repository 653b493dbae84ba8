"""Whether the log looks randomised as its propensities say.

What is found here does not stop the reading: it warns, stands in the report, and stops under
``--strict``.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from uplift.arrays import BoolArray, FloatArray, IntArray
from uplift.hashing import hash_uniform
from uplift.log import RequestLog

__all__ = ["Check", "check_randomisation"]

Verdict = Literal["sound", "doubtful"]

#: A sample-ratio test is failed below this p-value, shared among the arms and pages tested.
RATIO_P_VALUE = 1e-3
#: Features tell the arm apart when the AUC is away from 1/2 by this and by 4 standard errors.
LEAK_AUC = 0.01
_LEAK_ROWS = 200_000
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
      arm, overall and on every page; a two-sided z test, Bonferroni over the tests made.
    - Propensity: told where the schema has them estimated.
    - Leak: with rows weighted by ``1 / propensity``, no classifier of the features can tell the
      arms apart; its held-out AUC is 1/2.
    """
    ratios = [_ratio_overall(log), _ratio_by_page(log)]
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


def _ratio_by_page(log: RequestLog) -> Check:
    rarest = np.array([np.bincount(log.page, log.arm == a) for a in range(log.schema.n_arms + 1)])
    pages = np.flatnonzero(rarest.min(axis=0) >= _FEW_ROWS)
    cells = [(a, int(p)) for p in pages for a in range(log.schema.n_arms + 1)]
    z = [_ratio_z(log, a, log.page == p) for a, p in cells]
    return _ratio_check("sample_ratio_by_page", z, [f"arm {a} on page {p}" for a, p in cells])


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


def _ratio_check(name: str, z: list[float], where: list[str]) -> Check:
    if not z:
        return Check(name, "sound", f"No page has {_FEW_ROWS} rows of every arm.")
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
    from sklearn.metrics import roc_auc_score

    from uplift.binned import BinnedRows
    from uplift.boosting import BoostedModel, BoostParams, BoostTask, train
    from uplift.features import FeatureEncoder

    rows = np.flatnonzero((log.arm == 0) | (log.arm == arm))
    if len(rows) > _LEAK_ROWS:
        rows = np.random.default_rng(seed).choice(rows, _LEAK_ROWS, replace=False)
    part = log.take(rows)
    encoder = FeatureEncoder.fit(part)
    X, y, weight = encoder.transform(part.frame), part.arm == arm, 1 / part.propensity
    fit = hash_uniform(part.cluster, seed) < 0.5  # one half of the users
    if min(np.unique(y[fit]).size, np.unique(y[~fit]).size) < 2:
        return 0.5, 0.5
    params = BoostParams(max_rounds=50, max_depth=3, learning_rate=0.2)
    task, index = BoostTask(y, "binary:logistic", weight), np.flatnonzero(fit)
    matrix = BinnedRows(X, encoder.types).matrix("one half", index)
    model = BoostedModel(train(task, matrix, index, params, params.max_rounds), encoder.types)
    auc = roc_auc_score(y[~fit], model.margin(X[~fit]), sample_weight=weight[~fit])
    sizes = [_kish(weight[~fit & (y == side)]) for side in (True, False)]
    error = np.sqrt((sum(sizes) + 1) / (12 * sizes[0] * sizes[1]))
    return float(auc), float(error * _design_effect(y[~fit], weight[~fit], part.cluster[~fit]))


def _design_effect(y: BoolArray, weight: FloatArray, cluster: IntArray) -> float:
    """Return how much wider errors are for arms that go together inside clusters, at least 1."""
    excess = weight * (y - np.average(y, weights=weight))
    clustered = np.bincount(cluster, excess)
    apart, together = float(excess @ excess), float(clustered @ clustered)
    return float(np.sqrt(max(1.0, together / max(apart, 1e-12))))


def _kish(weight: FloatArray) -> float:
    return float(weight.sum() ** 2 / (weight**2).sum())
