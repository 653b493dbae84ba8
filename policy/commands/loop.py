"""The whole loop: once, and again for each new day."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from policy.commands.app import (
    DayOption,
    JsonOption,
    app,
)
from policy.commands.shared import leave_if_held
from policy.console import print_summary, say, shown_stages
from uplift.files import existing_file

if TYPE_CHECKING:
    from policy.bundle import Bundle
    from policy.job import Job

__all__ = ["refit", "run"]


@app.command()
def run(
    job: Annotated[Path | None, typer.Argument(help="Job file.", metavar="[JOB.toml]")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the bundle and the report.")] = Path("runs"),
    sessions: Annotated[int | None, typer.Option(help="Sessions to simulate.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.", min=0)] = None,
    day: DayOption = None,
    strict: Annotated[bool, typer.Option(help="Stop at a doubtful randomisation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop: log, fit, plan, evaluate, gate, report; by default on a simulated feed.

    A plan that the gate holds leaves with exit code 3; its bundle is `held`, not `bundle`.
    """
    from dataclasses import replace

    from policy.bundle import check_target
    from policy.job import Job
    from policy.loop import run_job

    task = _on_day(Job.read(job) if job is not None else Job(), day)
    task = replace(task, strict=task.strict or strict)
    if seed is not None:
        task = replace(task, seed=seed)
    if sessions is not None:
        task = replace(task, log=replace(task.log, sessions=sessions))
    folder = out / (job.stem if job is not None else "simulated")
    for name in ("bundle", "held"):
        check_target(folder / name)
    with shown_stages(as_json) as stages:
        bundle, report = run_job(task, stages)
    _leave_behind(bundle, report, folder, folder / "bundle", as_json)


@app.command()
def refit(
    job: Annotated[Path, typer.Argument(help="Job file.", metavar="JOB.toml")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle and the report.")] = Path("runs"),
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to go on from; that of `run` by default.")
    ] = None,
    day: DayOption = None,
    strict: Annotated[bool, typer.Option(help="Stop at a doubtful randomisation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Refit yesterday's bundle to a new day of log; it stays in place unless the gate says yes.

    A plan that the gate holds leaves with exit code 3; its bundle is `held`. A log that the bundle
    has learned from changes nothing.
    """
    from dataclasses import replace

    from policy.bundle import check_target
    from policy.job import Job
    from policy.refit import refit_job

    task, folder = _on_day(Job.read(job), day), out / job.stem
    live = existing_file(folder / "bundle" if bundle is None else bundle, "bundle")
    for target in (live, folder / "held"):
        check_target(target)
    with shown_stages(as_json) as stages:
        made = refit_job(replace(task, strict=task.strict or strict), live, stages)
    if made is None:
        say({"bundle": str(live), "unchanged": "it has learned from this log already"}, as_json)
        return
    _leave_behind(*made, folder, live, as_json)


def _on_day(job: "Job", day: datetime | None) -> "Job":
    """Return the job on the rows of one day, if one is named."""
    from dataclasses import replace

    return job if day is None else replace(job, log=replace(job.log, day=day.date()))


def _leave_behind(
    bundle: "Bundle", report: dict[str, Any], folder: Path, live: Path, as_json: bool
) -> None:
    """Write bundle and report: the bundle in the place of the live one only if published."""
    from offline_eval.report import write_report

    held = report["gate"]["verdict"] == "held"
    bundle.save(folder / "held" if held else live)
    write_report(report, folder)
    print_summary(report, as_json, folder)
    leave_if_held(report)
