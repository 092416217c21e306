"""The sequencer: its edge in memory, its checks against the head, what it refuses to build on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from ledger_core.errors import IntegrityError, OutcomeUnknownError, ReadOnlyError, StorageError
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.entry import Entry, Header, format_entry, parse_entry
from ledger_core.ledger import Ledger
from ledger_core.merkle import tree
from ledger_core.merkle.tiles import TileEdge
from ledger_core.storage import catalogue, store, trees
from ledger_core.storage.store import Head, NewEntry
from tests.support.ledgers import (
    Author,
    Replica,
    Service,
    append_notes,
    appended,
    checked_receipt,
    refused,
    register,
)
from tests.support.tampering import drop_guards


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 513])
def test_the_edge_is_read_back_after_a_restart_at(size: int, service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    append_notes(ledger, author, size - 2)
    ledger = service.reopen().ledgers.get("main")
    done = append_notes(ledger, author, 3, batch=1)
    hashes = [entry.leaf_hash for entry in ledger.entries(range(size + 3))]
    for each in done:
        checkpoint = checked_receipt(ledger, each.index, each.receipt)
        assert checkpoint.root == tree.root(hashes[: checkpoint.size])
    assert verify_checkpoint(ledger.checkpoint(), ledger.log_key).root == tree.root(hashes)


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_the_edge_is_read_back_across_two_levels_of_tiles_at(size: int, service: Service) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    hashes = grow_by_hand(replica, ledger, size)
    ledger = service.reopen().ledgers.get("main")
    place = append_notes(ledger, author, 2)[1]
    assert place.index == size + 1
    hashes += [entry.leaf_hash for entry in ledger.entries(range(size, size + 2))]
    assert checked_receipt(ledger, place.index, place.receipt).root == tree.root(hashes)
    proof = ledger.prove_consistency(size, size + 2)
    tree.check_consistency(
        size, size + 2, tree.root(hashes[:size]), tree.root(hashes), proof.hashes
    )


def grow_by_hand(replica: Replica, ledger: Ledger, size: int) -> list[bytes]:
    """Write the rows of a log of ``size`` entries without making most of the entries."""
    start = ledger.size()
    first = [entry.leaf_hash for entry in ledger.entries(range(start))]
    hashes = first + [tree.leaf_hash(b"%d" % index) for index in range(start, size)]
    last = parse_entry(ledger.entry(1).leaf)
    leaf = format_entry(
        Entry(
            Header(
                ledger.origin, size - 1, hashes[-2], last.header.received_at, last.header.signature
            ),
            last.record,
        )
    )
    hashes[-1] = tree.leaf_hash(leaf)
    leaves = {size - 1: leaf}
    # Of entries in full tiles nothing is asked but the tile.
    kept = range(max(start, (size - 1) // 256 * 256), size)
    entries = [
        NewEntry(
            index,
            hashes[index - 1],
            hashes[index],
            index.to_bytes(16),
            leaves.get(index, b"%d" % index),
            {},
        )
        for index in kept
    ]
    root = tree.root(hashes)
    with replica.database.write() as tx:
        row = catalogue.find_ledger(tx, ledger.name)
        assert row is not None
        _, full = TileEdge(0, []).extended(hashes)
        store.add_entries(tx, replica.database.dialect, row.ledger_id, entries)
        trees.add_tiles(tx, replica.database.dialect, row.ledger_id, full)
        trees.add_checkpoint(tx, row.ledger_id, size, root)
        head = Head(size, root, hashes[-1], last.header.received_at)
        store.move_head(tx, row.ledger_id, head)
    return hashes


HEAD_LIES = {
    "root": "UPDATE heads SET root = last_leaf",
    "last leaf": "UPDATE heads SET last_leaf = root",
    "time": "UPDATE heads SET received_at = received_at - 1",
    "size": "UPDATE heads SET size = size + 1",
    "tail": 'DELETE FROM entries WHERE "index" = 6',
}


@pytest.mark.parametrize("lie", HEAD_LIES)
@pytest.mark.parametrize("is_running", [True, False])
def test_nothing_is_built_on_a_head_that_lies_about_its(
    lie: str, is_running: bool, service: Service
) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    append_notes(ledger, author, 5)
    change(replica, HEAD_LIES[lie])
    if not is_running:
        ledger = service.reopen().ledgers.get("main")
    elif lie == "tail":
        return  # The edge in memory knows better than to look; a restart sees it.
    with pytest.raises((IntegrityError, ReadOnlyError)):
        ledger.append([author.note()])
    with pytest.raises(ReadOnlyError):
        ledger.append([author.note()])
    assert isinstance(ledger.read_only, IntegrityError)
    assert ledger.entry(3).index == 3


def change(replica: Replica, statement: str) -> None:
    with replica.database.write() as tx:
        drop_guards(tx)
        tx.execute(text(statement))


def test_a_checkpoint_is_not_signed_for_a_root_that_is_not_the_trees(service: Service) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    append_notes(ledger, register(ledger), 5)
    change(replica, "UPDATE heads SET root = last_leaf")
    with pytest.raises(IntegrityError):
        ledger.checkpoint()
    with pytest.raises((IntegrityError, ReadOnlyError)):
        b"".join(ledger.export(0, None, "auditor"))
    service.close()
    with pytest.raises(IntegrityError):
        service.open().ledgers.get("main").checkpoint()


def test_a_repetition_of_an_entry_that_was_changed_is_no_conflict_but_damage(
    service: Service,
) -> None:
    """The author's record is right; it is the ledger's copy that is not."""
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    sealed = author.note("original")
    place = appended(ledger.append([sealed])[0])
    change(replica, f'UPDATE entries SET leaf = substr(leaf, 1, 300) WHERE "index" = {place.index}')
    with pytest.raises(IntegrityError, match="entry 2"):
        ledger.append([sealed])
    assert isinstance(ledger.read_only, IntegrityError)


def test_a_commit_that_broke_off_is_resolved_by_sending_the_record_again(
    service: Service,
) -> None:
    """The connection is cut at the moment of the commit, as a network does."""
    replica = service.open()
    if replica.database.dialect.name == "sqlite":
        return
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    sealed = author.note("on its way")
    cut_at_commit(replica, lambda: ledger.append([sealed]))
    again = appended(ledger.append([sealed])[0])
    checked_receipt(ledger, again.index, again.receipt)
    assert ledger.size() == 3


def cut_at_commit(replica: Replica, action: Callable[[], object]) -> None:
    with replica.database.write() as tx:
        tx.execute(
            text(
                "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
            )
        )
        tx.execute(
            text(
                "CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON entries DEFERRABLE INITIALLY "
                "DEFERRED FOR EACH ROW EXECUTE FUNCTION cut()"
            )
        )
    with pytest.raises(OutcomeUnknownError):
        action()
    with replica.database.write() as tx:
        tx.execute(text("DROP TRIGGER cut ON entries"))


def test_a_transaction_that_fails_before_its_commit_stored_nothing(service: Service) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    with replica.database.write() as tx:
        tx.execute(text("ALTER TABLE checkpoints RENAME TO elsewhere"))
    sealed = author.note("not yet")
    with pytest.raises(StorageError) as error:
        ledger.append([sealed])
    assert not isinstance(error.value, OutcomeUnknownError)
    with replica.database.write() as tx:
        tx.execute(text("ALTER TABLE elsewhere RENAME TO checkpoints"))
    assert ledger.read_only is None
    assert appended(ledger.append([sealed])[0]).is_new
    assert ledger.size() == 3


def test_a_refusal_is_worded_for_its_author_and_holds_no_payload(
    ledger: Ledger, author: Author
) -> None:
    secret = "a secret that belongs in no log"
    first = author.note(secret)
    ledger.append([first])
    other = author.note(secret + "!", record_id=first.signed.record.id)
    for error in (
        refused(ledger.append([other])[0]),
        refused(ledger.append([Author(ledger.origin).note(secret)])[0]),
    ):
        assert "secret" not in str(error)
