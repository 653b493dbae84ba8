"""The command line. It holds no logic of its own: every command is a few calls of the API."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from policy.console import fail, in_brief, print_summary, say, shown_stages
from policy.names import Engine, Fsync
from policy.progress import Stages
from uplift.errors import InputError
from uplift.files import check_writable, existing_file
from uplift.names import CalibrationMethod, LearnerName

if TYPE_CHECKING:
    from policy.batch.parts import Parts
    from policy.bundle import Bundle
    from policy.job import Job
    from uplift.log import RequestLog

__all__ = ["app", "main"]

#: Exit code of `run` and `evaluate` where the gate holds the plan; bad input has 2.
HELD = 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learn the gain of an extra request, plan it under a QPS budget, prove it off-policy.",
)

LogPath = Annotated[Path, typer.Argument(help="Parquet file or folder.", metavar="LOG")]
SchemaOption = Annotated[Path, typer.Option("--schema", "-S", help="TOML beside the log.")]
BundleOption = Annotated[Path, typer.Option("--bundle", help="Bundle of a fitted model.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
MemoryOption = Annotated[str, typer.Option(help="Memory that the job may take.")]
SkipOption = Annotated[
    bool, typer.Option("--skip-corrupt", help="Leave out parts that cannot be read.")
]
EngineOption = Annotated[Engine, typer.Option(help="Where the job runs.")]
MasterOption = Annotated[
    str | None, typer.Option(help="Spark's master; by default what Spark is configured for.")
]
DayOption = Annotated[
    datetime | None,
    typer.Option(help="Rows of this day (UTC) alone.", formats=["%Y-%m-%d"]),
]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random.", min=0)]


def main() -> None:
    """Run the command line; bad input ends in one sentence and exit code 2."""
    # Threads that spin while they wait make every other process on the machine crawl.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror or error}.")
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.Abort:
        fail("stopped.")
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of the command line
            raise
        fail(error.format_message())
    sys.exit(code or 0)


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


@app.command()
def simulate(
    sessions: Annotated[int, typer.Option(help="Number of sessions.", min=1)],
    out: Annotated[Path, typer.Option(help="Parquet file to write.", metavar="LOG.parquet")],
    seed: SeedOption = 0,
    rate: Annotated[float, typer.Option(help="Multiplies the purchase rates.")] = 1.0,
    days: Annotated[int, typer.Option(help="Days that the log spans.", min=1)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Write a randomised log of the simulated feed and, beside it, its schema."""
    from offline_eval.feed import simulate as simulate_feed

    check_writable(out)
    with shown_stages(as_json) as stages:
        with stages.stage("simulate") as step:
            log = simulate_feed(sessions, seed=seed, rate=rate, days=days, progress=step)
        with stages.stage("write"):
            log.write(out)
            log.schema.write(out.with_suffix(".toml"))
    say({"rows": len(log), "log": str(out), "schema": str(out.with_suffix(".toml"))}, as_json)


@app.command()
def schema(log: LogPath) -> None:
    """Draft a schema for a log and print it; a person edits it."""
    from uplift.log import draft_schema

    print(draft_schema(log).to_toml(), end="")


