"""The simulated feed beside the published figures: ``python benchmarks/feed.py [SESSIONS]``.

Published: AdaRequest (KDD 2022, arXiv 2206.12296), Fig. click rate by position and Fig. Qini, and
the purchase rates of the production system that it describes (per mille, no against random
request).
"""

import resource
import sys
import time

import numpy as np
import pandas as pd

from offline_eval.feed import FeedParams, click_curve, simulate
from uplift.log import RequestLog

#: Purchase within the next n slots, per mille: without a request, with a random one.
PUBLISHED = {5: (0.482, 0.669), 10: (0.929, 1.294), 15: (1.344, 1.885), 20: (1.737, 2.427)}
#: Click rate at (page, position).
PUBLISHED_CLICKS = {(0, 0): 0.061, (0, 49): 0.033, (1, 0): 0.055, (1, 49): 0.022}
PUBLISHED_CLICKS |= {(2, 0): 0.045, (2, 49): 0.019, (3, 0): 0.039}
#: Share of all uplift held by the best points; published for AdaRequest's own ranking.
PUBLISHED_SHARE = {0.05: 0.46, 0.10: 0.72, 0.20: 0.88, 0.50: 1.02}


def purchases(log: RequestLog) -> pd.DataFrame:
    """Purchase rates per mille: true means, and realised ones weighted by 1 / propensity."""
    rows = []
    for n, (none, random) in PUBLISHED.items():
        true = [1e3 * log.outcome(f"true_purchase_{n}_{arm}").mean() for arm in range(2)]
        seen = [1e3 * _realised(log, f"purchase_{n}", arm) for arm in range(2)]
        rows.append([n, none, random, random / none, *true, true[1] / true[0], *seen])
    head = ["slots", "published none", "random", "ratio", "true none", "random", "ratio"]
    return pd.DataFrame(rows, columns=[*head, "realised none", "random"])


def uplift_shares(log: RequestLog) -> pd.DataFrame:
    """Share of all net uplift held by the points of greatest true uplift."""
    uplift = log.outcome("true_purchase_10_1") - log.outcome("true_purchase_10_0")
    curve = np.cumsum(np.sort(uplift)[::-1]) / uplift.sum()
    rows = [[s, p, curve[int(s * len(curve)) - 1]] for s, p in PUBLISHED_SHARE.items()]
    return pd.DataFrame(rows, columns=["share of points", "published (model)", "true ranking"])


def clicks(n_sessions: int, params: FeedParams | None = None) -> pd.DataFrame:
    """Click rates at the ends of pages, two slots together for a smaller error."""
    curve = click_curve(n_sessions, params=params).set_index(["page", "position"])
    rows = []
    for (page, position), published in PUBLISHED_CLICKS.items():
        pair = [(page, min(position, 48)), (page, min(position, 48) + 1)]
        near = curve.loc[pair, ["clicks", "views"]].sum()
        rows.append([page, position, published, near["clicks"] / near["views"]])
    return pd.DataFrame(rows, columns=["page", "position", "published", "simulated"])


def facts(log: RequestLog, n_sessions: int) -> pd.DataFrame:
    """Say how large the log is and how its uplift is spread."""
    uplift = log.outcome("true_purchase_10_1") - log.outcome("true_purchase_10_0")
    extra = (log.arm > 0).sum() / log.n_pages
    rows = {
        "decision points": f"{len(log):,}",
        "decision points a session": f"{len(log) / n_sessions:.1f}",
        "extra requests a page": f"{extra:.2f}",
        "negative uplift": f"{(uplift < 0).mean():.1%}",
        "no uplift": f"{(uplift == 0).mean():.1%}",
        "AUC of the truth, no request": f"{_auc(log):.3f}  (published, learned: 0.81)",
    }
    return pd.DataFrame(rows.items(), columns=["fact", "value"])


def _realised(log: RequestLog, outcome: str, arm: int) -> float:
    weight = (log.arm == arm) / log.propensity
    return float((weight * log.outcome(outcome)).sum() / weight.sum())


def _auc(log: RequestLog) -> float:
    """Chance that a point with a purchase has the higher true chance of it."""
    none = log.arm == 0
    bought = log.outcome("purchase_10")[none] > 0
    rank = pd.Series(log.outcome("true_purchase_10_0")[none]).rank().to_numpy()
    hits = bought.sum()
    return float((rank[bought].sum() - hits * (hits + 1) / 2) / (hits * (~bought).sum()))


def main(n_sessions: int, params: FeedParams | None = None) -> None:
    started = time.perf_counter()
    log = simulate(n_sessions, params=params)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tables = {
        "Purchases, per mille": purchases(log),
        "Uplift held by the best points": uplift_shares(log),
        "Click rate, no extra request": clicks(n_sessions, params),
        "The log": facts(log, n_sessions),
    }
    for title, table in tables.items():
        print(f"\n{title}\n{table.to_string(index=False, float_format='{:.3f}'.format)}")
    print(f"\n{len(log):,} rows in {seconds:.0f} s, peak memory {peak:.1f} GiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
