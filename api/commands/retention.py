"""``ledgergrid retention …``: what the schedule would erase, and having it ordered now."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, TokenFile, Url
from api.commands.remote import Remote

app = typer.Typer(no_args_is_help=True, help="Erase by schedule: look at the plan, carry it out.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def plan(
    ledger: LedgerName = DEFAULT_LEDGER,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Say what is due to be erased by schedule; erases nothing. Needs an admin's token."""
    answer = Remote(url, token_file).get(f"/api/v1/ledgers/{ledger}/retention").json()
    if as_json:
        print(json.dumps(answer))
        return
    for each in answer["due"]:
        print(_line(each))
    if not answer["due"]:
        print("nothing is due")


@app.command()
def run(
    ledger: LedgerName = DEFAULT_LEDGER,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Order what is due to be erased now. Needs an admin's token."""
    answer = Remote(url, token_file).post(f"/api/v1/ledgers/{ledger}/retention", {}).json()
    if as_json:
        print(json.dumps(answer))
        return
    for each in answer["orders"]:
        print(f"{_line(each)}, ordered by entry {each['index']}")
    if not answer["orders"]:
        print("nothing is due")


def _line(due: dict[str, Any]) -> str:
    said = f"{due['part']} of {due['type']}: {due['count']} kept longer than {due['keep_s']} s"
    if due["count"]:
        said += f", received {due['oldest']} to {due['newest']}"
    return said + (f", {due['held']} held" if due["held"] else "")
