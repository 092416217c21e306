"""``ledgergrid token …``: access tokens, made in the service's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.commands.options import Data, DatabaseUrl
from ledger_core import ids
from ledger_core.clock import format_time
from ledger_core.errors import NotFoundError, SettingsError

if TYPE_CHECKING:
    from ledger_core.storage.tokens import Tokens

app = typer.Typer(no_args_is_help=True, help="Access tokens, kept in the service's database.")
_NAME_CHARS = 100
Role = Literal["reader", "writer", "admin"]
_ROLES: dict[str, Role] = {"reader": "reader", "writer": "writer", "admin": "admin"}


@contextmanager
def _open_tokens(data: Path | None, database_url: str | None) -> Iterator[Tokens]:
    from api.settings import load_settings  # Not before it is asked for: it loads the database.
    from ledger_core.storage.database import open_database
    from ledger_core.storage.tokens import Tokens

    settings = load_settings(data=data, database=database_url)
    if settings.sqlite_file is not None and not settings.sqlite_file.exists():
        raise NotFoundError(f"no database at {settings.sqlite_file}: run `ledgergrid serve` first")
    database = open_database(settings.database_url)
    try:
        database.check_migrated()
        yield Tokens(database)
    finally:
        database.close()


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who it is for; exports name it.")],
    role: Annotated[str, typer.Option(help="reader, writer or admin.")] = "reader",
    ledger: Annotated[str | None, typer.Option(help="The only ledger it counts for.")] = None,
    party: Annotated[
        str | None,
        typer.Option("--party", "--member", help="The member, or the key, that it reads as."),
    ] = None,
    data: Data = None,
    database: DatabaseUrl = None,
) -> None:
    """Make a token and print it; it is not kept and cannot be shown again."""
    if role not in _ROLES:
        raise SettingsError(f"--role is one of {', '.join(_ROLES)}")
    if not 0 < len(name) <= _NAME_CHARS or not name.isprintable():
        raise SettingsError(f"a token's name is 1 to {_NAME_CHARS} printable characters")
    if ledger is not None:
        ids.check_ledger_name(ledger)
    if party is not None and role == "admin":
        raise SettingsError("an admin's token sees everything: it speaks for no party")
    with _open_tokens(data, database) as tokens:
        print(tokens.create(name, _ROLES[role], ledger, party=party))


@app.command("list")
def list_(data: Data = None, database: DatabaseUrl = None) -> None:
    """List tokens by name, without their secrets."""
    with _open_tokens(data, database) as tokens:
        for token in tokens.list():
            state = "counts" if token.revoked_at is None else "revoked"
            made = format_time(token.created_at)
            where = token.ledger or "(all ledgers)"
            whose = token.party or "(no party)"
            print(f"{token.name}\t{token.role}\t{where}\t{made}\t{state}\t{whose}")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")],
    data: Data = None,
    database: DatabaseUrl = None,
) -> None:
    """Make a token worthless, at once."""
    with _open_tokens(data, database) as tokens:
        tokens.revoke(name)
    print(f"{name} no longer counts")
