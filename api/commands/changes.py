"""Changing what holds of entries, and looking at it: nothing is signed that was not shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, get_args

import typer

from api.commands.client import Key, Yes, confirm, open_ledger, report
from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, TokenFile, Url
from api.commands.records import PayloadFile, PayloadText, read_payload
from ledger_core import ids
from ledger_core.clock import format_time
from ledger_core.errors import MalformedError, SettingsError
from ledgergrid import Ledger, Receipt, Signer
from ledgergrid.changing import Named, Reason
from ledgergrid.describing import printable
from ledgergrid.entries import VerifiedEntry

Entry = Annotated[
    str, typer.Argument(metavar="ENTRY", help="Its index, or its leaf hash, sha256:…")
]
Entries = Annotated[
    list[str], typer.Argument(metavar="ENTRY...", help="Indexes, or leaf hashes, sha256:…")
]
PartNames = Annotated[
    list[str] | None, typer.Option("--part", help="Part of the payload; may repeat. [all]")
]
Case = Annotated[str, typer.Option(help="What it is held for; everybody reads it.")]

Sign = Callable[[Ledger, list[VerifiedEntry]], Receipt]


def amend(
    entry: Entry,
    key: Key,
    data: PayloadText = None,
    file: PayloadFile = None,
    yes: Yes = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Append the next version of an entry, which must be the one that counts now."""
    payload = ("application/json", read_payload(data, file))

    def sign(client: Ledger, found: list[VerifiedEntry]) -> Receipt:
        return client.amend(found[0], payload)

    _change([entry], "amend", sign, key, ledger, url, token_file, yes=yes)


def rollback(
    entry: Entries,
    to: Annotated[int, typer.Option(min=0, help="By what took effect before this index.")],
    key: Key,
    yes: Yes = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Let entries, named by their first versions, stand again as they stood at an index."""

    def sign(client: Ledger, found: list[VerifiedEntry]) -> Receipt:
        return client.roll_back(found, to)

    _change(entry, f"roll back to {to}", sign, key, ledger, url, token_file, yes=yes)


def redact(
    entry: Entries,
    key: Key,
    part: PartNames = None,
    visible_to: Annotated[
        list[str] | None,
        typer.Option(help="Role whose holders go on seeing them; may repeat."),
    ] = None,
    yes: Yes = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Hide parts of entries from all but some roles and the operator; it can be undone."""
    roles = visible_to or []

    def sign(client: Ledger, found: list[VerifiedEntry]) -> Receipt:
        return client.redact(found, part or None, visible_to=roles)

    said = f"redact for all but {', '.join(roles)}" if roles else "redact"
    _change(entry, said, sign, key, ledger, url, token_file, parts=part or (), yes=yes)


def unredact(
    entry: Entries,
    key: Key,
    part: PartNames = None,
    yes: Yes = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Show redacted parts again, to whoever saw them before."""

    def sign(client: Ledger, found: list[VerifiedEntry]) -> Receipt:
        return client.unredact(found, part or None)

    _change(entry, "unredact", sign, key, ledger, url, token_file, parts=part or (), yes=yes)


def hold(
    entry: Entries,
    case: Case,
    key: Key,
    yes: Yes = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Keep entries from being erased while a case is open."""

    def sign(client: Ledger, found: list[VerifiedEntry]) -> Receipt:
        return client.hold(found, case)

    _change(entry, f"hold for {case}", sign, key, ledger, url, token_file, yes=yes)


def release(
    entry: Entries,
    case: Case,
    key: Key,
    yes: Yes = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """End a case's hold on entries."""

    def sign(client: Ledger, found: list[VerifiedEntry]) -> Receipt:
        return client.release(found, case)

    _change(entry, f"release from {case}", sign, key, ledger, url, token_file, yes=yes)


def erase(
    entry: Entries,
    key: Key,
    part: PartNames = None,
    reason: Annotated[
        str, typer.Option(help="request, subject, legal, mistake or other.")
    ] = "request",
    with_versions: Annotated[
        bool, typer.Option("--with-versions", help="Of all their amendments as well.")
    ] = False,
    yes: Yes = False,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Order parts of entries to be destroyed, for good: it cannot be undone."""
    if reason not in get_args(Reason):
        raise SettingsError(f"--reason is one of {', '.join(get_args(Reason))}")
    why: Reason = reason  # type: ignore[assignment]

    def sign(client: Ledger, found: list[VerifiedEntry]) -> Receipt:
        return client.erase(found, part or None, reason=why)

    _change(
        entry,
        f"erase for ever ({reason})",
        sign,
        key,
        ledger,
        url,
        token_file,
        parts=part or (),
        with_versions=with_versions,
        yes=yes,
    )


def _change(
    named: Iterable[str],
    said: str,
    sign: Sign,
    key: Path,
    ledger: str,
    url: str,
    token_file: Path | None,
    *,
    parts: Sequence[str] | None = None,
    with_versions: bool = False,
    yes: bool,
) -> None:
    """Verify what is named, show what would be signed, ask, sign, and say what came of it."""
    targets = [_read_name(each) for each in named]
    with open_ledger(url, ledger, key, token_file) as client:
        found: dict[str, VerifiedEntry] = {}
        for target in targets:
            entries = client.versions(target) if with_versions else [client.look_up(target)]
            found |= {each.leaf_hash: each for each in entries}
        print(said)
        for entry in found.values():
            _describe(entry, parts)
        print(f"You sign this, as {Signer.load(key).key}")
        confirm(yes=yes)
        done = sign(client, list(found.values()))
        report(client, ledger, done, said)


def _read_name(text: str) -> Named:
    if text.isascii() and text.isdigit():
        return ids.parse_decimal(text)
    try:
        ids.check_digest(text)
    except MalformedError:
        raise SettingsError(
            f"{printable(text[:80])} is no entry: give an index, or a leaf hash like sha256:…"
        ) from None
    return text


def _describe(entry: VerifiedEntry, parts: Sequence[str] | None) -> None:
    record = entry.record
    print(f"  entry {entry.index} {entry.leaf_hash}")
    print(f"    {record.type} by {record.author}, received {format_time(entry.received_at_ms)}")
    if parts is not None:
        shown = [name for name in record.payload if not parts or name in parts]
        print(f"    parts {', '.join(shown) or '(none of those)'}")
