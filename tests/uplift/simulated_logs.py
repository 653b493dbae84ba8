"""Small randomised logs with known truth, for the tests of `uplift`."""

from typing import Any

import numpy as np
import pandas as pd

from uplift import BoostParams, LogSchema, RequestLog

#: Few and quick trees on one thread: the tests share their cores.
QUICK = BoostParams(max_rounds=40, max_depth=3, learning_rate=0.2, patience=5, n_threads=1)


def make_schema(**changes: Any) -> LogSchema:
    roles: dict[str, Any] = {
        "arms": ("none", "request"),
        "arm_cost": (0.0, 1.0),
        "outcomes": ("purchase_10", "gmv_10"),
        "primary": "purchase_10",
        "features": ("f_*", "c_*"),
        "categorical": ("c_*",),
    }
    return LogSchema(**{**roles, **changes})


def make_frame(
    n_users: int = 300, rows_per_user: int = 6, seed: int = 0, n_arms: int = 1
) -> pd.DataFrame:
    """Rows of users who see two pages; arms are drawn with another chance on each page.

    The purchase rate is 0.2, and 0.2 higher under any arm where ``f_step`` is positive.
    """
    rng = np.random.default_rng(seed)
    n = n_users * rows_per_user
    user = np.repeat(np.arange(n_users), rows_per_user)
    place = np.tile(np.arange(rows_per_user), n_users)
    page = (place % 2).astype(np.int16)
    treated = np.where(page == 0, 0.5, 0.3)
    arm = np.where(rng.random(n) < treated, rng.integers(1, n_arms + 1, n), 0).astype(np.int8)
    step = rng.normal(size=n)
    truth = 0.2 * (step > 0)
    y = (rng.random(n) < 0.2 + truth * (arm > 0)).astype(float)
    return pd.DataFrame(
        {
            "session_id": user + 1000,
            "user_id": user,
            "timestamp": pd.Timestamp("2024-05-01")
            + pd.to_timedelta(rng.integers(0, 86_400, n), unit="s"),
            "page": page,
            "position": (place // 2).astype(np.int16),
            "arm": arm,
            "propensity": np.where(arm > 0, treated / n_arms, 1 - treated),
            "purchase_10": y,
            "gmv_10": y * rng.gamma(2, 10, n),
            "f_step": step,
            "f_noise": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "c_kind": pd.Categorical.from_codes(rng.integers(0, 3, n), ["a", "b", "c"]),
            "true_uplift": truth,
        }
    )


def make_log(**options: Any) -> RequestLog:
    n_arms = options.get("n_arms", 1)
    arms = ("none", *(f"request_{a}" for a in range(1, n_arms + 1)))
    cost = (0.0, *(1.0 for _ in arms[1:]))
    return RequestLog(make_frame(**options), make_schema(arms=arms, arm_cost=cost))


def shuffled(frame: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)
