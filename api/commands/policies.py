"""``ledgergrid policy …``: whose agreement it takes, and proposing to change it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from api.commands.client import Key, open_ledger, read_json, report
from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, TokenFile, Url
from api.commands.remote import Remote
from ledger_core.records.rules import Policy
from ledgergrid.describing import describe_rule, printable
from ledgergrid.told import PolicyList

app = typer.Typer(no_args_is_help=True, help="Say who must agree before records take effect.")


@app.command("list")
def list_(
    ledger: LedgerName = DEFAULT_LEDGER, url: Url = DEFAULT_URL, token_file: TokenFile = None
) -> None:
    """List the policies in force, the types they govern and what they ask for."""
    answer = Remote(url, token_file).get(f"/api/v1/ledgers/{ledger}/policies")
    for each in msgspec.json.decode(answer.content, type=PolicyList).policies:
        if each.governs:
            rule = describe_rule(each.policy.rule)
            print(printable(f"{each.policy.name}: {', '.join(each.governs)}: {rule}"))
            print(printable(f"  {each.hash}"))


@app.command("set")
def set_(
    file: Annotated[Path, typer.Argument(help="JSON file that holds the policy.")],
    key: Key,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Set the policy for some record types; who must agree is said by the one in force."""
    policy = read_json(file, Policy, "a policy")
    body = {"action": "set", "policy": msgspec.to_builtins(policy)}
    with open_ledger(url, ledger, key, token_file) as client:
        done = client.append("policy/1", body)
        report(client, ledger, done, f"policy {policy.name} for {', '.join(policy.governs)}")


@app.command()
def lift(
    type_: Annotated[list[str], typer.Argument(metavar="TYPE...", help="Record types.")],
    key: Key,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Lift the policy from record types, so that they take effect at once."""
    with open_ledger(url, ledger, key, token_file) as client:
        done = client.append("policy/1", {"action": "lift", "governs": type_})
        report(client, ledger, done, f"no policy for {', '.join(type_)}")
