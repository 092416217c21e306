"""``ledgergrid mutability …``: who may change entries of which types, and how long they stay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from api.commands.client import Key, Yes, confirm, open_ledger, read_json, report
from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, TokenFile, Url
from api.commands.remote import Remote
from ledger_core.records.rules import MutabilitySetting
from ledgergrid.describing import printable
from ledgergrid.told import MutabilityList

app = typer.Typer(no_args_is_help=True, help="Say who may change entries of which types.")


@app.command("set")
def set_(
    file: Annotated[Path, typer.Argument(help="JSON file that holds the setting.")],
    key: Key,
    yes: Yes = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Set who may change entries of a type; with `for_ever`, for the last time."""
    setting = read_json(file, MutabilitySetting, "a setting of mutability")
    print(f"mutability of {setting.type}")
    print(f"  {printable(msgspec.json.encode(setting).decode())}")
    if setting.for_ever:
        print("  This can never be set again.")
    confirm(yes=yes)
    with open_ledger(url, ledger, key, token_file) as client:
        done = client.set_mutability(setting)
        report(client, ledger, done, f"mutability of {setting.type}")


@app.command("list")
def list_(
    ledger: LedgerName = DEFAULT_LEDGER, url: Url = DEFAULT_URL, token_file: TokenFile = None
) -> None:
    """List the settings in force: entry that set it, type, and who may do what."""
    answer = Remote(url, token_file).get(f"/api/v1/ledgers/{ledger}/mutability")
    for each in msgspec.json.decode(answer.content, type=MutabilityList).settings:
        if each.is_in_force:
            said = msgspec.json.encode(each.setting).decode()
            print("\t".join(map(printable, (str(each.since), each.setting.type, said))))
