"""``ledgergrid verify``: the offline verifier, with its own arguments and exit codes."""

from __future__ import annotations

import typer

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def verify(context: typer.Context) -> None:
    """Verify an archive offline: `ledgergrid verify --help` shows the verifier's own options."""
    from verifier.__main__ import main  # Not before it is asked for: it starts processes.

    raise typer.Exit(main(context.args))
