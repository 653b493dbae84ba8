"""Models: fitted, scoring, exported."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    SkipOption,
    app,
)
from policy.console import in_brief, say, shown_stages
from uplift.files import check_writable
from uplift.names import CalibrationMethod, LearnerName

if TYPE_CHECKING:
    pass

__all__ = ["export", "fit", "score"]


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
    from policy.report_parts import held_out_curves
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
def export(
    bundle: Annotated[Path, typer.Argument(help="Bundle to export.", metavar="BUNDLE")],
    mlflow: Annotated[Path, typer.Option(help="MLflow model to write.", metavar="DIR")],
    as_json: JsonOption = False,
) -> None:
    """Write the bundle's model as an MLflow model, which scores as `score` does."""
    from policy.export import export_mlflow

    export_mlflow(bundle, mlflow)
    say({"model": str(mlflow)}, as_json)
