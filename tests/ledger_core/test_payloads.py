"""Payloads lie sealed in the database, and come back as they were given, while their keys last."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger_core import ids
from ledger_core.errors import ErasedError, IntegrityError
from ledger_core.formats.submission import Submission
from ledger_core.ledger import Ledger
from ledger_core.storage import catalogue, store
from ledger_core.storage.store import Gone, SealedEntry
from tests.support.invariants import check_everything
from tests.support.ledgers import (
    Author,
    Replica,
    Service,
    append_notes,
    appended,
    refused,
    register,
)
from tests.support.postgresql import Server
from tests.support.tampering import drop_guards

ORDER = bytes(range(32))


@pytest.fixture
def replica(service: Service) -> Replica:
    return service.open()


@pytest.fixture
def ledger(replica: Replica) -> Ledger:
    return replica.ledgers.create("main")


@pytest.fixture
def author(ledger: Ledger) -> Author:
    return register(ledger)


def stored(replica: Replica, index: int) -> SealedEntry:
    with replica.database.read() as tx:
        row = catalogue.find_ledger(tx, "main")
        assert row is not None
        return store.read_entry(tx, row.ledger_id, index)


def destroy(replica: Replica, index: int) -> None:
    """Destroy the key of an entry's part, as an erasure does."""
    key_id = stored(replica, index).parts["body"].key_id
    assert key_id is not None
    commitment = replica.ledgers.get("main").entry(index)
    replica.keys.destroy({commitment_of(commitment.leaf): key_id}, ORDER)


def commitment_of(leaf: bytes) -> bytes:
    _, _, after = leaf.partition(b'"commitment":"')
    return ids.parse_digest(after.partition(b'"')[0].decode())


def change(replica: Replica, *statements: str) -> None:
    with replica.database.write() as tx:
        drop_guards(tx)
        for statement in statements:
            tx.execute(text(statement))


def test_a_payload_lies_sealed_and_comes_back_as_it_was_given(
    replica: Replica, ledger: Ledger, author: Author
) -> None:
    note = author.note("a marker that nobody finds")
    index = appended(ledger.append([note])[0]).index
    sealed = stored(replica, index).parts["body"]
    assert sealed.salt is None
    assert note.parts["body"].salt not in sealed.data
    assert b"marker" not in sealed.data
    assert ledger.entry(index).parts == note.parts
    assert ledger.entry(index).gone == {}


def test_governance_lies_in_the_clear_and_needs_no_key(
    replica: Replica, ledger: Ledger, author: Author
) -> None:
    for index in (0, 1):
        part = stored(replica, index).parts["body"]
        assert part.key_id is None
        assert ledger.entry(index).parts["body"].data == part.data
    assert replica.keys.count() == 0


def test_every_part_has_a_key_of_its_own(replica: Replica, ledger: Ledger, author: Author) -> None:
    places = append_notes(ledger, author, 300)
    key_ids = {stored(replica, each.index).parts["body"].key_id for each in places}
    assert len(key_ids) == 300
    assert len(replica.keys.find([key for key in key_ids if key])) == 300


def test_a_part_whose_key_was_destroyed_is_gone_and_everything_else_stays(
    replica: Replica, ledger: Ledger, author: Author
) -> None:
    places = append_notes(ledger, author, 5)
    lost = places[2].index
    receipt = ledger.receipt(lost)
    destroy(replica, lost)
    entry = ledger.entry(lost)
    assert (entry.parts, entry.gone) == ({}, {"body": Gone.KEY})
    assert ledger.receipt(lost) == receipt
    assert all(ledger.entry(each.index).parts for each in places if each.index != lost)


def test_a_part_whose_row_was_deleted_is_gone(
    replica: Replica, ledger: Ledger, author: Author
) -> None:
    index = append_notes(ledger, author, 1)[0].index
    change(replica, f'DELETE FROM payloads WHERE "index" = {index}')
    assert ledger.entry(index).gone == {"body": Gone.ROW}


def test_an_erased_commitment_is_refused_for_ever_and_leaves_nothing(
    replica: Replica, ledger: Ledger, author: Author, service: Service
) -> None:
    salt = bytes(32)
    first = author.note("personal", salt=salt)
    destroy(replica, appended(ledger.append([first])[0]).index)
    ledger = service.open().ledgers.get("main")
    size = ledger.size()
    again = author.note("personal", salt=salt)
    with pytest.raises(ErasedError, match="body was erased, as entry sha256:"):
        raise refused(ledger.append([again])[0])
    elsewhere = replica.ledgers.create("elsewhere")
    stranger = register(elsewhere)
    assert isinstance(elsewhere.append([stranger.note("personal", salt=salt)])[0], ErasedError)
    assert ledger.size() == size
    other = ledger.append([author.note("personal"), again, author.note("personal")])
    assert [isinstance(each, ErasedError) for each in other] == [False, True, False]


