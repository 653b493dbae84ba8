"""The whole loop on the Hillstrom trial, through the example job."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy.job import Job
from policy.loop import run_job

EXAMPLE = Path(__file__).parents[1] / "examples" / "hillstrom.toml"


@pytest.fixture(scope="module", params=["visit", "spend"])
def report(request: pytest.FixtureRequest, public_data: Callable[[str], Path]) -> dict[str, Any]:
    job = Job.read(EXAMPLE)
    path = public_data("hillstrom/hillstrom.csv.gz")
    source = replace(job.log, path=path, outcome=request.param)
    return run_job(replace(job, log=source))[1]


def test_every_policy_stands_beside_the_plan(report: dict[str, Any]) -> None:
    names = ["plan", "never", "always_mens", "always_womens", "random", "purchase_probability"]
    assert list(report["value"]) == names
    assert all(value["verdict"] == "sound" for value in report["value"].values())
    assert report["warnings"] == []


def test_budget_is_kept(report: dict[str, Any]) -> None:
    plan = report["plan"]
    assert plan["spend"] <= 0.3 * plan["decision_points"]
    # 15 % of the people set the price and 35 % are asked: 4 standard errors of the difference.
    spread = 4 * np.sqrt(0.3 * 0.7 / 64_000 * (1 / 0.15 + 1 / 0.35))
    assert abs(report["value"]["plan"]["requests"]["value"] - 0.3) < spread


def test_treat_all_covers_the_trial_means(report: dict[str, Any]) -> None:
    # The trial's plain means over all 64,000 people, as the publisher's file gives them.
    means = {"visit": (0.1062, 0.1828, 0.1514), "spend": (0.6528, 1.4226, 1.0772)}
    for name, mean in zip(
        ("never", "always_mens", "always_womens"), means[report["log"]["primary"]], strict=True
    ):
        value = report["value"][name]["dr"]
        # A third of the people evaluates: their interval must reach the whole trial's mean, within
        # 4 / 1.96 of its half width.
        assert abs(value["value"] - mean) < 4 / 1.96 * (value["upper"] - value["value"])


def test_the_plan_gains(report: dict[str, Any]) -> None:
    if report["log"]["primary"] == "visit":
        assert report["value"]["plan"]["gain"]["lower"] > 0


def test_what_does_not_apply_is_absent(report: dict[str, Any]) -> None:
    assert "against_fixed" not in report["saving_at_equal_effect"]
    assert "of_all" not in report["saving_at_equal_effect"]["against_random"]
    assert "page_requests" not in report["log"]
    assert all("horizon" not in row for row in report["purchase_rates"])
