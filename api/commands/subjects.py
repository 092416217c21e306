"""``ledgergrid erase-subject`` and ``ledgergrid certificate …``: a person's data, and the proof."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.commands.client import Yes, confirm
from api.commands.options import DEFAULT_URL, Out, TokenFile, Url
from api.commands.remote import Remote, RemoteError

app = typer.Typer(no_args_is_help=True, help="Check certificates of erasure offline.")

_LOOK_S = 0.5


def erase_subject(
    subject: Annotated[str, typer.Argument(help="As record types tell it, like user:42.")],
    ledger: Annotated[
        list[str] | None, typer.Option("--ledger", help="A ledger's name; may repeat.")
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--all", help="In all ledgers of the service.")
    ] = False,
    out: Out = None,
    patience_s: Annotated[
        float, typer.Option(min=0, max=86_400, help="How long to wait until it is done.")
    ] = 60.0,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Order all that is about a subject to be erased; write the certificate when it is done.

    Needs an admin's token that is bound to no ledger.
    """
    if everywhere == bool(ledger):
        raise typer.BadParameter("name ledgers with --ledger, or say --all")
    print(f"erase what is about {subject!r} in {', '.join(ledger or []) or 'all ledgers'}")
    confirm(yes=yes)
    remote = Remote(url, token_file)
    body = {} if everywhere else {"ledgers": ledger}
    path = f"/api/v1/subjects/{quote(subject, safe='')}/erasure"
    outcome = remote.post(path, body).json()
    orders = [_tell(each) for each in outcome["ledgers"]]
    named = [order for some in orders for order in some]
    if not outcome["ledgers"]:
        print("nothing is about it")
    if named and out is not None:
        out.write_bytes(_await(remote, named, patience_s))
        print(f"certificate: {out}")


def _tell(outcome: dict[str, Any]) -> list[dict[str, str]]:
    """Print what was ordered in one ledger; return the orders that are in force."""
    name = outcome["ledger"]
    for each in outcome["orders"]:
        state = "waits for others to agree" if each["waits"] else "in force"
        print(f"{name}: entry {each['index']} orders {each['entries']} entries, {state}")
        print(f"  {each['leaf_hash']}")
    for each in outcome["spared"]:
        print(f"{name}: entry {each['index']} stays: {each['reason']}")
    return [
        {"ledger": name, "order": each["leaf_hash"]}
        for each in outcome["orders"]
        if not each["waits"]
    ]


def _await(remote: Remote, orders: list[dict[str, str]], patience_s: float) -> bytes:
    end_s = time.monotonic() + patience_s
    while True:
        try:
            return remote.post("/api/v1/certificates", {"orders": orders}).content
        except RemoteError:
            if time.monotonic() > end_s:
                raise
            time.sleep(_LOOK_S)


@app.command()
def fetch(
    orders: Annotated[list[str], typer.Argument(help="LEDGER=LEAF_HASH of orders to erase.")],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Fetch the certificate of orders that are done. Needs an admin's token."""
    named = [dict(zip(("ledger", "order"), each.split("=", 1), strict=False)) for each in orders]
    out.write_bytes(_await(Remote(url, token_file), named, 0.0))


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The certificate.")],
    trust: Annotated[Path, typer.Option("--trust", help="tlog-policy file with the logs' keys.")],
) -> None:
    """Check a certificate of erasure; needs no network and no service."""
    from verifier.certificates import describe, read_certificate, verify_certificate
    from verifier.trust import read_policy

    for proved in verify_certificate(read_certificate(file), read_policy(trust)):
        print("\n".join(describe(proved)))
    print("this certificate holds")
