"""Readers for public randomised trials, as request logs; the data is not part of the project."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from uplift.arrays import FloatArray
from uplift.errors import InputError
from uplift.files import existing_file
from uplift.log import RequestLog
from uplift.parquet import read_frame
from uplift.schema import LogSchema

__all__ = ["DATASETS", "hillstrom", "open_bandit", "open_bandit_policy"]

_HILLSTROM_ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")


def hillstrom(path: str | Path, outcome: str = "visit") -> RequestLog:
    """Read the MineThatData e-mail trial (2008): 64,000 people, two e-mails against none.

    Arms were drawn with equal probability 1/3; each e-mail costs one. Outcomes within two weeks:
    visit, conversion, spend (USD).

    Parameters
    ----------
    path : the publisher's CSV, gzipped or not
    outcome : the primary outcome

    Raises
    ------
    InputError
        The file is missing or has other columns.
    """
    outcomes = ("visit", "conversion", "spend")
    features = ("recency", "history", "mens", "womens", "zip_code", "newbie", "channel")
    try:
        frame = pd.read_csv(existing_file(path, "Hillstrom's trial"))
    except (ValueError, OSError) as error:
        raise InputError(f"{str(path)!r} is not a CSV that can be read ({error}).") from error
    missing = {*outcomes, *features, "segment"} - set(frame.columns)
    if missing:
        raise InputError(f"{str(path)!r} misses {sorted(missing)}; expected Hillstrom's columns.")
    if not frame["segment"].isin(_HILLSTROM_ARMS).all():
        raise InputError(f"{str(path)!r} has segments other than {list(_HILLSTROM_ARMS)}.")
    log = frame[[*features, *outcomes]].copy()
    log["user_id"] = np.arange(len(frame))
    log["arm"] = pd.Categorical(frame["segment"], list(_HILLSTROM_ARMS)).codes
    log["propensity"] = 1 / 3
    schema = LogSchema(
        arms=("none", "mens", "womens"),
        arm_cost=(0.0, 1.0, 1.0),
        outcomes=outcomes,
        primary=outcome,
        features=features,
    )
    return RequestLog(log, schema)


def open_bandit(
    folder: str | Path,
    campaign: str = "all",
    behavior: Literal["random", "bts"] = "random",
) -> RequestLog:
    """Read a file of the Open Bandit Dataset: items shown at three positions, clicks.

    The arms are the campaign's items (there is no "none": arm 0 is item 0, and every item spends
    one); the propensity is that of the logged item at its position. Source: arXiv 2008.07146.

    Parameters
    ----------
    folder : holds ``{random,bts}_{campaign}.parquet`` and ``bts_action_dist_{campaign}.csv``
    campaign : ``all``, ``men`` or ``women``
    behavior : the policy that logged
    """
    raw = read_frame(Path(folder) / f"{behavior}_{campaign}.parquet")
    missing = {"item_id", "position", "propensity_score", "click", "timestamp"} - set(raw.columns)
    if missing:
        raise InputError(
            f"{str(folder)!r} misses {sorted(missing)}; expected Open Bandit's columns."
        )
    items = int(raw["item_id"].max()) + 1
    users = [c for c in raw.columns if str(c).startswith("user_feature")]
    log = raw[users].copy()
    log["timestamp"] = raw["timestamp"]
    log["position"] = raw["position"].to_numpy().astype(np.int16) - 1
    log["arm"] = raw["item_id"].to_numpy().astype(np.int8)
    log["propensity"] = raw["propensity_score"].to_numpy(dtype=np.float64)
    log["click"] = raw["click"].to_numpy()
    schema = LogSchema(
        arms=tuple(f"item_{i}" for i in range(items)),
        arm_cost=(1.0,) * items,
        outcomes=("click",),
        primary="click",
        features=("user_feature_*",),
        page_length=3,
    )
    return RequestLog(log, schema)


def open_bandit_policy(folder: str | Path, campaign: str = "all") -> FloatArray:
    """Read BernoulliTS' distribution over items at each position, shape (positions, items)."""
    path = existing_file(Path(folder) / f"bts_action_dist_{campaign}.csv", "action distribution")
    table = pd.read_csv(path, index_col="item_id")
    return table.sort_index()[["pos1", "pos2", "pos3"]].to_numpy(dtype=np.float64).T


#: Trials that a job may name as its log.
DATASETS = {"hillstrom": hillstrom}
