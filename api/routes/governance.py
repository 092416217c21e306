"""Who may do what in a ledger, what is proposed, and who is waited for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.routes.parameters import LedgerName, Limit, Number, StrictQuery, bearer
from api.service import ServiceOf
from ledger_core import clock, ids
from ledger_core.policy.constitution import KeyStanding, Member
from ledger_core.policy.proposals import Proposal
from ledger_core.records.rules import hash_policy
from ledger_core.records.types.outcome import Verdict

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}",
    tags=["governance"],
    dependencies=[StrictQuery, Security(bearer)],
)
State = Literal["open", "confirmed", "rejected", "withdrawn", "expired"]


class SpellInfo(BaseModel):
    """How a member stands from an index on."""

    since: int
    status: Literal["admitted", "suspended", "removed"]
    roles: list[str]


class KeyInfo(BaseModel):
    key: str
    roles: list[str]
    member: str | None
    since: int
    revoked: int | None
    suspect_since: int | None


class MemberInfo(BaseModel):
    name: str
    status: Literal["admitted", "suspended", "removed"]
    roles: list[str]
    history: list[SpellInfo]
    keys: list[KeyInfo]


class MemberList(BaseModel):
    members: list[MemberInfo]
    keys: list[KeyInfo] = Field(description="keys of no member: operators and lone agents")


class PolicyInfo(BaseModel):
    hash: str = Field(description="what an endorsement names as its policy")
    governs: list[str] = Field(description="types for which it is in force")
    policy: dict[str, Any]


class PolicyList(BaseModel):
    policies: list[PolicyInfo]


class VoiceInfo(BaseModel):
    """One endorsement that was heard."""

    index: int
    leaf_hash: str
    key: str
    member: str | None
    decision: Literal["approve", "reject"]


class ProposalInfo(BaseModel):
    """A proposal: what waits, under which policy, until when, and what was said of it."""

    index: int
    leaf_hash: str
    type: str
    author: str
    member: str | None
    policy: str = Field(description="what an endorsement of it names as its policy")
    ends_at: str
    state: State
    outcome: int | None = Field(description="index of the entry that ended it")
    bundle: str | None
    parts: list[str] = Field(description="of a bundle: the proposals it joins")
    voices: list[VoiceInfo]


class ProposalList(BaseModel):
    proposals: list[ProposalInfo]
    next: str | None = Field(description="give it as `cursor` for the next page")
    counts: dict[State, int] = Field(description="proposals of this ledger by state")


class PendingList(BaseModel):
    """Open proposals that a member's word would still count for."""

    member: str
    proposals: list[ProposalInfo]
    next: str | None = Field(description="give it as `cursor` for the next page")


def _key_info(key: KeyStanding) -> KeyInfo:
    return KeyInfo(
        key=key.key,
        roles=sorted(key.roles),
        member=key.member,
        since=key.since,
        revoked=key.revoked,
        suspect_since=key.suspect_since,
    )


def _member_info(member: Member, keys: list[KeyStanding]) -> MemberInfo:
    return MemberInfo(
        name=member.name,
        status=member.now.status,
        roles=sorted(member.now.roles),
        history=[
            SpellInfo(since=spell.since, status=spell.status, roles=sorted(spell.roles))
            for spell in member.spells
        ],
        keys=[_key_info(key) for key in keys],
    )


def proposal_info(proposal: Proposal) -> ProposalInfo:
    return ProposalInfo(
        index=proposal.index,
        leaf_hash=ids.format_digest(proposal.leaf_hash),
        type=proposal.type,
        author=proposal.author,
        member=proposal.member,
        policy=ids.format_digest(proposal.policy_hash),
        ends_at=clock.format_time(proposal.ends_at),
        state=proposal.verdict or "open",
        outcome=proposal.outcome,
        bundle=None if proposal.bundle is None else ids.format_digest(proposal.bundle),
        parts=[ids.format_digest(part) for part in proposal.parts],
        voices=[
            VoiceInfo(
                index=voice.index,
                leaf_hash=ids.format_digest(voice.leaf_hash),
                key=voice.key,
                member=voice.member,
                decision=voice.decision,
            )
            for voice in proposal.voices
        ],
    )


@router.get("/members", operation_id="list_members", responses=problems.responses(400, 401, 404))
def list_members(service: ServiceOf, request: Request, ledger: LedgerName) -> MemberList:
    """List members and keys, each with its history by index."""
    found, _ = actors.open_ledger(service, request, ledger)
    constitution = found.constitution()
    keys = sorted(constitution.keys.values(), key=lambda key: key.since)
    return MemberList(
        members=[
            _member_info(member, [key for key in keys if key.member == member.name])
            for member in constitution.members.values()
        ],
        keys=[_key_info(key) for key in keys if key.member is None],
    )


@router.get("/policies", operation_id="list_policies", responses=problems.responses(400, 401, 404))
def list_policies(service: ServiceOf, request: Request, ledger: LedgerName) -> PolicyList:
    """List every policy there was, with the types it governs now."""
    found, _ = actors.open_ledger(service, request, ledger)
    constitution = found.constitution()
    return PolicyList(
        policies=[
            PolicyInfo(
                hash=ids.format_digest(hash_policy(policy)),
                governs=sorted(t for t, h in constitution.governing.items() if h == policy_hash),
                policy=msgspec.to_builtins(policy),
            )
            for policy_hash, policy in constitution.policies.items()
        ]
    )


@router.get(
    "/proposals", operation_id="list_proposals", responses=problems.responses(400, 401, 404)
)
def list_proposals(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    state: State = "open",
    cursor: Number | None = None,
    limit: Limit = 100,
) -> ProposalList:
    """List proposals in one state, in order of index, and count all by state.

    Neither shows nor counts what whoever asks may not see.
    """
    found = actors.look(service, request, ledger)
    verdict: Verdict | None = None if state == "open" else state
    after = -1 if cursor is None else cursor
    page = found.proposals(verdict, after=after, limit=limit + 1)
    counts = found.count_proposals()
    return ProposalList(
        proposals=[proposal_info(each) for each in page[:limit]],
        next=str(page[limit - 1].index) if len(page) > limit else None,
        counts={
            "open": counts.get(None, 0),
            "confirmed": counts.get("confirmed", 0),
            "rejected": counts.get("rejected", 0),
            "withdrawn": counts.get("withdrawn", 0),
            "expired": counts.get("expired", 0),
        },
    )


@router.get(
    "/proposals/{leaf_hash}",
    operation_id="get_proposal",
    responses=problems.responses(400, 401, 404),
)
def get_proposal(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    leaf_hash: Annotated[str, Path(max_length=100, description="`sha256:…`")],
) -> ProposalInfo:
    """Show one proposal: its policy, its end, what was said and how it ended."""
    found = actors.look(service, request, ledger)
    return proposal_info(found.proposal(ids.parse_digest(leaf_hash)))


@router.get("/pending", operation_id="list_pending", responses=problems.responses(400, 401, 404))
def list_pending(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    member: Annotated[str, Query(max_length=63)],
    cursor: Number | None = None,
    limit: Limit = 100,
) -> PendingList:
    """List the open proposals that wait for a member's word."""
    found = actors.look(service, request, ledger)
    page = found.pending(member, after=-1 if cursor is None else cursor, limit=limit + 1)
    return PendingList(
        member=member,
        proposals=[proposal_info(each) for each in page[:limit]],
        next=str(page[limit - 1].index) if len(page) > limit else None,
    )
