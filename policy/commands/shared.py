"""What several commands do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from policy.progress import Stages

if TYPE_CHECKING:
    from uplift.log import RequestLog

__all__ = ["HELD", "leave_if_held", "read_log"]

#: Exit code of `run` and `evaluate` where the gate holds the plan; bad input has 2.
HELD = 3


def read_log(path: Path, schema: Path, stages: Stages) -> "RequestLog":
    """Read a log whole, as a stage."""
    from uplift.log import RequestLog

    with stages.stage("read") as step:
        return RequestLog.read(path, schema, progress=step)


def leave_if_held(report: dict[str, Any]) -> None:
    """Leave with the exit code of a plan that must not go live."""
    if report["gate"]["verdict"] == "held":
        raise typer.Exit(HELD)
