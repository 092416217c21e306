"""What a ledger tells about its governance: members, policies, proposals.

These are its words, read strictly and believed by nobody: to see is enough. Before anything is
signed, proposals.py checks what it is signed on; that a verdict follows from the endorsements is
what an archive and the verifier show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlencode

import msgspec

from ledger_core import limits
from ledger_core.records.rules import Policy
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
