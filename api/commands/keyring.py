"""``ledgergrid keyring …``: log keys of one's own, kept in the service's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.commands.options import Data
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.vkey import LogKey, NoteSigner, format_vkey, make_key_name, parse_skey

app = typer.Typer(
    no_args_is_help=True, help="Log keys of one's own, beside those derived from the secret."
)
_KEY_FILE_BYTES = 4096


@app.command()
def add(
    origin: Annotated[
        str | None, typer.Option(help="Make a key for the log of this origin.")
    ] = None,
    sigsum: Annotated[
        bool,
        typer.Option(
            "--sigsum", help="Make a key, and the origin that names it: for Sigsum's witnesses."
        ),
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--from", help="Take over a key: a file with one line, PRIVATE+KEY+ORIGIN+…"),
    ] = None,
    data: Data = None,
) -> None:
    """Keep a log's own key in the keyring, and print its public half.

    Do it before the ledger is made. Every machine reads the same keyring, when it starts.
    """
    from api.settings import load_settings  # Not before it is asked for: it loads the settings.
    from ledger_core.keyring import add_log_key, open_keyring

    if (origin is not None) + sigsum + (file is not None) != 1:
        raise SettingsError("give one of --origin, --sigsum and --from")
    signer = _make(origin) if file is None else _read(file)
    keyring = load_settings(data=data).keyring_file
    keyring.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    open_keyring(keyring)
    add_log_key(keyring, signer)
    _print(signer.public)
    print(f"kept in  {keyring}: copy it to every machine, back it up, restart the service, then")
    print(f"         ledgergrid ledger create NAME --origin {signer.name}")


@app.command("list")
def list_(data: Data = None) -> None:
    """List the logs that have a key of their own, by their public keys."""
    from api.settings import load_settings  # Not before it is asked for: it loads the settings.
    from ledger_core.keyring import open_keyring

    keyring = load_settings(data=data).keyring_file
    if not keyring.exists():
        raise SettingsError(f"no keyring at {keyring}: name the service's folder with --data")
    for key in open_keyring(keyring).own_log_keys:
        _print(key)


def _make(origin: str | None) -> NoteSigner:
    private = PrivateKey.generate()
    return NoteSigner(make_key_name(private.public_key) if origin is None else origin, private)


def _read(file: Path) -> NoteSigner:
    with file.open("rb") as opened:
        if os.fstat(opened.fileno()).st_mode & 0o077:
            raise SettingsError(f"{file} can be read by others: chmod 600 {file}")
        raw = opened.read(_KEY_FILE_BYTES)
    signer = parse_skey(raw.decode("ascii", "replace").removesuffix("\n"))
    if not isinstance(signer, NoteSigner):
        raise MalformedError(f"{file} holds a witness's key: a log signs with another")
    return signer


def _print(key: LogKey) -> None:
    public = Ed25519PublicKey.from_public_bytes(key.public_key)
    print(f"origin   {key.name}")
    print(f"log key  {format_vkey(key)}")
    print(f"openssh  {public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()}")
