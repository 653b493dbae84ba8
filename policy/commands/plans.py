"""Plans: made of scores, and judged by a randomised log."""

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
from policy.commands.shared import leave_if_held, read_log
from policy.console import print_summary, say, shown_stages
from uplift.errors import InputError
from uplift.files import check_writable

if TYPE_CHECKING:
    from policy.batch.parts import Parts
    from policy.bundle import Bundle
    from policy.job import Job

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

    from policy.batch.memory import fits, parse_memory
    from policy.batch.parts import Parts
    from policy.batch.plan import plan_parts
    from policy.budget import Budget
    from policy.bundle import Bundle
    from policy.loop import plan_part
    from policy.plan import plan_requests
    from policy.problem import Limits
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
    old, most, seconds = Bundle.load(bundle), parse_memory(memory), 60 * window_minutes
    schema, on_spark = old.model.schema, engine == "spark"
    parts = None if on_spark else Parts.of(scores)
    whole = parts is not None and fits(parts.rows, len(parts.schema), most)
    if out is not None and not whole:
        raise InputError(
            f"plan: {str(scores)!r} is not planned as a whole in {memory} of one machine, and "
            "--out writes decisions of what is; raise --memory, or leave --out out."
        )
    with shown_stages(as_json) as stages, stages.stage("plan") as step:
        if parts is None:
            from policy.spark.plan import plan_on_spark
            from policy.spark.session import spark_session

            made = plan_on_spark(
                spark_session(master),
                scores,
                schema,
                budget,
                limits,
                memory=most,
                window_seconds=seconds,
            )
        elif whole:
            table = Scores.read(scores, schema)
            made = plan_requests(
                table,
                budget,
                limits,
                window_seconds=seconds,
                progress=lambda i, upper, lower: step(i, 100),
            )
        else:
            made = plan_parts(
                parts,
                schema,
                budget,
                limits,
                memory=most,
                window_seconds=seconds,
                progress=step,
            )
    if out is not None:
        write_frame(table.log.frame.assign(arm=made.arm), out)
    # What is known of the old plan is not known of this one.
    kept: dict[str, Any] = {k: v for k, v in old.evidence.items() if k in ("model", "fitted")}
    replace(old, plan=made, evidence=kept).save(bundle)
    say({"bundle": str(bundle), **plan_part(made)}, as_json)


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
    from offline_eval.report import write_report
    from policy.batch.memory import fits, parse_memory
    from policy.batch.parts import Parts
    from policy.bundle import Bundle
    from policy.job import Job
    from policy.loop import report_on

    artefact, task = Bundle.load(bundle), Job() if job is None else Job.read(job)
    if all_users:
        artefact.evidence.pop("fitted", None)
    if out is not None:
        check_writable(out)
    if engine == "spark":
        from policy.spark.evaluate import evaluate_on_spark
        from policy.spark.session import spark_session
        from uplift.schema import LogSchema

        report = evaluate_on_spark(
            spark_session(master),
            bundle,
            log,
            LogSchema.read(schema),
            fixed_position=task.fixed_position,
            seed=seed,
            all_users=all_users,
        )
        _tell_values(report, out, as_json)
        return
    parts, most = Parts.of(log), parse_memory(memory)
    if not fits(parts.rows, len(parts.schema), most):
        _evaluate_parts(artefact, parts, schema, out, most, task, seed, as_json)
        return
    with shown_stages(as_json) as stages:
        report = report_on(
            artefact,
            read_log(log, schema, stages),
            rules=task.gate,
            fixed_position=task.fixed_position,
            seed=seed,
            stages=stages,
        )
    if out is not None:
        write_report(report, out)
    print_summary(report, as_json, out)
    leave_if_held(report)


def _evaluate_parts(
    artefact: "Bundle",
    parts: "Parts",
    schema: Path,
    out: Path | None,
    memory: int,
    task: "Job",
    seed: int,
    as_json: bool,
) -> None:
    """Evaluate what does not fit into memory: the values and their intervals, without the gate."""
    from policy.batch.evaluate import evaluate_parts
    from uplift.schema import LogSchema

    with shown_stages(as_json) as stages, stages.stage("evaluate") as step:
        report = evaluate_parts(
            artefact,
            parts,
            LogSchema.read(schema),
            memory=memory,
            fixed_position=task.fixed_position,
            seed=seed,
            progress=step,
        )
    _tell_values(report, out, as_json)


def _tell_values(report: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """Write and print a report of values alone."""
    import json

    from uplift.files import atomic_file

    if out is not None:
        with atomic_file(out / "report.json") as scratch:
            scratch.write_text(json.dumps(report, indent=1, allow_nan=False))
    print_summary(report, as_json, None)
