"""``ledgergrid``: one command for operators, agents and auditors.

Each error is one line that says what to do. Exit codes: 0 done, 1 refused or failed,
2 wrong usage; ``verify`` has its own.
"""

from __future__ import annotations

import sys

import typer

from api.commands import (
    backups,
    capture,
    changes,
    doctor,
    effects,
    epochs,
    keyring,
    keys,
    ledgers,
    mcp,
    members,
    mutability,
    policies,
    proposals,
    records,
    resubmitting,
    retention,
    run,
    serve,
    subjects,
    tokens,
    verify,
)
from ledger_core.errors import LedgerGridError

app = typer.Typer(
    name="ledgergrid",
    help="LedgerGrid, the verifiable ledger for AI agents.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve.serve)
app.command(context_settings={"allow_interspersed_args": False})(run.run)
app.command()(keys.keygen)
app.add_typer(ledgers.app, name="ledger")
app.add_typer(keys.app, name="key")
app.command()(members.members)
app.add_typer(members.app, name="member")
app.add_typer(policies.app, name="policy")
app.command()(proposals.proposals)
app.command()(proposals.pending)
app.command()(proposals.endorse)
app.command()(proposals.withdraw)
app.command()(changes.amend)
app.command()(changes.rollback)
app.command()(changes.redact)
app.command()(changes.unredact)
app.command()(changes.hold)
app.command()(changes.release)
app.command()(changes.erase)
app.command()(effects.effect)
app.command()(effects.subject)
app.command()(effects.changes)
app.add_typer(mutability.app, name="mutability")
app.add_typer(capture.app, name="capture")
app.add_typer(retention.app, name="retention")
app.command("erase-subject")(subjects.erase_subject)
app.add_typer(subjects.app, name="certificate")
app.command()(records.append)
app.command()(records.receipt)
app.command()(records.export)
app.command()(resubmitting.resubmit)
app.command(context_settings=verify.CONTEXT, add_help_option=False)(verify.verify)
app.command()(doctor.doctor)
app.command()(backups.backup)
app.command()(backups.restore)
app.add_typer(epochs.app, name="epoch")
app.add_typer(tokens.app, name="token")
app.command()(mcp.mcp)
app.add_typer(keyring.app, name="keyring")


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    try:
        app()
    except LedgerGridError as error:
        sys.exit(f"ledgergrid: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"ledgergrid: {where}{error.strerror or error}")


if __name__ == "__main__":
    main()
