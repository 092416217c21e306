"""What must be true of a ledger whatever happened to it, checked against raw rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
from sqlalchemy import select

from ledger_core import ids
from ledger_core.formats.entry import NO_PREVIOUS, parse_entry
from ledger_core.formats.record import check_part
from ledger_core.ledger import Ledger
from ledger_core.merkle import tree
from ledger_core.merkle.tiles import TileEdge
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly
from ledger_core.policy.changes import amended_by
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.effects import Effect, retired_at
from ledger_core.policy.streams import counter_of
from ledger_core.policy.visibility import OPERATOR
from ledger_core.records.model import decode_payload
from ledger_core.records.registry import find_type
from ledger_core.storage import assemblies, catalogue, store
from ledger_core.storage import tables as t
from ledger_core.storage.erasures import Erased
from ledger_core.storage.search import EntryQuery
from ledger_core.storage.store import StoredEntry
from ledger_core.viewing import view_row
from tests.support.ledgers import Replica, trust_policy
from verifier.__main__ import main as verify


def check_everything(replica: Replica, ledger: Ledger, folder: Path) -> None:
    """Check that a ledger is whole: chain, tree, rows, keys, views, export."""
    entries = check_chain(ledger)
    check_rows(replica, ledger, entries)
    check_governance(replica, ledger, entries)
    check_views(ledger, entries)
    check_export(ledger, folder)


def check_chain(ledger: Ledger) -> list[StoredEntry]:
    """Check that entries are linked without a gap, whole, and one an id; return them."""
    entries = ledger.entries(range(ledger.size() + 1000))
    assert len(entries) == ledger.size()
    previous, received_at, seen = NO_PREVIOUS, 0, set()
    for index, entry in enumerate(entries):
        parsed = parse_entry(entry.leaf)
        record = parsed.signed_record().record
        assert (entry.index, parsed.header.index) == (index, index)
        assert parsed.header.previous == previous
        assert parsed.header.received_at >= received_at
        assert entry.leaf_hash == tree.leaf_hash(entry.leaf)
        assert entry.parts.keys() | entry.gone.keys() == record.payload.keys()
        for name, part in entry.parts.items():
            check_part(name, record.payload[name], part)
        previous, received_at = entry.leaf_hash, parsed.header.received_at
        seen.add(record.id)
    assert len(seen) == len(entries)
    return entries


def check_rows(replica: Replica, ledger: Ledger, entries: list[StoredEntry]) -> None:
    """Check head, tiles and checkpoints against a tree grown from the entries anew."""
    hashes = [entry.leaf_hash for entry in entries]
    with replica.database.read() as tx:
        row = catalogue.find_ledger(tx, ledger.name)
        assert row is not None
        head = store.read_head(tx, row.ledger_id)
        tiles = tx.execute(
            select(t.tiles.c.level, t.tiles.c.position, t.tiles.c.root, t.tiles.c.hashes)
            .where(t.tiles.c.ledger_id == row.ledger_id)
            .order_by(t.tiles.c.level, t.tiles.c.position)
        ).all()
        checkpoints = tx.execute(
            select(t.checkpoints.c.size, t.checkpoints.c.root)
            .where(t.checkpoints.c.ledger_id == row.ledger_id)
            .order_by(t.checkpoints.c.size)
        ).all()
    assert (head.size, head.root) == (len(hashes), tree.root(hashes))
    assert head.last_leaf == hashes[-1]
    assert head.received_at == parse_entry(entries[-1].leaf).header.received_at
    _, full = TileEdge(0, []).extended(hashes)
    assert [tuple(each) for each in tiles] == sorted(full, key=lambda tile: tile[:2])
    frontier = tree.Frontier()
    for size, root in checkpoints:
        frontier = frontier.extend(hashes[frontier.size : size])
        assert (frontier.size, frontier.root()) == (size, root)
    assert frontier.size == head.size


def check_governance(replica: Replica, ledger: Ledger, entries: list[StoredEntry]) -> None:
    """Check that what was remembered while appending is what all entries together say."""
    assembly, given = Assembly(Constitution(), {}), dict[bytes, int]()
    for entry in entries:
        parsed = parse_entry(entry.leaf)
        record = parsed.signed_record().record
        kind = find_type(record.type)
        payload = {} if entry.gone else decode_payload(kind, record, entry.parts)
        received_at = parsed.header.received_at
        counter = counter_of(kind, record)
        first = entry.index if counter is None else given.setdefault(counter, entry.index)
        repeats = None if first == entry.index else entries[first].leaf_hash
        amends, parts, author = amended_by(kind, record.refs), tuple(record.payload), record.author
        act = Act(
            entry.index, entry.leaf_hash, received_at, kind, author, payload, amends, repeats, parts
        )
        assembly.take(act, assembly.check(act))
        assembly.alterations.learn(act)
    assert not assembly.due
    with replica.database.read() as tx:
        row = catalogue.find_ledger(tx, ledger.name)
        assert row is not None
        stored = assemblies.read_constitutional(tx, row.ledger_id, 0, len(entries))
        assert stored == assembly.constitutional
        c = t.counters.c
        rows = tx.execute(select(c.counter, c.index).where(c.ledger_id == row.ledger_id))
        assert {bytes(counter): index for counter, index in rows} == given
        known = assembly.proposals
        found = assemblies.find_proposals(tx, row.ledger_id, known.keys())
        of_ledger = select(t.effects.c.body).where(t.effects.c.ledger_id == row.ledger_id)
        stored_effects = [
            msgspec.json.decode(each[0], type=Effect) for each in tx.execute(of_ledger)
        ]
        assert sum(assemblies.count_proposals(tx, row.ledger_id).values()) == len(known)
    kept = {leaf: replace(each, is_withdrawn=False) for leaf, each in known.items()}
    assert found == kept
    assert ledger.constitution() == assembly.constitution
    assert {each.leaf_hash: each for each in stored_effects} == assembly.alterations.altered
    check_gone(entries, assembly)


def check_gone(entries: list[StoredEntry], assembly: Assembly) -> None:
    """Check that those parts are gone, and no others, which orders in the log erased."""
    end = len(entries)
    for entry in entries:
        effect = assembly.alterations.effects[entry.leaf_hash]
        received_at = parse_entry(entry.leaf).header.received_at
        orders: dict[str, list[int]] = {part: [] for part in effect.parts}
        for part, gone in effect.erased_at(end).items():
            orders[part].append(gone.at)
        for part in effect.parts:
            at = retired_at(assembly.constitution, effect, received_at, part, end)
            orders[part] += [] if at is None else [at]
        assert entry.gone == {part: Erased(min(at)) for part, at in orders.items() if at}


def check_views(ledger: Ledger, entries: list[StoredEntry]) -> None:
    """Check that what can be searched is what a rebuild would give."""
    size = len(entries)
    assert ledger.wait_until_searchable(size, 30) >= size
    constitution = ledger.constitution()
    rows = [view_row(entry, entry.parts, constitution) for entry in entries]
    for kind in {row.type for row in rows}:
        expected = [row.index for row in rows if row.type == kind]
        found: list[int] = []
        after: int | None = None
        while not found or after is not None:
            page = ledger.search(EntryQuery(type=kind, after=after, limit=700))
            found, after = [*found, *page.indexes], page.next
        assert found == expected
    for subject in {subject for row in rows for subject in row.subjects}:
        about = ledger.search_subject(subject, OPERATOR, after=None, limit=size)
        assert list(about.indexes) == [row.index for row in rows if subject in row.subjects]
    register = ledger.search_changes(None, None, OPERATOR, after=None, limit=size)
    assert list(register.indexes) == [row.index for row in rows if row.change is not None]
    last = rows[-1]
    assert ledger.search(EntryQuery(leaf_hash=last.leaf_hash)).indexes == [last.index]


def check_export(ledger: Ledger, folder: Path) -> None:
    """Check that an export verifies offline, under the log's key."""
    assert verify_export(ledger, folder) == 0


def verify_export(ledger: Ledger, folder: Path, *, key_of: Ledger | None = None) -> int:
    """Export the whole ledger and return the verifier's exit code."""
    path, policy = folder / f"{ledger.name}-export.zip", folder / f"{ledger.name}-policy"
    path.write_bytes(b"".join(ledger.export(0, None, "auditor")))
    policy.write_text(trust_policy(key_of or ledger))
    charter = ids.format_digest((key_of or ledger).charter)
    arguments = [str(path), "--trust", str(policy), "--charter", charter, "--jobs", "1"]
    return verify([*arguments, "--require", "L1"])
