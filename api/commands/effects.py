"""Looking at what holds of entries, at the register of changes, and at subjects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer

from api.commands.options import DEFAULT_LEDGER, DEFAULT_URL, LedgerName, TokenFile, Url
from api.commands.remote import Remote
from ledgergrid.describing import printable
from ledgergrid.told import (
    ChangedBy,
    EffectInfo,
    HistoryItem,
    PartInfo,
    Register,
    RegisterItem,
    SubjectPage,
)

At = Annotated[
    str | None, typer.Option("--at", help="An index, or a time like 2026-08-01T10:11:12.400Z.")
]


def effect(
    entry: Annotated[int, typer.Argument(min=0, metavar="ENTRY", help="Its index.")],
    at: At = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Show what holds of an entry, now or at an index or time, and how it came to that."""
    path = f"/api/v1/ledgers/{ledger}/entries/{entry}/effect"
    answer = Remote(url, token_file).get(path, at=at)
    told = msgspec.json.decode(answer.content, type=EffectInfo)
    counts = "none" if told.current is None else f"entry {told.current.index}"
    print(f"entry    {told.index} {told.leaf_hash}")
    print(f"type     {printable(told.type)}")
    print(f"at       {told.at}")
    print(f"state    {printable(told.state)}; the version that counts: {counts}")
    print(f"parts    {_parts(told.parts)}")
    print(f"held by  {printable(', '.join(told.held_by)) or '-'}")
    _print_history(told.history)


def subject(
    name: Annotated[str, typer.Argument(help="Like user:42 or session:s1.")],
    at: At = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """List all entries about a subject: index, state, type, parts; and what was done to each."""
    remote, cursor = Remote(url, token_file), None
    size = remote.get(f"/api/v1/ledgers/{ledger}").json()["size"]
    path = f"/api/v1/ledgers/{ledger}/subjects/{quote(name, safe='')}"
    while True:
        answer = remote.get(path, at=at, cursor=cursor, min_size=size)
        page = msgspec.json.decode(answer.content, type=SubjectPage)
        for each in page.entries:
            _print(each.index, each.state, each.record.get("type", "-"), _parts(each.parts))
            _print_history(each.history)
        cursor = page.next
        if cursor is None:
            return


def changes(
    kind: Annotated[
        str | None,
        typer.Option(
            help="amendment, rollback, redaction, hold, erasure, retention, done or refusal."
        ),
    ] = None,
    target: Annotated[
        int | None, typer.Option(min=0, help="Only changes that name this entry.")
    ] = None,
    ledger: LedgerName = DEFAULT_LEDGER,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """List the register of changes: index, kind, state, by whom, who agreed, what it names."""
    remote, cursor = Remote(url, token_file), None
    size = remote.get(f"/api/v1/ledgers/{ledger}").json()["size"]
    while True:
        answer = remote.get(
            f"/api/v1/ledgers/{ledger}/changes",
            kind=kind, target=target, cursor=cursor, min_size=size,
        )  # fmt: skip
        page = msgspec.json.decode(answer.content, type=Register)
        for each in page.changes:
            words = (each.member or each.author, _voices(each), ",".join(_targets(each)) or "-")
            _print(each.index, each.kind, each.state, *words, _said(each))
        cursor = page.next
        if cursor is None:
            return


def _targets(each: RegisterItem) -> Iterator[str]:
    for target in each.targets:
        name = target.leaf_hash if target.index is None else str(target.index)
        yield f"{name}:{'+'.join(target.parts)}" if target.parts else name
    if each.target_count > len(each.targets):
        yield f"and {each.target_count - len(each.targets)} more"


def _said(each: RegisterItem) -> str:
    said = {**each.said, **({"done": each.done} if each.done is not None else {})}
    return msgspec.json.encode(said).decode() if said else "-"


def _voices(each: ChangedBy | RegisterItem) -> str:
    return ",".join(f"{voice.member or voice.key}:{voice.decision}" for voice in each.voices) or "-"


def _parts(parts: Mapping[str, PartInfo]) -> str:
    words = [
        f"{name} {part.status}" + ("" if part.by is None else f" by {part.by}")
        for name, part in parts.items()
    ]
    return printable(", ".join(words)) or "-"


def _print_history(history: Iterable[HistoryItem]) -> None:
    for each in history:
        by = "an entry not shown here" if each.by is None else f"entry {each.by.index}"
        about = ",".join(each.parts) or each.case or "-"
        agreed = "-" if each.by is None else _voices(each.by)
        _print("", each.at, each.what, by, about, agreed)


def _print(*words: object) -> None:
    print("\t".join(printable(str(word)) for word in words))
