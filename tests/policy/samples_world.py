"""A small world of decisions, events and snapshots, and the samples by brute force."""

import numpy as np
import pandas as pd

from uplift.schema import LogSchema

DAY = pd.Timestamp("2026-03-01", tz="UTC")
SCHEMA = LogSchema(
    arms=("none", "request"),
    arm_cost=(0.0, 1.0),
    outcomes=("purchase_5", "purchase_10", "gmv_10"),
    primary="purchase_10",
    features=("f_*", "c_*"),
    page_length=20,
)


def moments(rng, n, days=2.0):
    """Moments on a grid coarse enough to tie."""
    return DAY + pd.to_timedelta(rng.integers(0, int(days * 24 * 20), n) * 180, unit="s")


def decisions(rng, n=60):
    return pd.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(n)],
            "session_id": rng.integers(0, 8, n),
            "user_id": [f"u{u}" for u in rng.integers(0, 5, n)],
            "timestamp": moments(rng, n),
            "page": rng.integers(0, 3, n),
            "position": rng.integers(0, 20, n),
            "arm": rng.integers(0, 2, n),
            "propensity": 0.5,
            "f_logged": np.where(rng.random(n) < 0.5, rng.random(n), np.nan),
        }
    )


def events(rng, n=80):
    return pd.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(n)],
            "session_id": rng.integers(0, 10, n),
            "timestamp": moments(rng, n),
            "page": rng.integers(0, 3, n),
            "position": rng.integers(0, 20, n),
            "gmv": rng.random(n),
        }
    )


def snapshots(rng, n=50):
    time = moments(rng, n)
    return pd.DataFrame(
        {
            "user_id": [f"u{u}" for u in rng.integers(0, 7, n)],
            "timestamp": time,
            "arrived": time + pd.to_timedelta(rng.integers(-2, 20, n) * 180, unit="s"),
            "f_logged": rng.random(n),
            "f_age": np.arange(n, dtype=float),
            "c_kind": rng.choice(list("xyz"), n),
        }
    )


def outcomes_of(decision, events, settle):
    """(purchase_5, purchase_10, gmv_10) of one decision, by looking at every event."""
    place = decision["page"] * 20 + decision["position"]
    gap = events["page"] * 20 + events["position"] - place
    late = events["timestamp"] - decision["timestamp"]
    near = (events["session_id"] == decision["session_id"]) & (late >= pd.Timedelta(0))
    near &= (late <= settle) & (gap >= 0)
    five, ten = near & (gap < 5), near & (gap < 10)
    return float(five.any()), float(ten.any()), events.loc[ten, "gmv"].sum()


def snapshots_of(decision, snapshots, rules):
    """All snapshots of one decision that tie for the latest."""
    t = decision["timestamp"]
    known = (snapshots[rules.key] == decision[rules.key]) & (snapshots["timestamp"] <= t)
    if rules.ingested_at is not None:
        known &= snapshots[rules.ingested_at] <= t
    left = snapshots[known]
    left = left[left["timestamp"] == left["timestamp"].max()]
    if rules.ingested_at is not None:
        arrived = left[[rules.ingested_at, "timestamp"]].max(axis=1)
        left = left[arrived == arrived.max()]
    if rules.max_age is not None:
        left = left[t - left["timestamp"] <= rules.max_age]
    return left
