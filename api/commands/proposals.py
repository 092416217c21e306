"""What waits, for whom, and agreeing to it: nothing is signed that was not shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from api.commands.client import Key, Yes, confirm, open_ledger
from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, TokenFile, Url
from api.commands.remote import Remote
from ledger_core import ids
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.records.types.endorsement import Decision
from ledgergrid import Signer
from ledgergrid.describing import describe, printable
from ledgergrid.told import ProposalInfo, ProposalPage

Named = Annotated[str, typer.Argument(metavar="LEDGER", help="The ledger's name.")]
LeafHash = Annotated[
    str, typer.Argument(metavar="PROPOSAL", help="Its leaf hash, sha256:…, or a bundle's.")
]


def proposals(
    state: Annotated[
        str, typer.Option(help="open, confirmed, rejected, withdrawn or expired.")
    ] = "open",
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """List proposals: leaf hash, entry, type, author's member, end and who said what."""
    for each in _pages(Remote(url, token_file), ledger, "proposals", state=state):
        _print(each)


def pending(
    member: Annotated[str, typer.Option(help="The member whose word is waited for.")],
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """List open proposals that wait for a member's word."""
    for each in _pages(Remote(url, token_file), ledger, "pending", member=member):
        _print(each)


def _pages(remote: Remote, ledger: str, what: str, **query: str) -> Iterator[ProposalInfo]:
    cursor: str | None = None
    while True:
        answer = remote.get(f"/api/v1/ledgers/{ledger}/{what}", cursor=cursor, **query)
        page = msgspec.json.decode(answer.content, type=ProposalPage)
        yield from page.proposals
        if page.next is None:
            return
        cursor = page.next


def _print(each: ProposalInfo) -> None:
    said = ",".join(f"{voice.member or voice.key}:{voice.decision}" for voice in each.voices)
    words = (each.leaf_hash, each.index, each.type, each.member or "-", each.ends_at, said or "-")
    print("\t".join(printable(str(word)) for word in words))


def endorse(
    ledger: Named,
    proposal: LeafHash,
    key: Key,
    reject: Annotated[bool, typer.Option("--reject", help="Refuse it instead.")] = False,
    role: Annotated[str | None, typer.Option(help="As whom you speak, for those who read.")] = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Verify a proposal, show what would be signed, ask, and agree to it or reject it."""
    _check_leaf_hash(proposal)
    decision: Decision = "reject" if reject else "approve"
    with open_ledger(url, ledger, key, token_file) as client:
        found = client.proposal(proposal)
        print(describe(found, decision, Signer.load(key).key, role))
        if found.told.state != "open":
            print(f"It is {found.told.state} already: your word would be kept and not counted.")
        confirm(yes=yes)
        speak = client.reject if reject else client.endorse
        done = speak(found, role=role)
        state = client.proposal(proposal).told.state
    print(f"{decision}: entry {done.index}; the proposal is {state}")


def withdraw(
    ledger: Named,
    proposal: LeafHash,
    key: Key,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Take a proposal back while it is open."""
    _check_leaf_hash(proposal)
    with open_ledger(url, ledger, key, token_file) as client:
        done = client.withdraw(proposal)
    print(f"withdrawn: {proposal} (entry {done.index})")


def _check_leaf_hash(text: str) -> None:
    try:
        ids.check_digest(text)
    except MalformedError:
        raise SettingsError(
            "PROPOSAL is a leaf hash like sha256:…; `ledgergrid proposals` lists them"
        ) from None