@app.command()
def check(
    log: LogPath,
    schema: SchemaOption,
    strict: Annotated[bool, typer.Option(help="Fail at a doubtful randomisation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge a log: does it keep the contract, does it look randomised."""
    from policy.loop import judge_log

    with shown_stages(as_json) as stages:
        about = judge_log(_read_log(log, schema, stages), strict=strict, stages=stages)
    if as_json:
        say(about, as_json)
        return
    print(f"{about['rows']:,} decision points of {about['users']:,} users.")
    for item in about["checks"]:
        print(f"{item['verdict']:>9}  {item['name']}: {item['sentence']}")


@app.command()
def fit(
    log: LogPath,
    schema: SchemaOption,
    out: Annotated[Path, typer.Option(help="Bundle to write.", metavar="BUNDLE")],
    learner: Annotated[LearnerName, typer.Option(help="How to learn.")] = "s",
    share: Annotated[float, typer.Option(help="Share of users to fit on.")] = 0.7,
    calibration: Annotated[
        CalibrationMethod, typer.Option(help="How to set the size of the uplift right.")
    ] = "isotonic",
    memory: MemoryOption = "4GiB",
    engine: EngineOption = "local",
    master: MasterOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Fit an uplift model and measure its ranking on users held out.

    Of a log that does not fit into the memory, on as many of its users as do; on Spark, by all
    executors on all users, without the held-out curves.
    """
    from policy.batch.memory import parse_memory
    from policy.batch.parts import Parts
    from policy.batch.sample import read_users
    from policy.bundle import Bundle, check_target
    from policy.loop import held_out_curves
    from uplift.boosting import BoostParams
    from uplift.model import UpliftModel
    from uplift.schema import LogSchema

    check_target(out)
    most = parse_memory(memory)
    fitted = {"fitted": {"share": share, "seed": seed}}
    if engine == "spark":
        from policy.spark.fit import fit_on_spark
        from policy.spark.session import spark_session

        model = fit_on_spark(
            spark_session(master),
            log,
            LogSchema.read(schema),
            learner,
            BoostParams(seed=seed),
            calibration,
            share=share,
            seed=seed,
            memory=most,
        )
        Bundle(model, evidence=fitted).save(out)
        rounds = {name: b.rounds for name, b in model.learner.boosters_.items()}
        say({"bundle": str(out), "learner": learner, "rounds": rounds}, as_json)
        return
    with shown_stages(as_json) as stages:
        with stages.stage("read") as step:
            roles = LogSchema.read(schema)
            rows, users = read_users(Parts.of(log), roles, most, step)
        train, test = rows.split(share=share, seed=seed)
        with stages.stage("fit") as step:
            model = UpliftModel.fit(train, learner, BoostParams(seed=seed), calibration, step)
        about = held_out_curves(model, test, seed, stages)
    Bundle(model, evidence={"model": about, **fitted}).save(out)
    about.pop("curve")
    told = about if as_json else in_brief(about)
    say({"bundle": str(out), "rows": len(rows), "users_read": users, **told}, as_json)


@app.command()
def score(
    log: LogPath,
    bundle: BundleOption,
    out: Annotated[Path, typer.Option(help="Scores to write: a file, or a folder as LOG is.")],
    memory: MemoryOption = "4GiB",
    skip_corrupt: SkipOption = False,
    engine: EngineOption = "local",
    master: MasterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score every decision point of a log (which needs no arms or outcomes).

    Of a folder part by part: a job that was killed goes on where it stopped.
    """
    from dataclasses import asdict

    from policy.batch.memory import parse_memory
    from policy.batch.parts import Parts
    from policy.batch.score import score_parts
    from policy.bundle import Bundle
    from policy.manifest import model_digest, read_manifest

    check_writable(out)
    if engine == "spark":
        from policy.spark.score import score_on_spark
        from policy.spark.session import spark_session

        session = spark_session(master)
        rows = score_on_spark(session, bundle, log, out, skip_corrupt=skip_corrupt)
        say({"scores": str(out), "rows": rows}, as_json)
        return
    limit, digest = parse_memory(memory), model_digest(read_manifest(bundle))
    parts, model = Parts.of(log, skip_corrupt=skip_corrupt), Bundle.load(bundle).model
    with shown_stages(as_json) as stages, stages.stage("score") as step:
        scored = score_parts(
            model,
            parts,
            out,
            digest=digest,
            memory=limit,
            skip_corrupt=skip_corrupt,
            progress=step,
        )
    say({"scores": str(out), **asdict(scored)}, as_json)


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
            _read_log(log, schema, stages),
            rules=task.gate,
            fixed_position=task.fixed_position,
            seed=seed,
            stages=stages,
        )
    if out is not None:
        write_report(report, out)
    print_summary(report, as_json, out)
    _leave_if_held(report)


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
    _leave_if_held(report)


def _leave_if_held(report: dict[str, Any]) -> None:
    """Leave with the exit code of a plan that must not go live."""
    if report["gate"]["verdict"] == "held":
        raise typer.Exit(HELD)


@app.command()
def serve(
    bundle: Annotated[Path, typer.Argument(help="Bundle to serve.", metavar="BUNDLE")],
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    log: Annotated[Path | None, typer.Option(help="Folder to log decisions to.")] = None,
    fsync: Annotated[Fsync, typer.Option(help="When the log is synced.")] = "interval",
    segment_mb: Annotated[
        float, typer.Option(help="Megabytes of the log that become one Parquet file.", min=0.001)
    ] = 64.0,
    explore: Annotated[float, typer.Option(help="Share of decisions at random.")] = 0.0,
    qps: Annotated[
        str | None,
        typer.Option(
            help="Most extra requests per second; A,B,... by part of the UTC day; or plan."
        ),
    ] = None,
    redis: Annotated[str | None, typer.Option(help="Redis that instances share them in.")] = None,
    instances: Annotated[int, typer.Option(help="Instances that share them.", min=1)] = 1,
    shadow: Annotated[
        Path | None, typer.Option(help="Bundle that decides but does not act.")
    ] = None,
    admin_token: Annotated[
        Path | None, typer.Option(help="File with the token of /admin/reload.")
    ] = None,
    admin_anywhere: Annotated[
        bool, typer.Option("--admin-anywhere", help="Take /admin from other machines too.")
    ] = False,
) -> None:
    """Decide over HTTP, until SIGTERM."""
    from policy.service.build import build_service
    from policy.service.server import serve as listen
    from policy.service.server import token_of

    service = build_service(
        bundle,
        log=log,
        fsync=fsync,
        segment_mb=segment_mb,
        explore=explore,
        qps=qps,
        redis=redis,
        instances=instances,
        shadow=shadow,
        admin_token=token_of(admin_token),
        admin_anywhere=admin_anywhere,
    )

    def ready(address: str, taken: int) -> None:
        print(f"serving plan {service.engine.plan_version} on http://{address}:{taken}", flush=True)

    listen(service, host, port, ready=ready)


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="Bundle to export.", metavar="BUNDLE")],
    mlflow: Annotated[Path, typer.Option(help="MLflow model to write.", metavar="DIR")],
    as_json: JsonOption = False,
) -> None:
    """Write the bundle's model as an MLflow model, which scores as `score` does."""
    from policy.export import export_mlflow

    export_mlflow(bundle, mlflow)
    say({"model": str(mlflow)}, as_json)


