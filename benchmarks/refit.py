"""What yesterday's model is worth to today's: warm starts against fits anew.

    python benchmarks/refit.py [SESSIONS [LOGS [LEARNERS [KINDS]]]]    sessions a day; "s,t,.."
    python benchmarks/refit.py prices [SESSIONS]      passes of the planner, with yesterday's prices

Two days of a simulated feed, with the same users on both. ``same``: one truth on both; ``shift``:
on the second three times as many users are disturbed by requests, more easily, and half as much
again is bought. Fitted on half of the users, as jobs do; judged by the second day's truth on fresh
users. Found is the true uplift of the best 10 and 20 % of decision points over that of a booster
fitted on the true uplift itself; error is the root mean square error of the uplift, per 1,000.
``both`` is one fit on the rows of both days. ``kept k``: yesterday's trees say k times what they
said, then as many trees of today on top as held-out folds ask for; 1 is a plain warm start, 0 is
today alone. ``chosen`` is what `uplift.refit` takes of these, at the price of all three. Seconds
are shares of those of kept 0.
"""

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before XGBoost loads: no spinning on shared cores

import sys
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from quality import best_of, true_uplift

from offline_eval.feed import FeedParams, simulate
from policy import Budget, Limits, plan_requests
from policy.planner.result import Prices
from uplift import BoostParams, FeatureEncoder, RequestLog, UpliftModel
from uplift.refit import KEEP as KEPT
from uplift.refit import refit

RATE = 10.0
TEST_SESSIONS = 40_000
PARAMS = BoostParams()
USUAL = FeedParams()
SHIFTED = FeedParams(disturbed_share=0.5, annoy=0.8, buy=1.5 * USUAL.buy)
KINDS = {"same": USUAL, "shift": SHIFTED}


def main(sessions: str = "60000", logs: str = "5", names: str = "s,t,x,dr,logit", kinds: str = ""):
    print(f"{'':>12}" + "".join(f"{h:>12}" for h in ("10 %", "20 %", "error", "seconds", "trees")))
    for kind in kinds.split(",") if kinds else KINDS:
        worlds = [world(int(sessions), seed, KINDS[kind]) for seed in range(int(logs))]
        for name in names.split(","):
            found = [dict(fits(name, *days)) for days, _ in worlds]
            rows = [
                {key: (*of(model), *rest) for key, (model, *rest) in fitted.items()}
                for fitted, (_, of) in zip(found, worlds, strict=True)
            ]
            tell(f"{name}, {kind}", rows)


def prices(sessions: str = "30000") -> None:
    """Print how many passes the planner takes on the second day, from nothing and from prices."""
    days = [day(int(sessions), 3, USUAL, number) for number in (0, 1)]
    fit, _ = days[0].split(share=0.5, seed=0)
    model = UpliftModel.fit(fit, "s", PARAMS)
    scores = [model.score(log.split(share=0.5, seed=0)[1]) for log in days]
    budget, limits = Budget.qps_share(0.125), Limits(per_page=2, min_gap=10)
    for minutes in (60, 240):
        seconds = {"window_seconds": 60.0 * minutes}
        before = plan_requests(scores[0], budget, limits, **seconds)
        for start in (None, Prices(before.price)):
            plan = plan_requests(scores[1], budget, limits, start=start, **seconds)
            told = "yesterday's prices" if start else "nothing"
            print(f"windows of {minutes} minutes, from {told}: {plan.iterations} passes")


def world(sessions: int, seed: int, second: FeedParams):
    """Return the fitted parts of both days, and how a model of the second is judged."""
    days = [day(sessions, seed, USUAL, 0), day(sessions, seed, second, 1)]
    parts = tuple(log.split(share=(0.5, 0.5), seed=0)[0] for log in days)
    test = simulate(TEST_SESSIONS, seed=1000 + seed, rate=RATE, params=second)
    truth = true_uplift(test)
    best = best_of(of_truth(days[1], test), truth)

    def judged(model: UpliftModel) -> tuple[float, float, float]:
        uplift = model.uplift(test)[:, 0]
        shares = [a.sum() / b.sum() for a, b in zip(best_of(uplift, truth), best, strict=True)]
        return *shares, 1000 * float(np.sqrt(np.mean((uplift - truth) ** 2)))

    return parts, judged


def day(sessions: int, seed: int, params: FeedParams, number: int) -> RequestLog:
    """Return one of two days; another truth leaves users and arrivals as they are."""
    log = simulate(2 * sessions, seed=seed, rate=RATE, days=2, params=params)
    dates = log.frame["timestamp"].to_numpy(dtype="datetime64[D]")
    return log.take(dates == np.unique(dates)[number])


def of_truth(log: RequestLog, test: RequestLog) -> np.ndarray:
    """Predict the true uplift by a booster that was fitted on it."""
    import xgboost as xgb

    encoder, truth = FeatureEncoder.fit(log), true_uplift(log)
    kinds = {"feature_types": list(encoder.types), "enable_categorical": True}
    matrix = xgb.QuantileDMatrix(encoder.transform(log.frame), truth / truth.std(), **kinds)
    options = PARAMS.to_xgboost() | {"min_child_weight": 100}
    return xgb.train(options, matrix, 300).inplace_predict(encoder.transform(test.frame))


def fits(name: str, first: RequestLog, second: RequestLog) -> Iterator[tuple]:
    """Yield, by name, each model with its seconds and its trees."""
    frame = pd.concat([first.frame, second.frame], ignore_index=True)
    old = timed(first, name)
    yield "yesterday", old
    yield "both", timed(RequestLog.unchecked(frame, first.schema), name)
    start = time.perf_counter()
    made = refit(old[0], second, keep=KEPT, params=PARAMS)
    seconds = time.perf_counter() - start
    for model, attempt in zip(made.models, made.attempts, strict=True):
        yield f"kept {attempt.keep:g}", (model, attempt.seconds, sum(attempt.rounds.values()))
    yield "chosen", (made.model, seconds, sum(made.chosen.rounds.values()))


def timed(log: RequestLog, name: str) -> tuple:
    start = time.perf_counter()
    model = UpliftModel.fit(log, name, PARAMS)
    seconds = time.perf_counter() - start
    return model, seconds, sum(b.rounds for b in model.learner.boosters_.values())


def tell(title: str, rows: list[dict[str, tuple]]) -> None:
    """Print means over the logs; seconds as shares of the fit on today alone."""
    print(f"{title} ({len(rows)} logs)")
    for key in rows[0]:
        table = np.array([found[key] for found in rows], dtype=float)
        table[:, 3] /= [found["kept 0"][3] for found in rows]
        mean, error = table.mean(axis=0), table.std(axis=0, ddof=1) / np.sqrt(len(table))
        told = "".join(f"{m:>7.3f} ({e:.3f})" for m, e in zip(mean[:3], error[:3], strict=True))
        print(f"{key:>12}{told}{mean[3]:>9.2f}{mean[4]:>9.0f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["prices"]:
        prices(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
