"""Proposals, voices and which entries make the constitution: written as entries are appended.

They are a memory of what the log says, kept so that an append need not read it all again;
the verifier computes the same from the entries alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import BigInteger, bindparam, exists, func, select

from ledger_core import ids
from ledger_core.errors import IntegrityError
from ledger_core.policy.proposals import Proposal, Voice
from ledger_core.storage import tables as t
from ledger_core.storage.database import Dialect, Transaction
from ledger_core.storage.effects import format_change, parse_change
from ledger_core.storage.prepared import Among, Prepared, Row, in_parts

_HASH_BYTES = 32
_p, _v, _c = t.proposals.c, t.voices.c, t.constitutional.c
_LEDGER = bindparam("ledger", type_=BigInteger)

_COLUMNS = (
    _p.index, _p.leaf_hash, _p.author, _p.member, _p.type, _p.policies, _p.ends_at, _p.parts,
    _p.bundle, _p.outcome, _p.verdict, _p.change,
)  # fmt: skip
_FIND_PROPOSALS = Prepared(
    select(*_COLUMNS).where(_p.ledger_id == _LEDGER, Among(_p.leaf_hash, "leaf_hashes")),
    lists=["leaf_hashes"],
)
_READ_VOICES = Prepared(
    select(_v.proposal, _v.index, _v.leaf_hash, _v.key, _v.member, _v.roles, _v.decision)
    .where(_v.ledger_id == _LEDGER, Among(_v.proposal, "proposals"))
    .order_by(_v.proposal, _v.index),
    lists=["proposals"],
)
_PROPOSAL, _STATE = ("ledger_id", "index"), ("bundle", "outcome", "verdict")
_READ_CONSTITUTIONAL = Prepared(
    select(_c.index)
    .where(
        _c.ledger_id == _LEDGER,
        _c.index >= bindparam("start", type_=BigInteger),
        _c.index < bindparam("end", type_=BigInteger),
    )
    .order_by(_c.index)
)

# --- the constitution ------------------------------------------------------------


def read_constitutional(tx: Transaction, ledger_id: int, start: int, end: int) -> list[int]:
    """Return the indexes in ``[start, end)`` of entries that make the constitution."""
    rows = _READ_CONSTITUTIONAL.rows(tx, ledger=ledger_id, start=start, end=end)
    return [row[0] for row in rows]


def add_constitutional(
    tx: Transaction, dialect: Dialect, ledger_id: int, indexes: Collection[int]
) -> None:
    if indexes:
        dialect.insert_many(tx, t.constitutional, [(ledger_id, index) for index in indexes])


# --- proposals -------------------------------------------------------------------


def find_proposals(
    tx: Transaction, ledger_id: int, leaf_hashes: Collection[bytes]
) -> dict[bytes, Proposal]:
    """Return those of the named proposals that exist, and what bundles among them join."""
    found = _find(tx, ledger_id, leaf_hashes)
    joined = {part for each in found.values() for part in each.parts}
    found |= _find(tx, ledger_id, joined - found.keys())
    if missing := joined - found.keys():
        raise IntegrityError(f"a bundle joins {ids.format_digest(min(missing))}, no proposal")
    return found


def _find(tx: Transaction, ledger_id: int, leaf_hashes: Collection[bytes]) -> dict[bytes, Proposal]:
    found: dict[bytes, Proposal] = {}
    for part in in_parts(leaf_hashes):
        rows = _FIND_PROPOSALS.rows(tx, ledger=ledger_id, leaf_hashes=part)
        found |= {each.leaf_hash: each for each in _with_voices(tx, ledger_id, rows)}
    return found


def list_proposals(
    tx: Transaction,
    ledger_id: int,
    *,
    verdict: str | None,
    after: int,
    limit: int,
) -> list[Proposal]:
    """Return proposals in order of index, behind ``after``; ``verdict`` None: those still open."""
    state = _p.outcome.is_(None) if verdict is None else _p.verdict == verdict
    query = select(*_COLUMNS).where(_p.ledger_id == ledger_id, state, _p.index > after)
    rows = [tuple(row) for row in tx.execute(query.order_by(_p.index).limit(limit))]
    return _with_voices(tx, ledger_id, rows)


def find_open_at(tx: Transaction, ledger_id: int, index: int) -> list[Proposal]:
    """Return proposals that waited when ``index`` was appended, but for changes of entries."""
    is_open = _p.outcome.is_(None) | (_p.outcome >= index)
    query = select(*_COLUMNS).where(
        _p.ledger_id == ledger_id, _p.index < index, is_open, _p.change.is_(None)
    )
    return _with_voices(tx, ledger_id, [tuple(row) for row in tx.execute(query.order_by(_p.index))])


def count_proposals(tx: Transaction, ledger_id: int) -> dict[str | None, int]:
    """Return how many proposals ended how; None counts those still open."""
    query = select(_p.verdict, func.count()).where(_p.ledger_id == ledger_id)
    return {row[0]: row[1] for row in tx.execute(query.group_by(_p.verdict))}


def read_overdue(tx: Transaction, now_ms: int, limit: int) -> list[tuple[int, bytes]]:
    """Return ledger id and leaf hash of open proposals whose time is up, oldest first."""
    # What a closed ledger left open stays so: nothing can be appended there.
    is_closed = exists().where(t.closings.c.ledger_id == _p.ledger_id)
    query = select(_p.ledger_id, _p.leaf_hash).where(
        _p.outcome.is_(None), _p.bundle.is_(None), _p.ends_at <= now_ms, ~is_closed
    )
    return [(row[0], row[1]) for row in tx.execute(query.order_by(_p.ends_at).limit(limit))]


def put_proposals(
    tx: Transaction,
    dialect: Dialect,
    ledger_id: int,
    changed: Iterable[Proposal],
    known: Mapping[bytes, Proposal],
) -> None:
    """Write what an append made of proposals; ``known`` is how they were found."""
    new: list[Row] = []
    moved: list[Row] = []
    voices: list[Row] = []
    for each in changed:
        before = known.get(each.leaf_hash)
        if before is None:
            new.append(_proposal_row(ledger_id, each))
        elif _state(before) != _state(each):
            moved.append((*_state(each), ledger_id, each.index))
        heard = len(before.voices) if before is not None else 0
        voices += [_voice_row(ledger_id, each, voice) for voice in each.voices[heard:]]
    for table, rows in ((t.proposals, new), (t.voices, voices)):
        if rows:
            dialect.insert_many(tx, table, rows)
    if moved:
        dialect.update_many(tx, t.proposals, _PROPOSAL, _STATE, moved)


def _state(proposal: Proposal) -> tuple[bytes | None, int | None, str | None]:
    """Return what may still change in a proposal's row."""
    return proposal.bundle, proposal.outcome, proposal.verdict


