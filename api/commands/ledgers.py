"""``ledgergrid ledger …``: make, show and list ledgers of a running service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from api.commands.client import read_json
from api.commands.options import DEFAULT_URL, TokenFile, Url
from api.commands.remote import Remote
from ledger_core.records.types.charter import Founding

app = typer.Typer(no_args_is_help=True, help="Make, show and list ledgers of a running service.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="1 to 63 of a-z, 0-9 and '-'.")],
    kind: Annotated[str, typer.Option(help="private, public, consortium, local.")] = "private",
    origin: Annotated[
        str | None, typer.Option(help="What the log signs as; derived from the name if none.")
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(help="Key of a founding operator beside the service's own; may repeat."),
    ] = None,
    founding: Annotated[
        Path | None,
        typer.Option(help="JSON file: members, keys, policies, audiences, mutability, parties."),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(help="The ledger that a local one is anchored in.")
    ] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Make a ledger. Needs an admin's token."""
    body: dict[str, Any] = {"name": name, "kind": kind, "operators": operator or []}
    body |= {k: v for k, v in (("origin", origin), ("parent", parent)) if v is not None}
    if founding is not None:
        body["founding"] = msgspec.to_builtins(read_json(founding, Founding, "a founding"))
    _print(Remote(url, token_file).post("/api/v1/ledgers", body).json())


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The ledger's name.")],
    trust_policy: Annotated[
        bool, typer.Option("--trust-policy", help="Print a trust policy that names the log.")
    ] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Show a ledger: its origin, its charter and the log's key."""
    shown = Remote(url, token_file).get(f"/api/v1/ledgers/{name}").json()
    if trust_policy:
        print(f"log {shown['log_key']}\nquorum none")
    else:
        _print(shown)


@app.command("rotate-key")
def rotate_key(
    name: Annotated[str, typer.Argument(help="The ledger's name.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Hand over to the log's next key; what the old one signed stays valid. Needs an admin."""
    remote = Remote(url, token_file)
    done = remote.post(f"/api/v1/ledgers/{name}/log-key", {}).json()
    shown = remote.get(f"/api/v1/ledgers/{name}").json()
    print(f"log key  {shown['log_key']} (since entry {done['index']})")


@app.command()
def anchor(
    name: Annotated[str, typer.Argument(help="The ledger's name.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Show where a closed ledger is anchored."""
    shown = Remote(url, token_file).get(f"/api/v1/ledgers/{name}/anchor").json()
    print(f"size     {shown['size']}")
    print(f"parent   {shown['parent']}")
    print(f"entry    {'not anchored yet' if shown['index'] is None else shown['index']}")
    if shown["problem"]:
        print(f"problem  {shown['problem']}")


@app.command("list")
def list_(url: Url = DEFAULT_URL, token_file: TokenFile = None) -> None:
    """List the ledgers that the token may see."""
    remote, after = Remote(url, token_file), ""
    while True:
        page = remote.get("/api/v1/ledgers", after=after).json()
        for each in page["ledgers"]:
            print(f"{each['name']}\t{each['kind']}\t{each['size']}\t{each['origin']}")
        if page["next"] is None:
            return
        after = page["next"]


def _print(ledger: Mapping[str, Any]) -> None:
    print(f"ledger   {ledger['name']} ({ledger['kind']})")
    print(f"origin   {ledger['origin']}")
    print(f"log key  {ledger['log_key']}")
    print(f"charter  {ledger['charter']}")