def test_a_record_whose_payload_was_erased_is_still_answered_with_its_receipt(
    replica: Replica, ledger: Ledger, author: Author
) -> None:
    """The same id and the same bytes: the usual repetition, and the payload is not stored again."""
    note = author.note("personal")
    first = appended(ledger.append([note])[0])
    destroy(replica, first.index)
    change(replica, f'DELETE FROM payloads WHERE "index" = {first.index}')
    again = appended(ledger.append([note])[0])
    assert (again.index, again.receipt, again.is_new) == (first.index, first.receipt, False)
    assert ledger.entry(first.index).gone == {"body": Gone.ROW}


def test_records_that_are_refused_or_repeated_use_up_no_keys(
    replica: Replica, ledger: Ledger, author: Author
) -> None:
    stranger, note = Author(ledger.origin), author.note("once")
    ledger.append([note])
    for _ in range(30):
        ledger.append([note, stranger.note("x"), *[author.note(n) for n in range(2)]])
    # One for each new entry, and what lies ready.
    assert replica.keys.count() <= 61 + 2 * 128


HARM = {
    "changed": 'UPDATE payloads SET data = {other} WHERE "index" = {n}',
    "of another entry": "UPDATE payloads SET data = (SELECT data FROM payloads "
    'WHERE "index" = {m}), key_id = (SELECT key_id FROM payloads WHERE "index" = {m}) '
    'WHERE "index" = {n}',
    "under another key": "UPDATE payloads SET key_id = (SELECT key_id FROM payloads "
    'WHERE "index" = {m}) WHERE "index" = {n}',
    "in the clear": 'UPDATE payloads SET key_id = NULL, salt = {other} WHERE "index" = {n}',
    "with a salt as well": 'UPDATE payloads SET salt = {other} WHERE "index" = {n}',
    "named otherwise": "UPDATE payloads SET part = 'other' WHERE \"index\" = {n}",
}


@pytest.mark.parametrize("harm", HARM)
def test_a_sealed_part_that_is_harmed_is_an_error_that_names_its_entry(
    harm: str, replica: Replica, ledger: Ledger, author: Author
) -> None:
    n, m = (each.index for each in append_notes(ledger, author, 2))
    is_sqlite = replica.database.dialect.name == "sqlite"
    other = f"x'{'07' * 80}'" if is_sqlite else f"'\\x{'07' * 80}'::bytea"
    change(replica, HARM[harm].format(n=n, m=m, other=other))
    with pytest.raises(IntegrityError) as caught:
        ledger.entry(n)
    assert caught.value.index == n


def test_an_entry_of_the_constitution_that_is_sealed_is_an_error(
    replica: Replica, ledger: Ledger, author: Author, service: Service
) -> None:
    change(replica, 'UPDATE payloads SET salt = NULL, key_id = data WHERE "index" = 0')
    service.close()
    with pytest.raises(IntegrityError):
        service.open().ledgers.get("main").append([author.note()])


def test_another_process_opens_what_this_one_sealed(
    replica: Replica, ledger: Ledger, author: Author, service: Service, tmp_path: Path
) -> None:
    append_notes(ledger, author, 700)
    other = service.open()
    append_notes(other.ledgers.get("main"), author, 3)
    check_everything(other, other.ledgers.get("main"), tmp_path)
    check_everything(replica, ledger, tmp_path)


def test_a_key_store_that_is_lost_takes_the_payloads_and_no_proof(
    replica: Replica, ledger: Ledger, author: Author, service: Service, tmp_path: Path
) -> None:
    place = append_notes(ledger, author, 3)[1]
    service.close()
    for file in tmp_path.glob("keys.db*"):
        file.unlink()
    ledger = service.open().ledgers.get("main")
    assert ledger.entry(place.index).gone == {"body": Gone.KEY}
    assert ledger.receipt(place.index) == place.receipt
    assert appended(ledger.append([author.note("goes on")])[0]).index == 5


def test_a_key_store_in_postgresql_is_shared_by_replicas(
    service: Service, postgresql_server: Server, tmp_path: Path
) -> None:
    url = postgresql_server.url(name := postgresql_server.create_database())
    with ExitStack() as held:
        one, other = (
            held.enter_context(
                closing(Replica(service.database_url, service.memory_url, key_store_url=url))
            )
            for _ in range(2)
        )
        ledger = one.ledgers.create("main")
        append_notes(ledger, register(ledger), 300)
        append_notes(other.ledgers.get("main"), register(other.ledgers.get("main")), 5)
        check_everything(other, other.ledgers.get("main"), tmp_path)
        destroy(one, 7)
        assert other.ledgers.get("main").entry(7).gone == {"body": Gone.KEY}
    assert not (tmp_path / "keys.db").exists()
    postgresql_server.drop_database(name)


def test_a_submission_is_not_changed_by_being_sealed(ledger: Ledger, author: Author) -> None:
    note: Submission = author.note({"a": 1})
    before = dict(note.parts)
    ledger.append([note])
    assert note.parts == before
