"""``ledgergrid members`` and ``ledgergrid member …``: who they are, and proposing to change it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from api.commands.client import Key, open_ledger, read_json, report
from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, TokenFile, Url
from api.commands.remote import Remote
from ledger_core.records.possession import HeldKey
from ledgergrid.describing import printable
from ledgergrid.told import KeyInfo, MemberList

app = typer.Typer(
    no_args_is_help=True,
    help="Admit, suspend, resume or remove a member; grant or withdraw its roles.",
)

Member = Annotated[str, typer.Argument(help="The member's name.")]
RoleArgument = Annotated[str, typer.Argument(help="A role that policies speak of, like auditor.")]


def members(
    ledger: LedgerName = DEFAULT_LEDGER, url: Url = DEFAULT_URL, token_file: TokenFile = None
) -> None:
    """List members and their keys, with the entries from which on they stand."""
    answer = Remote(url, token_file).get(f"/api/v1/ledgers/{ledger}/members")
    told = msgspec.json.decode(answer.content, type=MemberList)
    for member in told.members:
        since = member.history[-1].since if member.history else 0
        _print(member.name, member.status, ",".join(member.roles) or "-", str(since))
        for key in member.keys:
            _print_key(key)
    if told.keys:
        _print("(no member)")
    for key in told.keys:
        _print_key(key)


def _print_key(key: KeyInfo) -> None:
    revoked = () if key.revoked is None else (f"revoked by {key.revoked}",)
    _print("", key.key, ",".join(key.roles), str(key.since), *revoked)


def _print(*words: str) -> None:
    print("\t".join(map(printable, words)))


@app.command()
def admit(
    name: Member,
    key: Key,
    offer: Annotated[
        list[Path],
        typer.Option(help="File printed by `ledgergrid key prove --role …`; may repeat."),
    ],
    role: Annotated[list[str] | None, typer.Option(help="Role of the member; may repeat.")] = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Admit a member with the keys it offered; in a consortium others must agree."""
    held = [
        read_json(path, HeldKey, "what `ledgergrid key prove --role …` prints") for path in offer
    ]
    body = {"keys": msgspec.to_builtins(held), "roles": role or []}
    _change("admit", name, body, key, ledger, url, token_file)


def _standing(action: str) -> Callable[..., None]:
    """Make the command that changes whether a member stands."""

    def change(
        name: Member,
        key: Key,
        ledger: LedgerName = DEFAULT_LEDGER,
        url: Url = DEFAULT_URL,
        token_file: TokenFile = None,
    ) -> None:
        _change(action, name, {}, key, ledger, url, token_file)

    return change


def _role(action: str) -> Callable[..., None]:
    """Make the command that changes one role of a member."""

    def change(
        name: Member,
        role: RoleArgument,
        key: Key,
        ledger: LedgerName = DEFAULT_LEDGER,
        url: Url = DEFAULT_URL,
        token_file: TokenFile = None,
    ) -> None:
        _change(action, name, {"role": role}, key, ledger, url, token_file)

    return change


for _make, _action, _help in (
    (_standing, "suspend", "Suspend a member: its keys write nothing, its voice does not count."),
    (_standing, "resume", "Let a suspended member stand again."),
    (_standing, "remove", "Remove a member for ever; what it signed before stays valid."),
    (_role, "grant", "Grant a role to a member."),
    (_role, "withdraw", "Withdraw a role from a member."),
):
    app.command(_action, help=_help)(_make(_action))


def _change(
    action: str,
    name: str,
    more: dict[str, Any],
    key: Path,
    ledger: str,
    url: str,
    token_file: Path | None,
) -> None:
    with open_ledger(url, ledger, key, token_file) as client:
        done = client.append("member/1", {"action": action, "member": name, **more})
        role = f" {more['role']}" if "role" in more else ""
        report(client, ledger, done, f"{action}{role}: {name}")