@app.command()
def samples(
    decisions: Annotated[
        Path, typer.Argument(help="Folder of a decision log, or Parquet.", metavar="DECISIONS")
    ],
    schema: SchemaOption,
    out: Annotated[Path, typer.Option(help="Folder of the request log.", metavar="DIR")],
    events: Annotated[
        Path | None, typer.Option(help="What happened; by default as told to `serve`.")
    ] = None,
    snapshots: Annotated[Path | None, typer.Option(help="Features over time, as Parquet.")] = None,
    key: Annotated[str, typer.Option(help="Column that snapshots are found by.")] = "user_id",
    settle: Annotated[str, typer.Option(help="Time that outcomes may take.")] = "1h",
    max_age: Annotated[str | None, typer.Option(help="Greatest age of a snapshot.")] = None,
    ingested_at: Annotated[
        str | None, typer.Option(help="Column that says when a snapshot arrived.")
    ] = None,
    skip_corrupt: SkipOption = False,
    engine: EngineOption = "local",
    master: MasterOption = None,
    now: Annotated[
        datetime | None, typer.Option(help="Moment (UTC) by which days are complete.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Join decisions with what happened after and what was known before: the next log, by day."""
    from dataclasses import asdict

    from policy.samples.job import make_samples
    from policy.samples.rules import SampleRules, duration
    from uplift.schema import LogSchema

    rules = SampleRules(
        duration(settle), None if max_age is None else duration(max_age), key, ingested_at
    )
    by = None if now is None else now.replace(tzinfo=UTC)
    if engine == "spark":
        from policy.spark.samples import samples_on_spark
        from policy.spark.session import spark_session

        rows = samples_on_spark(
            spark_session(master),
            decisions,
            decisions / "events" if events is None else events,
            out,
            LogSchema.read(schema),
            rules,
            snapshots=snapshots,
            now=by,
            skip_corrupt=skip_corrupt,
        )
        say({"samples": str(out), "rows": rows}, as_json)
        return
    with shown_stages(as_json) as stages, stages.stage("samples") as step:
        made = make_samples(
            decisions,
            out,
            LogSchema.read(schema),
            rules,
            events=events,
            snapshots=snapshots,
            now=by,
            skip_corrupt=skip_corrupt,
            progress=step,
        )
    say({"samples": str(out), **asdict(made)}, as_json)


def _read_log(path: Path, schema: Path, stages: Stages) -> "RequestLog":
    from uplift.log import RequestLog

    with stages.stage("read") as step:
        return RequestLog.read(path, schema, progress=step)
