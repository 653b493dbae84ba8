"""How well learners rank: share of the uplift that a model fitted on the truth finds.

    python benchmarks/quality.py feed [ROWS [RATE [NAMES [LOGS]]]]   simulated feed
    python benchmarks/quality.py hillstrom FILE [SPLITS [NAMES]]     NAMES: "ours s,..."

The feed: every learner is fitted on the same randomised log and ranks fresh users. Told is the true
uplift of its best 10 and 20 % of decision points over that of a booster fitted on the true uplift
itself, with 95 % intervals over the users ranked. They leave out the luck of a log; of several
logs also the mean, and by how much the first learner is above the others, with its error over logs.
The peers' learners get the same boosting parameters as ours and XGBoost's default of 100 rounds, as
they hold nothing out to choose others.
Hillstrom: women's e-mail against none, visits; 20 splits in halves, mean uplift@30 % and Qini area
on the other half.
"""

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before XGBoost loads: no spinning on shared cores

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from offline_eval.feed import simulate
from uplift import LEARNERS, BoostParams, FeatureEncoder, RequestLog, effect_scores, qini_curve
from uplift.clusters import ratio_estimate
from uplift.datasets import hillstrom as read_hillstrom

SHARES = (0.1, 0.2)
ROWS = (150_000, 600_000, 2_500_000)
RATES = (2.0, 20.0)  # about 1.7 and 17 purchases within 10 slots per 1,000 decision points
ROWS_PER_SESSION = 11.7
TEST_SESSIONS = 60_000
PARAMS = BoostParams()
PEER_ROUNDS = 100
OURS = ("auto", "s", "t", "x", "r", "dr", "logit", "class_transform", "proportional")


@dataclass(frozen=True)
class Trial:
    """A randomised log, encoded."""

    X: np.ndarray
    y: np.ndarray
    arm: np.ndarray
    propensity: np.ndarray
    user: np.ndarray
    types: tuple[str, ...]

    @classmethod
    def of(cls, log: RequestLog, encoder: FeatureEncoder) -> "Trial":
        """Encode a log."""
        X = encoder.transform(log.frame)
        arm = log.arm.astype(np.int64)
        return cls(X, log.outcome(), arm, log.propensity, log.cluster, encoder.types)

    def take(self, rows: np.ndarray) -> "Trial":
        """Return some of the rows."""
        columns = ("X", "y", "arm", "propensity", "user")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})


Ranker = Callable[[Trial, np.ndarray], np.ndarray]


def ours(name: str) -> Ranker:
    def rank(trial: Trial, X: np.ndarray) -> np.ndarray:
        learner = LEARNERS[name](PARAMS, feature_types=trial.types)
        learner.fit(trial.X, trial.y, trial.arm, propensity=trial.propensity, groups=trial.user)
        return learner.predict(X)[:, 0]

    return rank


def booster(kind: str, types: tuple[str, ...] | None = None):
    """Return an XGBoost estimator with our parameters; peers copy X without types."""
    import xgboost

    options = {k: v for k, v in PARAMS.to_xgboost().items() if k not in ("nthread", "seed")}
    return getattr(xgboost, kind)(n_estimators=PEER_ROUNDS, **options)


def causalml(name: str) -> Ranker:
    def rank(trial: Trial, X: np.ndarray) -> np.ndarray:
        import causalml.inference.meta as meta

        classify, regress = booster("XGBClassifier"), booster("XGBRegressor")
        p1 = np.where(trial.arm == 1, trial.propensity, 1 - trial.propensity)
        known = {"p": p1}
        make, options = {
            "S": (lambda: meta.BaseSClassifier(classify), {}),
            "T": (lambda: meta.BaseTClassifier(classify), {}),
            "X": (lambda: meta.BaseXClassifier(classify, regress), known),
            "R": (lambda: meta.BaseRClassifier(classify, regress), known),
            "DR": (lambda: meta.BaseDRLearner(regress), known),
        }[name]
        learner = make()
        learner.fit(X=trial.X, treatment=trial.arm, y=trial.y, **options)
        asked = {"p": np.full(len(X), p1.mean())} if name == "X" else {}
        return np.asarray(learner.predict(X, **asked)).ravel()

    return rank


