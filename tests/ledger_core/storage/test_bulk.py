"""What the dialects write in bulk is what one row after the other would be."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from ledger_core.errors import StorageError
from ledger_core.storage import tables as t
from ledger_core.storage.prepared import sent_at_once
from tests.support.ledgers import Replica, Service

KEY, STATE = ("ledger_id", "index"), ("bundle", "outcome", "verdict")
Moved = tuple[bytes | None, int | None, str | None, int, int]


def proposal(ledger_id: int, index: int) -> tuple[Any, ...]:
    leaf = b"%d %032d" % (ledger_id, index)
    return (ledger_id, index, leaf, "key", None, "note/1", leaf, 7, b"", None, None, None, None)


@pytest.fixture
def replica(service: Service) -> Replica:
    """Give a database with two ledgers and three proposals in each."""
    replica = service.open()
    for name in ("main", "other"):
        replica.ledgers.create(name)
    with replica.database.write() as tx:
        rows = [proposal(ledger_id, index) for ledger_id in (1, 2) for index in (3, 4, 5)]
        replica.database.dialect.insert_many(tx, t.proposals, rows)
    return replica


def states(replica: Replica) -> dict[tuple[int, int], tuple[Any, ...]]:
    p = t.proposals.c
    query = select(p.ledger_id, p.index, p.bundle, p.outcome, p.verdict)
    with replica.database.read() as tx:
        return {(row[0], row[1]): tuple(row[2:]) for row in tx.execute(query)}


@pytest.mark.parametrize(
    "moved",
    [
        [(b"bundle", None, None, 1, 4)],
        [(None, 9, "confirmed", 1, 3), (b"bundle", 9, "expired", 2, 3), (None, None, None, 1, 5)],
    ],
)
def test_only_the_rows_named_are_updated_nothing_with_nothing_too(
    replica: Replica, moved: list[Moved]
) -> None:
    expected = states(replica)
    expected |= {(ledger_id, index): tuple(state) for *state, ledger_id, index in moved}
    with replica.database.write() as tx, sent_at_once(tx):
        replica.database.dialect.update_many(tx, t.proposals, KEY, STATE, moved)
    assert states(replica) == expected


def test_a_row_that_may_not_be_updated_takes_the_others_with_it(replica: Replica) -> None:
    before = states(replica)
    rows = [(b"voice", 1, 3, 9), (b"voice", 1, 3, 8)]
    voices = [(1, 3, at, leaf, "key", None, "", "approve") for leaf, _, _, at in rows]
    with replica.database.write() as tx:
        replica.database.dialect.insert_many(tx, t.voices, voices)
    with pytest.raises(StorageError, match="append-only"), replica.database.write() as tx:
        moved = [(None, 9, "confirmed", 1, 3)]
        replica.database.dialect.update_many(tx, t.proposals, KEY, STATE, moved)
        key = ("ledger_id", "proposal", "index")
        replica.database.dialect.update_many(tx, t.voices, key, ("decision",), [("no", 1, 3, 9)])
    assert states(replica) == before
