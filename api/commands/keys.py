"""Keys of authors: made here, registered or revoked at a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, Out, TokenFile, Url
from api.commands.remote import Remote
from ledger_core.errors import SettingsError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.note import check_key_name
from ledger_core.formats.vkey import NoteSigner, format_vkey
from ledgergrid import Signer

app = typer.Typer(no_args_is_help=True, help="Say who may write to a ledger.")

KeyFile = Annotated[Path | None, typer.Argument(help="Private key made by `ledgergrid keygen`.")]
PublicKey = Annotated[str | None, typer.Option("--key", help="Public key, ed25519:…")]


def keygen(
    out: Annotated[Path, typer.Option("--out", help="New file for the private key.")],
    name: Annotated[str, typer.Option(help="Tells keys apart for people.")] = "agent",
) -> None:
    """Make an author's key. The file is readable by its owner only."""
    check_key_name(name)
    signer = NoteSigner(name, PrivateKey.generate())
    made = Signer(signer)
    made.save(out)
    print(f"private key  {out}")
    print(f"public key   {made.key}")
    print(f"vkey         {format_vkey(signer.public)}")


@app.command()
def register(
    file: KeyFile = None,
    role: Annotated[
        list[str] | None, typer.Option(help="agent or operator; may be given twice. [agent]")
    ] = None,
    key: PublicKey = None,
    possession: Annotated[
        str | None, typer.Option(help="For --key: what `ledgergrid key prove` printed.")
    ] = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Register a key, of a file here or of somebody who proved to hold it. Needs an admin."""
    remote = Remote(url, token_file)
    if (file is None) == (key is None) or (key is None) != (possession is None):
        raise SettingsError("give a key file, or --key and --possession")
    if file is not None:
        signer = Signer.load(file)
        origin: str = remote.get(f"/api/v1/ledgers/{ledger}").json()["origin"]
        key, possession = signer.key, signer.prove_possession(origin)
    body = {"key": key, "roles": role or ["agent"], "possession": possession}
    _change(remote, ledger, body, f"{key} may now write to {ledger}")


@app.command()
def revoke(
    file: KeyFile = None,
    reason: Annotated[str, typer.Option(help="retired, lost or compromised.")] = "retired",
    key: PublicKey = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Revoke a key for ever; what it wrote before stays valid. Needs an admin."""
    if (file is None) == (key is None):
        raise SettingsError("give a key file, or --key")
    named = key if file is None else Signer.load(file).key
    _change(
        Remote(url, token_file),
        ledger,
        {"key": named, "revoke": reason},
        f"{named} may no longer write to {ledger}",
    )


@app.command()
def prove(
    file: Annotated[Path, typer.Argument(help="Private key made by `ledgergrid keygen`.")],
    origin: Annotated[str, typer.Option(help="Origin of the ledger to be registered in.")],
    out: Out = None,
) -> None:
    """Prove to an operator elsewhere that you hold a key; the key file stays with you."""
    signer = Signer.load(file)
    text = f"--key {signer.key} --possession {signer.prove_possession(origin)}"
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n")


def _change(remote: Remote, ledger: str, body: dict[str, Any], said: str) -> None:
    done = remote.post(f"/api/v1/ledgers/{ledger}/keys", body).json()
    print(f"{said} (entry {done['index']})")
