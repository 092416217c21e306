"""Cosignatures as stored: the first of a witness and size stays, and nothing is taken back."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ledger_core.errors import StorageError
from ledger_core.storage import cosignatures
from ledger_core.storage.cosignatures import NO_LEDGER, Cosignature, Newest, Trouble
from tests.support.ledgers import Replica, Service

ONE, TWO = b"\x01" * 32, b"\x02" * 32
POLICY = b"\x03" * 32


@pytest.fixture
def replica(service: Service) -> Replica:
    made = service.open()
    made.ledgers.create("main")
    return made


def line(size: int, witness: bytes = ONE, said: bytes = b"line\n") -> Cosignature:
    return Cosignature(1, size, witness, 100 + size, said)


def test_of_one_witness_and_size_the_first_line_stays(replica: Replica) -> None:
    for said in (b"first\n", b"second\n"):
        with replica.database.write() as tx:
            cosignatures.add(tx, [line(5, said=said), line(5, TWO, b"other\n")])
    with replica.database.read() as tx:
        assert cosignatures.read_lines(tx, 1, 5) == b"first\nother\n"
        assert cosignatures.read_lines(tx, 1, 4) == b""
        assert cosignatures.read_witnesses(tx, 1, 5) == {ONE, TWO}
        assert cosignatures.read_newest(tx, 1, ONE) == Newest(5, 105)
        assert cosignatures.read_newest(tx, 2, ONE) is None
        assert cosignatures.read_progress(tx) == {(1, ONE): 5, (1, TWO): 5}


def test_many_sizes_are_read_in_order_each_with_all_its_witnesses(replica: Replica) -> None:
    sizes = range(1, 2_600)
    with replica.database.write() as tx:
        cosignatures.add(tx, [line(size, who) for size in sizes for who in (ONE, TWO)])
    with replica.database.read() as tx:
        found = list(cosignatures.read_sizes(tx, 1, 10))
    assert found == [(size, frozenset({ONE, TWO})) for size in sizes if size > 10]


def test_the_smallest_and_the_largest_witnessed_size_are_found(replica: Replica) -> None:
    with replica.database.write() as tx:
        for size in (3, 9, 9, 20):
            cosignatures.add_witnessed(tx, 1, POLICY, size)
    with replica.database.read() as tx:
        found = [cosignatures.find_witnessed(tx, 1, POLICY, at) for at in (0, 3, 4, 20, 21)]
        assert found == [3, 3, 9, 20, None]
        assert cosignatures.newest_witnessed(tx, 1, POLICY) == 20
        assert cosignatures.newest_witnessed(tx, 1, ONE) is None


def test_an_error_is_there_until_it_is_over(replica: Replica) -> None:
    for ledger_id, said in [(1, "no"), (1, "still no"), (NO_LEDGER, "away"), (2, "other")]:
        with replica.database.write() as tx:
            cosignatures.put_error(tx, Trouble(ledger_id, ONE, said, 7))
    with replica.database.read() as tx:
        errors = [each.error for each in cosignatures.read_errors(tx, 1)]
        assert errors == ["away", "still no"]
        assert len(cosignatures.read_errors(tx)) == 3
    with replica.database.write() as tx:
        cosignatures.put_error(tx, Trouble(1, ONE, "", 8))
    with replica.database.read() as tx:
        assert [each.error for each in cosignatures.read_errors(tx, 1)] == ["away"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cosignatures SET line = line",
        "DELETE FROM cosignatures",
        "UPDATE witnessed SET size = size",
        "DELETE FROM witnessed",
        "UPDATE equivocations SET size = size",
        "DELETE FROM equivocations",
    ],
)
def test_what_was_cosigned_is_never_changed_nor_deleted(replica: Replica, statement: str) -> None:
    with replica.database.write() as tx:
        cosignatures.add(tx, [line(5)])
        cosignatures.add_witnessed(tx, 1, POLICY, 5)
        tx.execute(
            text(
                "INSERT INTO equivocations (origin, size, found_at, first, second) "
                "VALUES ('x', 1, 1, '', '')"
            )
        )
    with pytest.raises(StorageError, match="append-only"), replica.database.write() as tx:
        tx.execute(text(statement))