def econml(name: str) -> Ranker:
    def rank(trial: Trial, X: np.ndarray) -> np.ndarray:
        from econml.dr import DRLearner
        from econml.metalearners import XLearner
        from sklearn.dummy import DummyClassifier

        regress = booster("XGBRegressor")
        make = {
            "X": lambda: XLearner(models=regress, propensity_model=DummyClassifier()),
            "DR": lambda: DRLearner(
                model_propensity=DummyClassifier(), model_regression=regress, model_final=regress
            ),
        }[name]
        learner = make()
        learner.fit(trial.y, trial.arm, X=known(trial.X))
        return np.asarray(learner.effect(known(X))).ravel()

    return rank


def known(X: np.ndarray) -> np.ndarray:
    """Put -1 for what is missing: econml takes no NaN."""
    return np.nan_to_num(X, nan=-1.0)


def sklift(name: str) -> Ranker:
    def rank(trial: Trial, X: np.ndarray) -> np.ndarray:
        import sklift.models as models

        make = {
            "Solo": lambda: models.SoloModel(booster("XGBClassifier")),
            "SoloInteraction": lambda: models.SoloModel(
                booster("XGBClassifier"), method="treatment_interaction"
            ),
            "TwoModels": lambda: models.TwoModels(
                booster("XGBClassifier"), booster("XGBClassifier")
            ),
            "TwoModelsDDR": lambda: models.TwoModels(
                booster("XGBClassifier"), booster("XGBClassifier"), method="ddr_control"
            ),
            "ClassTransformation": lambda: models.ClassTransformation(booster("XGBClassifier")),
        }[name]
        import pandas as pd

        frame = pd.DataFrame(trial.X).add_prefix("f")
        learner = make().fit(frame, trial.y, trial.arm)
        return np.asarray(learner.predict(pd.DataFrame(X).add_prefix("f")))

    return rank


RANKERS: dict[str, Ranker] = {
    **{f"ours {name}": ours(name) for name in OURS},
    **{f"causalml {name}": causalml(name) for name in ("S", "T", "X", "R", "DR")},
    **{f"econml {name}": econml(name) for name in ("X", "DR")},
    **{
        f"scikit-uplift {name}": sklift(name)
        for name in ("Solo", "SoloInteraction", "TwoModels", "TwoModelsDDR", "ClassTransformation")
    },
}


def only(names: str) -> None:
    """Leave out all learners but those named, if any are."""
    if names:
        for name in RANKERS.keys() - set(names.split(",")):
            del RANKERS[name]


