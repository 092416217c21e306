"""All ledgers of a service: founding, finding, and what was signed before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from ledger_core import ids
from ledger_core.errors import (
    ConflictError,
    ForkError,
    LedgerGridError,
    MalformedError,
    NotFoundError,
    ReadOnlyError,
)
from ledger_core.formats.entry import NO_PREVIOUS, parse_entry
from ledger_core.formats.vkey import format_vkey
from ledger_core.ledger import Ledger
from ledger_core.records.types.charter import Charter
from ledger_core.storage.signer_memory import Signed
from tests.support.invariants import check_everything
from tests.support.ledgers import (
    Author,
    Service,
    append_notes,
    appended,
    checked_receipt,
    register,
)
from tests.support.tampering import drop_guards

# --- founding and finding ------------------------------------------------------------


def test_a_ledger_begins_with_its_charter(service: Service) -> None:
    ledger = service.open().ledgers.create("main", kind="public")
    entry = ledger.entry(0)
    charter = msgspec.json.decode(entry.parts["body"].data, type=Charter)
    assert parse_entry(entry.leaf).header.previous == NO_PREVIOUS
    assert (charter.origin, charter.kind) == (ledger.origin, "public")
    assert charter.log_key == format_vkey(ledger.log_key)
    assert ledger.size() == 1
    assert checked_receipt(ledger, 0, ledger.receipt(0)).size == 1


def test_further_founders_may_write_from_entry_1_on(service: Service) -> None:
    ledgers = service.open().ledgers
    origin = "ledgergrid.example/founded"
    founder = Author(origin)
    ledger = ledgers.create("founded", origin=origin, operators=[founder.name])
    registration = Author(origin).registration()
    assert appended(ledger.append([founder.seal("key/1", {"body": registration})])[0]).index == 1


def test_a_name_or_an_origin_is_given_once(service: Service) -> None:
    ledgers = service.open().ledgers
    ledgers.create("one", origin="ledgergrid.example/one")
    with pytest.raises(ConflictError):
        ledgers.create("one")
    with pytest.raises(ConflictError):
        ledgers.create("two", origin="ledgergrid.example/one")
    assert ledgers.names() == ["one"]


def test_of_replicas_that_found_the_same_ledger_at_once_one_wins_and_the_others_are_told(
    service: Service,
) -> None:
    replicas = [service.open() for _ in range(4)]

    def found(number: int) -> Ledger | LedgerGridError:
        try:
            return replicas[number].ledgers.create("main")
        except LedgerGridError as error:
            return error

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(found, range(4)))
    assert sum(isinstance(each, Ledger) for each in outcomes) == 1
    assert sum(isinstance(each, ConflictError) for each in outcomes) == 3
    assert len({replica.ledgers.get("main").charter for replica in replicas}) == 1


@pytest.mark.parametrize("name", ["", "Main", "a/b", "-a", "a-", "ä", "x" * 64, "../x", "a b"])
def test_a_name_that_would_need_quoting_is_refused(service: Service, name: str) -> None:
    with pytest.raises(MalformedError):
        service.open().ledgers.create(name)


def test_a_founder_that_is_no_key_is_refused_and_nothing_is_left(service: Service) -> None:
    ledgers = service.open().ledgers
    with pytest.raises(LedgerGridError):
        ledgers.create("main", operators=[ids.format_key(bytes(32))])
    assert ledgers.names() == []
    assert ledgers.create("main").size() == 1


def test_a_ledger_nobody_founded_is_not_found(service: Service) -> None:
    with pytest.raises(NotFoundError):
        service.open().ledgers.get("nowhere")


def test_names_come_in_order_page_by_page(service: Service) -> None:
    ledgers = service.open().ledgers
    for name in ("b", "d", "a", "c"):
        ledgers.create(name)
    assert ledgers.names() == ["a", "b", "c", "d"]
    assert ledgers.names(after="b", limit=1) == ["c"]


def test_what_one_replica_founds_another_finds(service: Service) -> None:
    one, two = service.open(), service.open()
    author = register(one.ledgers.create("main"))
    append_notes(two.ledgers.get("main"), author, 3)
    assert one.ledgers.get("main").size() == 5


# --- replicas --------------------------------------------------------------------------


def test_replicas_that_take_turns_keep_one_chain(service: Service, tmp_path: Path) -> None:
    replicas = [service.open() for _ in range(3)]
    ledgers = [replicas[0].ledgers.create("main"), *(r.ledgers.get("main") for r in replicas[1:])]
    author = register(ledgers[0])
    for turn in range(24):
        done = append_notes(ledgers[turn % 3], author, 1 + 13 * (turn % 4))
        for ledger in ledgers:
            checked_receipt(ledger, done[0].index, ledger.receipt(done[0].index))
    check_everything(replicas[1], ledgers[1], tmp_path)


def test_a_repetition_of_what_another_replica_is_appending_is_one_entry(service: Service) -> None:
    replicas = [service.open() for _ in range(4)]
    ledger = replicas[0].ledgers.create("main")
    author = register(ledger)
    shared = [author.note(n) for n in range(40)]
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(
            threads.map(
                lambda r: [r.ledgers.get("main").append([each])[0] for each in shared], replicas
            )
        )
    for each in zip(*outcomes, strict=True):
        places = [appended(outcome) for outcome in each]
        assert len({(place.index, place.receipt) for place in places}) == 1
        assert sum(place.is_new for place in places) == 1
    assert ledger.size() == 42


# --- restores and forks ------------------------------------------------------------------


def copy_database(service: Service, folder: Path, name: str) -> None:
    """Keep the state of a SQLite database as a backup would."""
    source = service.database_url.removeprefix("sqlite:///")
    (folder / name).write_bytes(Path(source).read_bytes())


def restore_database(service: Service, folder: Path, name: str) -> None:
    target = Path(service.database_url.removeprefix("sqlite:///"))
    for each in (target, Path(f"{target}-wal"), Path(f"{target}-shm")):
        each.unlink(missing_ok=True)
    target.write_bytes((folder / name).read_bytes())


@pytest.fixture
def sqlite_service(sqlite_url: str, tmp_path: Path) -> Service:
    return Service(sqlite_url, tmp_path)


def test_an_older_database_under_a_newer_signer_memory_is_read_only_and_signs_nothing(
    sqlite_service: Service, tmp_path: Path
) -> None:
    service = sqlite_service
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    kept = append_notes(ledger, author, 3)
    service.close()
    copy_database(service, tmp_path, "backup")
    append_notes(service.open().ledgers.get("main"), author, 4)
    service.close()
    restore_database(service, tmp_path, "backup")

    replica = service.open()
    ledger = replica.ledgers.get("main")
    assert isinstance(ledger.read_only, ForkError)
    assert "restored from a backup" in str(ledger.read_only)
    assert [type(error) for error in replica.ledgers.check_signed()] == [ForkError]
    assert replica.ledgers.degraded() == {"main": ledger.read_only}
    with pytest.raises(ReadOnlyError, match="restored from a backup"):
        ledger.append([author.note("after the restore")])
    for refused in (ledger.check, ledger.checkpoint, lambda: ledger.receipt(kept[0].index)):
        with pytest.raises(ForkError):
            refused()
    assert ledger.size() == 5
    assert ledger.entry(kept[0].index).leaf_hash == kept[0].leaf_hash
    service.close()


def test_a_ledger_that_vanished_from_the_database_is_missed(
    sqlite_service: Service, tmp_path: Path
) -> None:
    service = sqlite_service
    service.open()
    service.close()
    copy_database(service, tmp_path, "empty")
    register(service.open().ledgers.create("main"))
    service.close()
    restore_database(service, tmp_path, "empty")
    assert "not in the database" in str(service.open().ledgers.check_signed()[0])
    service.close()


def test_another_history_of_the_same_size_is_a_fork(
    sqlite_service: Service, tmp_path: Path
) -> None:
    service = sqlite_service
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    service.close()
    copy_database(service, tmp_path, "backup")
    append_notes(service.open().ledgers.get("main"), author, 1)
    service.close()
    restore_database(service, tmp_path, "backup")
    forgetful = service.open(memory_url=f"sqlite:///{tmp_path / 'other-signer.db'}")
    append_notes(forgetful.ledgers.get("main"), author, 1)
    service.close()

    replica = service.open()
    ledger = replica.ledgers.get("main")
    assert isinstance(ledger.read_only, ForkError)
    assert "fork" in str(ledger.read_only)
    with pytest.raises(ReadOnlyError):
        ledger.append([author.note()])
    with pytest.raises(ForkError):
        ledger.checkpoint()
    assert len(replica.ledgers.check_signed()) == 1
    service.close()


def test_a_database_that_goes_back_under_a_running_service_stops_its_appends(
    service: Service,
) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    author = register(ledger)
    append_notes(ledger, author, 5)
    with replica.database.write() as tx:
        drop_guards(tx)
        tx.execute(text("DELETE FROM checkpoints WHERE size > 3"))
        tx.execute(text('DELETE FROM payloads WHERE "index" >= 3'))
        tx.execute(text('DELETE FROM entries WHERE "index" >= 3'))
        tx.execute(text("UPDATE heads SET size = 3"))
    with pytest.raises(ForkError, match="went back"):
        ledger.append([author.note()])
    assert isinstance(ledger.read_only, ForkError)


def test_of_many_ledgers_each_is_compared_in_full_again_sooner_or_later(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger_core.ledgers._CHECKED_AGAIN", 1)
    replica = service.open()
    ledgers = [replica.ledgers.create(f"main-{n}") for n in range(4)]
    origins = [ledger.origin for ledger in ledgers if ledger.checkpoint()]
    assert replica.ledgers.check_signed() == []
    forked = Signed(1, bytes(32))
    assert replica.memory.advance(origins[2], replica.memory.recall(origins[2]), forked)
    assert len(replica.ledgers.check_signed()) == 1
    # As if it had continued what was signed when it was compared last.
    replica.ledgers._note_checked(origins[2], forked)
    assert sum(len(replica.ledgers.check_signed()) for _ in origins) >= 1
