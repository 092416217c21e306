"""The mutation register of an archive: ``mutations.csv``, what was changed, by whom, and how.

A header, then one line for each entry that a change names, in the order of the changes::

    index,change,target,parts,author,status,since,agreed,detail
    8,amendment,5,,ed25519:…,in-force,8,0,
    11,redact,5,body,ed25519:…,in-force,13,2,auditor
    14,erasure,6,call request,ed25519:…,waiting,,1,request
    19,refusal,,,ed25519:…,refused,,0,no-standing hold/1

``index`` is the change's own, ``target`` that of the entry it names, if it names one; ``since``
says from where the change holds, ``agreed`` how many members or keys agreed to it. No cell needs
quotes, and none begins with what a spreadsheet takes for a formula.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Literal, get_args

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError

What = Literal[
    "amendment", "rollback", "redact", "unredact", "hold", "release", "erasure", "retention",
    "erasure.done", "refusal",
]  # fmt: skip
Status = Literal["in-force", "waiting", "rejected", "withdrawn", "expired", "refused"]

HEADER = b"index,change,target,parts,author,status,since,agreed,detail\n"
LINE_BYTES = 4_096
_CELL = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:/ -]*)?", re.ASCII)
_PARTS = re.compile(r"(?:[a-z][a-z0-9_]{0,31}(?: (?!$)|$))*", re.ASCII)
_WHAT: frozenset[str] = frozenset(get_args(What))
_STATUS: frozenset[str] = frozenset(get_args(Status))


class Mutation(msgspec.Struct, frozen=True):
    """One line: what one change makes, or would have made, of one entry."""

    index: int
    change: What
    target: int | None
    parts: tuple[str, ...]
    author: str
    status: Status
    since: int | None = None
    agreed: int = 0
    detail: str = ""


def format_mutation(line: Mutation) -> bytes:
    cells = (
        str(line.index),
        line.change,
        _number(line.target),
        " ".join(line.parts),
        line.author,
        line.status,
        _number(line.since),
        str(line.agreed),
        line.detail,
    )
    return ",".join(cells).encode("ascii") + b"\n"


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


def read_mutations(stream: BinaryIO) -> Iterator[Mutation]:
    """Read lines one by one; accept exactly what :func:`format_mutation` emits."""
    if stream.readline(LINE_BYTES) != HEADER:
        raise MalformedError("the mutation register does not begin with its header")
    while raw := stream.readline(LINE_BYTES):
        line = _parse(raw)
        if format_mutation(line) != raw:
            raise MalformedError(f"a line of the mutation register is not canonical: {raw[:80]!r}")
        yield line


def _parse(raw: bytes) -> Mutation:
    try:
        cells = raw.decode("ascii").removesuffix("\n").split(",")
        index, change, target, parts, author, status, since, agreed, detail = cells
    except (UnicodeDecodeError, ValueError):
        raise MalformedError(f"{raw[:80]!r} is no line of a mutation register") from None
    if change not in _WHAT or status not in _STATUS or not _CELL.fullmatch(detail):
        raise MalformedError(f"{raw[:80]!r} is no line of a mutation register")
    if not _PARTS.fullmatch(parts) or not _CELL.fullmatch(author):
        raise MalformedError(f"{raw[:80]!r} is no line of a mutation register")
    return Mutation(
        index=ids.parse_decimal(index),
        change=change,  # type: ignore[arg-type]
        target=ids.parse_decimal(target) if target else None,
        parts=tuple(parts.split(" ")) if parts else (),
        author=author,
        status=status,  # type: ignore[arg-type]
        since=ids.parse_decimal(since) if since else None,
        agreed=ids.parse_decimal(agreed),
        detail=detail,
    )
