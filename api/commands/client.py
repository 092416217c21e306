"""Commands that sign: a client of a running service, and what became of what it sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from api.commands.remote import read_token
from ledger_core.errors import NotFoundError, SettingsError
from ledgergrid import Ledger, Receipt, Signer
from ledgergrid.files import read_bounded
from ledgergrid.session import Settings as ClientSettings

T = TypeVar("T")

_FILE_BYTES = 1_000_000

Yes = Annotated[bool, typer.Option("--yes", help="Sign without asking.")]
Key = Annotated[Path, typer.Option("--key", help="Your private key, made by `ledgergrid keygen`.")]


def open_ledger(url: str, ledger: str, key: Path, token_file: Path | None) -> Ledger:
    """Open a client that signs with the key in a file."""
    settings = ClientSettings()
    if token := read_token(token_file):
        settings["token"] = token
    return Ledger(url, ledger=ledger, signer=Signer.load(key), **settings)


def report(client: Ledger, ledger: str, done: Receipt, said: str) -> None:
    """Say what a change has come to: in effect, or waiting, and how others agree to it."""
    try:
        proposal = client.proposal(done)
    except NotFoundError:
        print(f"{said} (entry {done.index})")
        return
    print(f"proposed: {said} (entry {done.index}), {proposal.told.state}")
    if proposal.told.state == "open":
        print(f"others agree until {proposal.ends_at} with")
        print(f"  ledgergrid endorse {ledger} {done.leaf_hash} --key FILE")


def read_json(path: Path, kind: type[T], what: str) -> T:
    """Read a JSON file as ``kind``; the error names the file and what is wrong with it."""
    try:
        raw = read_bounded(path, _FILE_BYTES)
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not {what}: {error}") from None


def confirm(*, yes: bool) -> None:
    """Go on only if whoever holds the key says so."""
    if yes:
        return
    try:
        is_agreed = typer.confirm("Sign this?", err=True)
    except typer.Abort:
        raise SettingsError("nobody answered, and nothing was signed; --yes asks nobody") from None
    if not is_agreed:
        raise SettingsError("nothing was signed")
