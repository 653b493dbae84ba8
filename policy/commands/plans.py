"""Plans: made of scores, and judged by a randomised log."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from policy.commands.app import (
    BundleOption,
    EngineOption,
    JsonOption,
    LogPath,
    MasterOption,
    MemoryOption,
    SchemaOption,
    SeedOption,
    app,
)
from policy.commands.shared import leave_if_held
from policy.console import print_summary, say, shown_stages
from policy.names import Engine
from uplift.errors import InputError
from uplift.files import check_writable

if TYPE_CHECKING:
    from policy.budget import Budget
    from policy.plan import RequestPlan
    from policy.problem import Limits
    from uplift.schema import LogSchema

__all__ = ["evaluate", "plan"]


@app.command()
def plan(
    scores: Annotated[Path, typer.Argument(help="Scores of `score`.", metavar="SCORES.parquet")],
    bundle: BundleOption,
    qps: Annotated[float | None, typer.Option(help="Budget: requests per second.")] = None,
    requests: Annotated[float | None, typer.Option(help="Budget: requests altogether.")] = None,
    share: Annotated[float | None, typer.Option(help="Budget: per decision point.")] = None,
    qps_share: Annotated[
        float | None, typer.Option(help="Budget: share of the mean page requests per second.")
    ] = None,
    traffic_share: Annotated[float, typer.Option(help="Share of the traffic in SCORES.")] = 1.0,
    window_minutes: Annotated[float, typer.Option(help="Length of a window.")] = 60.0,
    max_per_session: Annotated[int | None, typer.Option(help="Most requests a session.")] = None,
    max_per_page: Annotated[int | None, typer.Option(help="Most requests a page.")] = None,
    min_gap: Annotated[int, typer.Option(help="Least slots between two requests.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the hindsight decisions here.")] = None,
    memory: MemoryOption = "4GiB",
    engine: EngineOption = "local",
    master: MasterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan the requests of a scored log and put the prices into the bundle."""
    from dataclasses import replace

    from policy.batch.memory import parse_memory
    from policy.budget import Budget
    from policy.bundle import Bundle
    from policy.problem import Limits
    from policy.report_parts import plan_part
    from uplift.parquet import write_frame
    from uplift.scores import Scores

    amounts = {"qps": qps, "requests": requests, "share": share, "qps_share": qps_share}
    given = {kind: amount for kind, amount in amounts.items() if amount is not None}
    if len(given) != 1:
        raise InputError(
            f"plan: {len(given)} budgets given; expected one of --qps, --qps-share, "
            "--requests, --share."
        )
    budget = Budget(*next(iter(given.items())), traffic_share)  # type: ignore[arg-type]
    limits = Limits(max_per_session, max_per_page, min_gap)
    old = Bundle.load(bundle)
    schema, place = old.model.schema, (engine, master, parse_memory(memory))
    with shown_stages(as_json) as stages, stages.stage("plan") as step:
        asked = (scores, schema, budget, limits, 60 * window_minutes)
        made = _planned(*asked, *place, out is not None, step)
    if out is not None:
        write_frame(Scores.read(scores, schema).log.frame.assign(arm=made.arm), out)
    # What is known of the old plan is not known of this one.
    kept: dict[str, Any] = {k: v for k, v in old.evidence.items() if k in ("model", "fitted")}
    replace(old, plan=made, evidence=kept).save(bundle)
    say({"bundle": str(bundle), **plan_part(made)}, as_json)


def _planned(
    scores: Path,
    schema: "LogSchema",
    budget: "Budget",
    limits: "Limits",
    window_seconds: float,
    engine: Engine,
    master: str | None,
    memory: int,
    decided: bool,
    progress: Callable[[int, int], None],
) -> "RequestPlan":
    """Plan on this machine or on Spark."""
    options: dict[str, Any] = {"memory": memory, "window_seconds": window_seconds}
    if engine == "local":
        from policy.batch.plan import plan_scores

        options |= {"decided": decided, "progress": progress}
        return plan_scores(scores, schema, budget, limits, **options)
    from policy.spark.plan import plan_on_spark
    from policy.spark.session import spark_session

    if decided:
        raise InputError("plan: --out writes decisions of what one machine holds; leave it out.")
    return plan_on_spark(spark_session(master), scores, schema, budget, limits, **options)


@app.command()
def evaluate(
    log: LogPath,
    bundle: BundleOption,
    schema: SchemaOption,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, report.json.")] = None,
    all_users: Annotated[
        bool, typer.Option("--all-users", help="Keep users that `fit` may have seen.")
    ] = False,
    job: Annotated[
        Path | None, typer.Option(help="Job file whose [gate] judges.", metavar="JOB.toml")
    ] = None,
    memory: MemoryOption = "4GiB",
    engine: EngineOption = "local",
    master: MasterOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Estimate what the bundle's plan would have earned, on users that `fit` has not seen.

    Leaves with exit code 3 where the gate would hold it. A log that does not fit into the memory
    is evaluated user by user: values and requests of all policies, no curves and no gate.
    """
    from policy.batch.evaluate import evaluate_log
    from policy.batch.memory import parse_memory
    from policy.bundle import Bundle
    from policy.job import Job
    from uplift.schema import LogSchema

    artefact, task = Bundle.load(bundle), Job() if job is None else Job.read(job)
    roles = LogSchema.read(schema)
    options: dict[str, Any] = {"fixed_position": task.fixed_position, "seed": seed}
    if out is not None:
        check_writable(out)
    if engine == "spark":
        from policy.spark.evaluate import evaluate_on_spark
        from policy.spark.session import spark_session

        session = spark_session(master)
        report = evaluate_on_spark(session, bundle, log, roles, all_users=all_users, **options)
    else:
        if all_users:
            artefact.evidence.pop("fitted", None)
        with shown_stages(as_json) as stages:
            options |= {"rules": task.gate, "stages": stages, "memory": parse_memory(memory)}
            report = evaluate_log(artefact, log, roles, **options)
    _leave_report(report, out, as_json)


def _leave_report(report: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """Write and print a report; one of values alone has no page and no verdict."""
    import json

    from offline_eval.report import write_report
    from uplift.files import atomic_file

    whole = "gate" in report
    if out is not None and whole:
        write_report(report, out)
    elif out is not None:
        with atomic_file(out / "report.json") as scratch:
            scratch.write_text(json.dumps(report, indent=1, allow_nan=False))
    print_summary(report, as_json, out if whole else None)
    if whole:
        leave_if_held(report)