def ranked(trial: Trial, X: np.ndarray) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield what every learner predicts of X, and the seconds it took; tell of those that fail."""
    for name, rank in RANKERS.items():
        start = time.perf_counter()
        with warnings.catch_warnings(action="ignore"):
            try:
                score = rank(trial, X)
            except Exception as error:  # a peer's own, whatever it is
                print(f"{name:>34}  {type(error).__name__}: {str(error)[:80]}", flush=True)
                continue
        yield name, score, time.perf_counter() - start


# --- the simulated feed ---------------------------------------------------------------------------


def feed(rows: str = "", rate: str = "", names: str = "", logs: str = "1") -> None:
    only(names)
    for n in [int(rows)] if rows else ROWS:
        for purchases in [float(rate)] if rate else RATES:
            cells = [cell(n, purchases, 2 * i + 1) for i in range(int(logs))]
            if len(cells) > 1:
                over_logs(cells)


def cell(n: int, rate: float, seed: int) -> dict[str, np.ndarray]:
    """Print, and return, the share that every learner finds of each of `SHARES`."""
    log = simulate(round(n / ROWS_PER_SESSION), seed=seed, rate=rate)
    test = simulate(TEST_SESSIONS, seed=seed + 1, rate=rate)
    encoder = FeatureEncoder.fit(log)
    trial, X, user = Trial.of(log, encoder), encoder.transform(test.frame), test.cluster
    truth, fitted_on = true_uplift(test), true_uplift(log)
    found = best_of(truth_model(trial, fitted_on, X), truth)
    rate_seen = 1000 * trial.y.mean()
    print(
        f"\n{len(log):,} rows, {rate_seen:.2f} purchases per 1,000; of a model fitted on the truth"
    )
    print(f"{'best':>34}  " + "".join(f"{s:>22.0%}" for s in SHARES) + "   seconds", flush=True)
    del log, test
    cells = {}
    for name, score, seconds in ranked(trial, X):
        shares = [
            ratio_estimate(a, b, user) for a, b in zip(best_of(score, truth), found, strict=True)
        ]
        told = "".join(f"   {e.value:.3f} [{e.lower:.3f}, {e.upper:.3f}]" for e in shares)
        print(f"{name:>34}  {told}{seconds:>10.1f}", flush=True)
        cells[name] = np.array([share.value for share in shares])
    return cells


def over_logs(cells: list[dict[str, np.ndarray]]) -> None:
    print(f"{f'mean over {len(cells)} logs | first above it (error)':>60}")
    names = [name for name in RANKERS if all(name in found for found in cells)]
    first = np.array([found[names[0]] for found in cells])
    for name in names:
        shares = np.array([found[name] for found in cells])
        above, error = (first - shares).mean(axis=0), (first - shares).std(axis=0, ddof=1)
        rows = zip(shares.mean(axis=0), above, error / np.sqrt(len(cells)), strict=True)
        print(f"{name:>34}  " + "".join(f"   {m:.3f} | {a:+.4f} ({e:.4f})" for m, a, e in rows))


def told_of(found: list[np.ndarray], truth: np.ndarray) -> str:
    return ", ".join(f"{best.sum() / truth.sum():.3f}" for best in found)


def true_uplift(log: RequestLog) -> np.ndarray:
    none, request = (log.frame[f"true_purchase_10_{a}"].to_numpy(np.float64) for a in (0, 1))
    return request - none


def truth_model(trial: Trial, truth: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Predict the true uplift by a booster that was fitted on it."""
    import xgboost as xgb

    kinds = {"feature_types": list(trial.types), "enable_categorical": True}
    scale = 1 / truth.std()
    matrix = xgb.QuantileDMatrix(trial.X, truth * scale, **kinds)
    options = PARAMS.to_xgboost() | {"min_child_weight": 100}
    return xgb.train(options, matrix, 300).inplace_predict(X)


def best_of(score: np.ndarray, truth: np.ndarray) -> list[np.ndarray]:
    """Return, for each share, the true uplift where the score is among the best, else 0."""
    place = np.empty(len(score))
    place[np.argsort(-score, kind="stable")] = np.arange(len(score))
    return [np.where(place < share * len(score), truth, 0.0) for share in SHARES]


# --- Hillstrom ------------------------------------------------------------------------------------


def hillstrom(path: str, splits: str = "20", names: str = "") -> None:
    only(names)
    log = read_hillstrom(path, "visit")
    women = log.schema.arms.index("womens") if "womens" in log.schema.arms else 2
    log = log.take(np.isin(log.arm, (0, women)))
    encoder = FeatureEncoder.fit(log)
    trial = Trial.of(log, encoder)
    trial = replace(trial, arm=(trial.arm > 0).astype(np.int64), propensity=np.full(len(log), 0.5))
    measured: dict[str, list[tuple[float, float]]] = {}
    for seed in range(int(splits)):
        half = np.random.default_rng(seed).permutation(len(trial.y)) < len(trial.y) // 2
        other = trial.take(~half)
        effect = effect_scores(other.y, other.arm, other.propensity, np.zeros((len(other.y), 2)))
        for name, score, _ in ranked(trial.take(half), other.X):
            curve = qini_curve(score.astype(np.float64), effect[:, 0], other.user, draws=2)
            measured.setdefault(name, []).append((curve.uplift_at[30].value, curve.area.value))
    print(
        f"{'mean over ' + splits + ' splits (its error)':>34}{'uplift@30 %':>20}{'Qini area':>20}"
    )
    for name, pairs in measured.items():
        table = np.array(pairs)
        mean, error = table.mean(axis=0), table.std(axis=0, ddof=1) / np.sqrt(len(table))
        told = "".join(f"{m:>11.4f} ({e:.4f})" for m, e in zip(mean, error, strict=True))
        print(f"{name:>34}{told}")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or ["feed"]
    {"feed": feed, "hillstrom": hillstrom}[command](*arguments)
