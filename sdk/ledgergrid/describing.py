"""A proposal in words, for whoever is about to sign: all that is signed, and nothing unseen.

What others wrote is shown with every sign that does not print written out (``\\u202e``), so that
no text can move the cursor, hide a line or turn around what stands before it. JSON is laid out
without being parsed into something else: a field named twice shows twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ledger_core.clock import format_time
from ledger_core.formats.record import Part, PartRef
from ledger_core.records.rules import KeyRule, MemberRule, Policy, RoleRule, Rule
from ledger_core.records.types.endorsement import Decision
from ledgergrid.proposals import Proposal
from ledgergrid.sealing import JSON

SHOWN_CHARS = 20_000
"""Of one payload part; how much is left out is said."""


def describe(proposal: Proposal, decision: Decision, key: str, role: str | None = None) -> str:
    """Say what ``key`` would sign by this decision."""
    body = msgspec.json.encode(proposal.endorsement(decision, role)).decode()
    lines = [
        *_describe_entry(proposal),
        *(line for each in proposal.policies.items() for line in _describe_policy(*each)),
        f"ends at   {proposal.ends_at}",
        f"state     {proposal.told.state}, says the ledger; {_voices(proposal)}",
        "",
        f"You {decision.upper()} it, as {key}, by signing",
        f"  {body}",
    ]
    return "\n".join(lines)


def _describe_entry(proposal: Proposal) -> Iterator[str]:
    entry, record = proposal.entry, proposal.entry.record
    yield f"proposal  {entry.leaf_hash}"
    yield f"ledger    {proposal.origin}, entry {entry.index}"
    yield f"type      {record.type}"
    member = (
        f" of {printable(proposal.told.member)}, says the ledger" if proposal.told.member else ""
    )
    yield f"author    {record.author}{member}"
    yield f"received  {format_time(entry.received_at_ms)}"
    for ref in record.refs:
        yield f"{ref.rel:<9} {ref.to}"
    if record.parties:
        yield f"parties   {', '.join(record.parties)}"
    for name, part in entry.parts.items():
        yield from _describe_part(name, record.payload[name], part)
    for number, each in enumerate(proposal.parts, start=1):
        yield f"--- {number} of {len(proposal.parts)} in this bundle"
        yield from (f"  {line}" for line in _describe_entry(each))


def _describe_part(name: str, ref: PartRef, part: Part) -> Iterator[str]:
    yield f"part      {name}: {ref.media_type}, {ref.size} bytes"
    text = _text_of(ref, part)
    if text is None:
        yield f"  not text; it begins {part.data[:32].hex()}"
        return
    yield from (f"  {printable(line)}" for line in text[:SHOWN_CHARS].split("\n"))
    if len(text) > SHOWN_CHARS:
        yield f"  … and {len(text) - SHOWN_CHARS} more characters, not shown"


def _text_of(ref: PartRef, part: Part) -> str | None:
    try:
        if ref.media_type == JSON:
            return msgspec.json.format(part.data, indent=2).decode()
        return part.data.decode()
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None


def printable(text: str) -> str:
    """Write out what does not print: controls, and marks that change a text's direction."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def _describe_policy(policy_hash: str, policy: Policy) -> Iterator[str]:
    yield f"policy    {policy.name} {policy_hash}"
    yield f"  for {', '.join(policy.governs)}: {describe_rule(policy.rule)}"
    counts = "counts" if policy.author_counts else "does not count"
    yield f"  counted by {policy.count_by}; the author {counts}; open for {policy.ttl_s} s"
    if policy.veto is not None:
        yield f"  vetoed by {describe_rule(policy.veto)}"


def describe_rule(rule: Rule) -> str:
    """Say a rule in words: ``2 of (acme, birch, cobalt)``."""
    match rule:
        case MemberRule():
            return rule.member
        case KeyRule():
            return rule.key
        case RoleRule():
            return f"{rule.at_least} of role {rule.role}"
        case _:
            return f"{rule.at_least} of ({', '.join(map(describe_rule, rule.of))})"


def _voices(proposal: Proposal) -> str:
    said = [f"{each.member or each.key} {each.decision}s" for each in proposal.told.voices]
    return printable("; ".join(said)) if said else "nobody has spoken"