def _proposal_row(ledger_id: int, proposal: Proposal) -> Row:
    return (
        ledger_id, proposal.index, proposal.leaf_hash, proposal.author, proposal.member,
        proposal.type, b"".join(proposal.policies), proposal.ends_at, b"".join(proposal.parts),
        proposal.bundle, proposal.outcome, proposal.verdict,
        None if proposal.change is None else format_change(proposal.change),
    )  # fmt: skip


def _voice_row(ledger_id: int, proposal: Proposal, voice: Voice) -> Row:
    roles = " ".join(sorted(voice.roles))
    return (
        ledger_id, proposal.index, voice.index, voice.leaf_hash, voice.key, voice.member, roles,
        voice.decision,
    )  # fmt: skip


def _with_voices(tx: Transaction, ledger_id: int, rows: Sequence[Row]) -> list[Proposal]:
    if not rows:
        return []
    spoken: dict[int, list[Voice]] = {}
    wanted = [row[0] for row in rows]
    for of, index, leaf_hash, key, member, roles, decision in _READ_VOICES.rows(
        tx, ledger=ledger_id, proposals=wanted
    ):
        voice = Voice(index, leaf_hash, key, member, frozenset(roles.split()), decision)
        spoken.setdefault(of, []).append(voice)
    return [_proposal(row, spoken.get(row[0], [])) for row in rows]


def _proposal(row: Row, voices: Sequence[Voice]) -> Proposal:
    index, leaf_hash, author, member, type_name, policies, ends_at, parts = row[:8]
    bundle, outcome, verdict, change = row[8:]
    if (outcome is None) != (verdict is None):
        raise IntegrityError(f"proposal {index} is half ended", index=index)
    return Proposal(
        index=index,
        leaf_hash=leaf_hash,
        author=author,
        member=member,
        type=type_name,
        policies=_split(policies),
        ends_at=ends_at,
        parts=_split(parts),
        bundle=bundle,
        voices=tuple(voices),
        outcome=outcome,
        verdict=verdict,
        change=parse_change(change) if change is not None else None,
    )


def _split(hashes: bytes) -> tuple[bytes, ...]:
    if len(hashes) % _HASH_BYTES:
        raise IntegrityError(f"{len(hashes)} bytes are no list of hashes")
    return tuple(hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES))
