"""The signer: never two roots for one size, never what the database does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from ledger_core.errors import ForkError
from ledger_core.formats.checkpoint import Checkpoint, verify_checkpoint
from ledger_core.keyring import Keyring
from ledger_core.signing import CheckpointSigner, LogKeys
from ledger_core.storage import catalogue, store
from ledger_core.storage.database import open_database
from ledger_core.storage.signer_memory import Signed, SignerMemory
from tests.support.ledgers import SECRET, Replica, Service, append_notes, register

ROOT, OTHER = b"\x01" * 32, b"\x02" * 32


def signer_of(replica: Replica) -> tuple[CheckpointSigner, bytes]:
    """Make a signer of the ledger's, with no memory of its own yet; and return the head's root."""
    with replica.database.read() as tx:
        row = catalogue.find_ledger(tx, "main")
        assert row is not None
        head = store.read_head(tx, row.ledger_id)
    keys = LogKeys(Keyring(SECRET), replica.ledgers.get("main").log_keys)
    return CheckpointSigner(replica.database, replica.memory, row, keys), head.root


@pytest.fixture
def replica(service: Service) -> Replica:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    append_notes(ledger, register(ledger), 3, batch=1)
    return replica


def test_the_same_checkpoint_has_the_same_bytes_from_every_signer(replica: Replica) -> None:
    (one, root), (two, _) = signer_of(replica), signer_of(replica)
    key = replica.ledgers.get("main").log_key
    assert one.sign(5, root) == two.sign(5, root) == replica.ledgers.get("main").checkpoint()
    assert verify_checkpoint(one.sign(5, root), key) == Checkpoint(key.name, 5, root)


def test_no_second_root_is_signed_for_a_size(replica: Replica) -> None:
    for is_warm in (True, False):
        signer, root = signer_of(replica)
        if is_warm:
            signer.sign(5, root)
        with pytest.raises(ForkError):
            signer.sign(5, OTHER)


def test_nothing_is_signed_once_the_memory_is_ahead_of_the_database(replica: Replica) -> None:
    signer, root = signer_of(replica)
    origin = replica.ledgers.get("main").origin
    known = replica.memory.recall(origin)
    assert known == Signed(5, root)
    assert replica.memory.advance(origin, known, Signed(9, OTHER))
    with pytest.raises(ForkError, match="size 9 was signed"):
        signer.check()
    with pytest.raises(ForkError, match="size 9 was signed"):
        signer.sign(5, root)


def test_a_checkpoint_row_written_by_hand_does_not_vouch_for_what_was_signed(
    replica: Replica,
) -> None:
    """The memory says OTHER at 4; a row of ``checkpoints`` that says so too is no tree."""
    signer, root = signer_of(replica)
    origin = replica.ledgers.get("main").origin
    assert replica.memory.advance(origin, replica.memory.recall(origin), Signed(4, OTHER))
    with pytest.raises(ForkError, match="another root at size 4"):
        signer.check()
    with pytest.raises(ForkError):
        signer.sign(5, root)


@pytest.fixture
def memory(empty_database_url: str) -> Iterator[SignerMemory]:
    """Give a memory in a database of its own, of each kind."""
    with closing(open_database(empty_database_url)) as database:
        yield SignerMemory(database)


def test_a_memory_recalls_what_was_signed_last(memory: SignerMemory) -> None:
    assert memory.recall("a") is None
    assert memory.advance("a", None, Signed(1, ROOT))
    assert memory.advance("b", None, Signed(7, OTHER))
    assert memory.advance("a", Signed(1, ROOT), Signed(2, OTHER))
    assert memory.recall_all() == {"a": Signed(2, OTHER), "b": Signed(7, OTHER)}


def test_nobody_overwrites_what_they_have_not_seen(memory: SignerMemory) -> None:
    assert memory.advance("a", None, Signed(2, ROOT))
    assert not memory.advance("a", None, Signed(3, OTHER))
    assert not memory.advance("a", Signed(1, ROOT), Signed(3, OTHER))
    assert not memory.advance("a", Signed(2, OTHER), Signed(3, OTHER))
    assert memory.recall("a") == Signed(2, ROOT)


def test_of_many_that_advance_at_once_one_does(memory: SignerMemory) -> None:
    known: Signed | None = None
    for size in (1, 2, 3):
        new = [Signed(size, bytes([n]) * 32) for n in range(8)]
        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(partial(memory.advance, "a", known), new))
        assert sum(outcomes) == 1
        known = new[outcomes.index(True)]
        assert memory.recall("a") == known


def test_a_memory_outlives_the_process(empty_sqlite_url: str) -> None:
    with closing(open_database(empty_sqlite_url)) as database:
        SignerMemory(database).advance("a", None, Signed(3, ROOT))
    with closing(open_database(empty_sqlite_url)) as database:
        assert SignerMemory(database).recall("a") == Signed(3, ROOT)
