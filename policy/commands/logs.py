"""Logs: simulated, described, judged, joined from what a service noted."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from policy.commands.app import (
    EngineOption,
    JsonOption,
    LogPath,
    MasterOption,
    SchemaOption,
    SeedOption,
    SkipOption,
    app,
)
from policy.commands.shared import read_log
from policy.console import say, shown_stages
from uplift.files import check_writable

if TYPE_CHECKING:
    pass

__all__ = ["check", "samples", "schema", "simulate"]


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
    from policy.report_parts import judge_log

    with shown_stages(as_json) as stages:
        about = judge_log(read_log(log, schema, stages), strict=strict, stages=stages)
    if as_json:
        say(about, as_json)
        return
    print(f"{about['rows']:,} decision points of {about['users']:,} users.")
    for item in about["checks"]:
        print(f"{item['verdict']:>9}  {item['name']}: {item['sentence']}")


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
