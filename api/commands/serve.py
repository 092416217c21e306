"""``ledgergrid serve``: what can be said on the command line; api/serving.py does it."""

from __future__ import annotations

from typing import Annotated

import typer

from api.commands.options import Data, DatabaseUrl


def serve(
    data: Data = None,
    database: DatabaseUrl = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. [8080]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve. [1]")] = None,
    degraded: Annotated[
        bool,
        typer.Option(
            "--degraded",
            help="Serve although a ledger does not continue what was signed: it is read-only then.",
        ),
    ] = False,
) -> None:
    """Serve ledgers. A fresh data folder gets a first ledger and an admin token, shown once.

    Every setting is also a variable LEDGERGRID_…, see docs/reference/settings.md.
    """
    from api.serving import run  # Not before it is asked for: the other commands are quick.

    run(
        {"data": data, "database": database, "host": host, "port": port, "workers": workers},
        degraded=degraded,
    )
