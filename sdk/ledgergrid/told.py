"""What a ledger tells about its governance: members, policies, proposals.

These are its words, read strictly and believed by nobody: to see is enough. Before anything is
signed, proposals.py checks what it is signed on; that a verdict follows from the endorsements is
what an archive and the verifier show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ledger_core import limits
from ledger_core.errors import NotFoundError
from ledger_core.records.rules import MutabilitySetting, Policy
from ledgergrid.wire import Ask, Flow, NoAnswerError, ask, check_understood

State = Literal["open", "confirmed", "rejected", "withdrawn", "expired"]
T = TypeVar("T")

_ANSWER_BYTES = 64 * 1024 * 1024
_PAGE = 200
_Digest = Annotated[str, msgspec.Meta(max_length=100)]
_Cursor = Annotated[str, msgspec.Meta(max_length=20, pattern="^[0-9]+$")]


class Spell(msgspec.Struct, frozen=True):
    """How a member stands from the entry after ``since`` on."""

    since: int
    status: str
    roles: tuple[str, ...]


class KeyInfo(msgspec.Struct, frozen=True):
    key: str
    roles: tuple[str, ...]
    since: int
    member: str | None = None
    revoked: int | None = None
    """Index of the entry that revoked it."""
    suspect_since: int | None = None


class MemberInfo(msgspec.Struct, frozen=True):
    """One member, with its history and its keys."""

    name: str
    status: str
    roles: tuple[str, ...]
    history: tuple[Spell, ...]
    keys: tuple[KeyInfo, ...]


class MemberList(msgspec.Struct, frozen=True):
    """Everyone who has a say or a key. ``keys`` are those of no member."""

    members: tuple[MemberInfo, ...]
    keys: tuple[KeyInfo, ...]


class PolicyInfo(msgspec.Struct, frozen=True):
    """A policy that is or was in force; ``governs``: the types it governs now."""

    hash: str
    governs: tuple[str, ...]
    policy: Policy


class VoiceInfo(msgspec.Struct, frozen=True):
    """One endorsement that was heard."""

    index: int
    leaf_hash: _Digest
    key: str
    decision: Literal["approve", "reject"]
    member: str | None = None


class ProposalInfo(msgspec.Struct, frozen=True):
    """What waits or waited, until when, and what was said of it."""

    index: int
    leaf_hash: _Digest
    type: str
    author: str
    policy: _Digest
    """What an endorsement of it names as its policy."""
    ends_at: str
    state: State
    member: str | None = None
    outcome: int | None = None
    """Index of the entry that ended it."""
    bundle: _Digest | None = None
    parts: tuple[_Digest, ...] = ()
    voices: tuple[VoiceInfo, ...] = ()


class PartInfo(msgspec.Struct, frozen=True):
    """How a payload part stands. ``by``: the entry that redacted it, or ordered its erasure."""

    status: Literal["present", "withheld", "redacted", "erased", "missing"]
    by: int | None = None
    data: str | None = None
    """Of a part that is shown: base64, as the ledger tells it."""


class EntryInfo(msgspec.Struct, frozen=True):
    """An entry, and what holds of it now."""

    index: int
    leaf_hash: _Digest
    received_at: str
    record: dict[str, Any]
    state: str
    """``in-effect``, ``amended``, ``rolled-back``, ``waiting``, … see docs/concepts/change.md."""
    parts: dict[str, PartInfo]
    version: int | None = None
    """The entry that counts in its place."""
    held_by: tuple[str, ...] = ()


class ChangedBy(msgspec.Struct, frozen=True):
    """An entry that changed others; ``voices``: who agreed, if anybody had to."""

    index: int
    leaf_hash: _Digest
    type: str
    author: str
    received_at: str
    member: str | None = None
    policy: str | None = None
    voices: tuple[VoiceInfo, ...] = ()


class HistoryItem(msgspec.Struct, frozen=True):
    """What was done to an entry, in effect behind ``at``; ``by`` is missing if it is hidden."""

    at: int
    what: str
    parts: tuple[str, ...] = ()
    case: str | None = None
    version: int | None = None
    by: ChangedBy | None = None


class VersionInfo(msgspec.Struct, frozen=True):
    index: int
    leaf_hash: _Digest


class EffectInfo(msgspec.Struct, frozen=True):
    """What holds of an entry at an index, and how it came to that."""

    index: int
    leaf_hash: _Digest
    type: str
    at: int
    size: int
    state: str
    versions: tuple[VersionInfo, ...]
    parts: dict[str, PartInfo]
    history: tuple[HistoryItem, ...]
    held_by: tuple[str, ...] = ()
    since: int | None = None
    original: VersionInfo | None = None
    current: EntryInfo | None = None


class TargetInfo(msgspec.Struct, frozen=True):
    leaf_hash: _Digest
    index: int | None = None
    parts: tuple[str, ...] = ()


class RegisterItem(msgspec.Struct, frozen=True):
    """One change in the register, whether it is in effect or not."""

    index: int
    leaf_hash: _Digest
    kind: str
    type: str
    author: str
    received_at: str
    state: str
    targets: tuple[TargetInfo, ...]
    target_count: int
    said: dict[str, Any]
    member: str | None = None
    policy: str | None = None
    voices: tuple[VoiceInfo, ...] = ()
    since: int | None = None
    done: int | None = None
    """Of an order to erase: where it was done."""


class Register(msgspec.Struct, frozen=True):
    changes: tuple[RegisterItem, ...]
    next: _Cursor | None = None


class SubjectEntry(EntryInfo, frozen=True, kw_only=True):
    """An entry about a subject; those in effect make up its state."""

    history: tuple[HistoryItem, ...]


class SubjectPage(msgspec.Struct, frozen=True):
    entries: tuple[SubjectEntry, ...]
    next: _Cursor | None = None


class MutabilityInfo(msgspec.Struct, frozen=True):
    """Who may change entries of a type, behind the entry ``since``."""

    since: int
    is_in_force: bool
    setting: MutabilitySetting


class MutabilityList(msgspec.Struct, frozen=True):
    settings: tuple[MutabilityInfo, ...]


class _Found(msgspec.Struct, frozen=True):
    index: int
    leaf_hash: _Digest


class _FoundPage(msgspec.Struct, frozen=True):
    entries: tuple[_Found, ...]


class PolicyList(msgspec.Struct, frozen=True):
    policies: tuple[PolicyInfo, ...]


class ProposalPage(msgspec.Struct, frozen=True):
    proposals: tuple[ProposalInfo, ...]
    next: _Cursor | None = None


def ask_members() -> Flow[MemberList]:
    return (yield from _ask("/members", MemberList))


def ask_policies() -> Flow[tuple[PolicyInfo, ...]]:
    return (yield from _ask("/policies", PolicyList)).policies


def ask_proposal(leaf_hash: str) -> Flow[ProposalInfo]:
    return (yield from _ask(f"/proposals/{leaf_hash}", ProposalInfo))


def ask_proposals(state: State, limit: int) -> Flow[list[ProposalInfo]]:
    return (yield from _ask_pages("/proposals", {"state": state}, limit))


def ask_pending(member: str, limit: int) -> Flow[list[ProposalInfo]]:
    return (yield from _ask_pages("/pending", {"member": member}, limit))


def ask_index(leaf_hash: str) -> Flow[int]:
    """Ask where an entry lies; whoever needs it checks that it does."""
    page = yield from _ask(f"/entries?{urlencode({'leaf_hash': leaf_hash})}", _FoundPage)
    if not page.entries:
        raise NotFoundError(f"no entry with leaf hash {leaf_hash}, or none for this reader")
    return page.entries[0].index


def ask_effect(index: int, at: int | str | None) -> Flow[EffectInfo]:
    query = "" if at is None else f"?{urlencode({'at': at})}"
    return (yield from _ask(f"/entries/{index}/effect{query}", EffectInfo))


def ask_mutability() -> Flow[tuple[MutabilityInfo, ...]]:
    return (yield from _ask("/mutability", MutabilityList)).settings


def ask_changes(query: Mapping[str, Any], limit: int) -> Flow[list[RegisterItem]]:
    found: list[RegisterItem] = []
    cursor: str | None = None
    while len(found) < limit:
        page = yield from _ask(_page_path("/changes", query, cursor, limit - len(found)), Register)
        found += page.changes
        cursor = page.next
        if cursor is None or not page.changes:
            break
    return found[:limit]


def ask_subject(name: str, query: Mapping[str, Any], limit: int) -> Flow[list[SubjectEntry]]:
    found: list[SubjectEntry] = []
    cursor: str | None = None
    path = f"/subjects/{quote(name, safe='')}"
    while len(found) < limit:
        page = yield from _ask(_page_path(path, query, cursor, limit - len(found)), SubjectPage)
        found += page.entries
        cursor = page.next
        if cursor is None or not page.entries:
            break
    return found[:limit]


def _page_path(path: str, query: Mapping[str, Any], cursor: str | None, left: int) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    more = {"cursor": cursor} if cursor else {}
    return f"{path}?{urlencode({**given, **more, 'limit': min(_PAGE, left)})}"


def _ask_pages(path: str, query: Mapping[str, Any], limit: int) -> Flow[list[ProposalInfo]]:
    found: list[ProposalInfo] = []
    cursor: str | None = None
    while len(found) < limit:
        more = {"cursor": cursor} if cursor else {}
        words = urlencode({**query, **more, "limit": min(_PAGE, limit - len(found))})
        page = yield from _ask(f"{path}?{words}", ProposalPage)
        found += page.proposals
        if page.next is None or not page.proposals:
            break
        cursor = page.next
    return found[:limit]


def _ask(path: str, kind: type[T]) -> Flow[T]:
    answer = yield from ask(Ask("GET", path, limit_bytes=_ANSWER_BYTES))
    check_understood(answer)
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswerError(f"not what {path.partition('?')[0]} answers: {error}") from None


MOST = limits.PAGE_ITEMS
