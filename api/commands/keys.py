"""Keys of authors: made here, registered or revoked at a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from api.commands.client import open_ledger
from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, Out, TokenFile, Url
from api.commands.remote import Remote
from ledger_core.errors import PayloadError, SettingsError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.note import check_key_name
from ledger_core.formats.vkey import NoteSigner, format_vkey
from ledger_core.records.model import Role
from ledger_core.records.possession import HeldKey, check_roles
from ledgergrid import Signer
from ledgergrid.governing import RevocationReason

app = typer.Typer(no_args_is_help=True, help="Say who may write to a ledger.")

KeyFile = Annotated[Path | None, typer.Argument(help="Private key made by `ledgergrid keygen`.")]
By = Annotated[
    Path | None, typer.Option("--by", help="Private key of the member's steward, who signs it.")
]
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
        list[str] | None,
        typer.Option(help="agent, operator or steward; may be given again. [agent]"),
    ] = None,
    key: PublicKey = None,
    possession: Annotated[
        str | None, typer.Option(help="For --key: what `ledgergrid key prove` printed.")
    ] = None,
    member: Annotated[str | None, typer.Option(help="Whose key it is; needs --by.")] = None,
    by: By = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Register a key, of a file here or of somebody who proved to hold it.

    Needs an admin's token; a member's keys are registered by its steward, with --member and --by.
    """
    if (file is None) == (key is None) or (key is None) != (possession is None):
        raise SettingsError("give a key file, or --key and --possession")
    if (member is None) != (by is None):
        raise SettingsError("a member's key takes both: --member NAME, and --by STEWARD'S_KEY_FILE")
    remote = Remote(url, token_file)
    if file is not None:
        signer = Signer.load(file)
        origin: str = remote.get(f"/api/v1/ledgers/{ledger}").json()["origin"]
        key, possession = signer.key, signer.prove_possession(origin)
    roles = _to_roles(role or ["agent"])
    if by is None:
        body = {"key": key, "roles": roles, "possession": possession}
        _change(remote, ledger, body, f"{key} may now write to {ledger}")
        return
    with open_ledger(url, ledger, by, token_file) as client:
        done = client.register_key(HeldKey(str(key), roles, str(possession)), member=member)
    print(f"{key} may now write to {ledger} for {member} (entry {done.index})")


@app.command()
def revoke(
    file: KeyFile = None,
    reason: Annotated[str, typer.Option(help="retired, lost or compromised.")] = "retired",
    key: PublicKey = None,
    by: By = None,
    suspect_since: Annotated[
        int | None,
        typer.Option(min=0, help="Entry from which on its signatures are doubted; needs --by."),
    ] = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Revoke a key for ever; what it wrote before stays valid.

    Needs an admin's token; a member's key is revoked by its steward, with --by.
    """
    if (file is None) == (key is None):
        raise SettingsError("give a key file, or --key")
    named = key or Signer.load(Path(str(file))).key
    said = f"{named} may no longer write to {ledger}"
    if by is None:
        if suspect_since is not None:
            raise SettingsError("--suspect-since is signed by whoever doubts: give --by KEY_FILE")
        _change(Remote(url, token_file), ledger, {"key": named, "revoke": reason}, said)
        return
    with open_ledger(url, ledger, by, token_file) as client:
        done = client.revoke_key(named, _to_reason(reason), suspect_since=suspect_since)
    print(f"{said} (entry {done.index})")


@app.command()
def rotate(
    file: Annotated[Path, typer.Argument(help="The private key that hands over.")],
    new: Annotated[Path, typer.Option("--new", help="Its successor, made by `ledgergrid keygen`.")],
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Hand over to a new key with the same roles and member; both keys sign."""
    successor = Signer.load(new)
    with open_ledger(url, ledger, file, token_file) as client:
        done = client.rotate_key(successor)
    print(f"{successor.key} stands for the old key in {ledger} (entry {done.index})")


@app.command()
def prove(
    file: Annotated[Path, typer.Argument(help="Private key made by `ledgergrid keygen`.")],
    origin: Annotated[str, typer.Option(help="Origin of the ledger to be registered in.")],
    role: Annotated[
        list[str] | None,
        typer.Option(help="Print an offer for these roles, as JSON, for `member admit --offer`."),
    ] = None,
    out: Out = None,
) -> None:
    """Prove to an operator elsewhere that you hold a key; the key file stays with you."""
    signer = Signer.load(file)
    if role:
        text = msgspec.json.encode(signer.hold(origin, *_to_roles(role))).decode()
    else:
        text = f"--key {signer.key} --possession {signer.prove_possession(origin)}"
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n")


def _to_roles(named: list[str]) -> tuple[Role, ...]:
    try:
        roles = msgspec.convert(named, tuple[Role, ...])
        check_roles(roles)
    except (msgspec.ValidationError, PayloadError):
        raise SettingsError("--role is agent, operator or steward, each at most once") from None
    return roles


def _to_reason(named: str) -> RevocationReason:
    try:
        reason: RevocationReason = msgspec.convert(named, RevocationReason)
    except msgspec.ValidationError:
        raise SettingsError("--reason is retired, lost or compromised") from None
    return reason


def _change(remote: Remote, ledger: str, body: dict[str, Any], said: str) -> None:
    done = remote.post(f"/api/v1/ledgers/{ledger}/keys", body).json()
    print(f"{said} (entry {done['index']})")
