"""A bundle to serve, and bodies of decisions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy.budget import Budget
from policy.bundle import Bundle
from policy.plan import plan_requests
from policy.problem import Limits


@pytest.fixture(scope="session")
def bundle(feed_log, feed_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("service") / "bundle"
    limits = Limits(per_page=2, min_gap=10)
    plan = plan_requests(feed_model.score(feed_log), Budget.share(0.2), limits)
    Bundle(feed_model, plan).save(folder)
    return folder


@pytest.fixture(scope="session")
def points(feed_log) -> list[dict[str, Any]]:
    """Bodies of decisions."""
    some = feed_log.take(np.arange(300))
    table = some.frame[list(some.features)].to_dict("records")
    places = some.frame[["session_id", "page", "position"]].to_dict("records")
    clean = [{k: None if v != v else v for k, v in row.items()} for row in table]
    return [{"features": f} | place for f, place in zip(clean, places, strict=True)]
