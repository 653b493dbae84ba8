"""The application that commands belong to, and the options that they share."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from policy.names import Engine

__all__ = [
    "BundleOption",
    "DayOption",
    "EngineOption",
    "JsonOption",
    "LogPath",
    "MasterOption",
    "MemoryOption",
    "SchemaOption",
    "SeedOption",
    "SkipOption",
    "app",
]

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
