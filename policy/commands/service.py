"""The service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from policy.commands.app import (
    app,
)
from policy.names import Fsync

if TYPE_CHECKING:
    pass

__all__ = ["serve"]


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
    pace: Annotated[
        bool, typer.Option("--pace", help="Let the price follow the traffic, to meet --qps.")
    ] = False,
    pace_seconds: Annotated[
        float, typer.Option(help="How long a price stands; the same for all instances.", min=0.1)
    ] = 1.0,
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
        pace=pace,
        pace_seconds=pace_seconds,
        shadow=shadow,
        admin_token=token_of(admin_token),
        admin_anywhere=admin_anywhere,
    )

    def ready(address: str, taken: int) -> None:
        print(f"serving plan {service.engine.plan_version} on http://{address}:{taken}", flush=True)

    listen(service, host, port, ready=ready)
