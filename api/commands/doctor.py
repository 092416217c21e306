"""``ledgergrid doctor``: prints what api/examination.py finds."""

from __future__ import annotations

from typing import Annotated

import typer

from api.commands.options import Data, DatabaseUrl


def doctor(
    newest: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Newest entries to recompute, a ledger.")
    ] = 1000,
    data: Data = None,
    database: DatabaseUrl = None,
) -> None:
    """Check folder, database, signer's memory, tree and clock. Exit code 1 if anything is wrong."""
    from api.examination import examine  # Not before it is asked for: it loads the service.
    from api.settings import load_settings

    settings = load_settings(data=data, database=database)
    results = list(examine(settings, newest))
    for name, trouble in results:
        print(f"{'FAIL' if trouble else 'ok':<6}{name}{f': {trouble}' if trouble else ''}")
    raise typer.Exit(1 if any(trouble for _, trouble in results) else 0)
